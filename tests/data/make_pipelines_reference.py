"""Makes ``pipelines_reference.json``: answers of transformers' pipelines. Run by hand.

Small models with random weights read a few texts; kept are their logits and what the pipelines
make of them, so that the tests need neither models nor that library. Make it again only when
the cases change, in an environment that holds the reference (the last version with all four
pipelines is of the 4 line)::

    pip install transformers==4.48.3 torch
    HF_HUB_OFFLINE=1 python tests/data/make_pipelines_reference.py

A case: ``{"task", "labels", "problem_type", "text", "parameters", "input_ids", "logits",
"output"}``; ``input_ids`` and ``logits`` have one entry per window, ``logits`` by output name.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

LONG = "the old house in london was built by peter . anna lives in paris near the river . " * 6
NAMES = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
CONTEXT = "Anna lives in Paris, the capital of France. Peter works in Londonville by the sea."
QUESTION = "Where does Anna live?"

CASES: list[tuple[str, list[str], str | None, str, dict[str, Any]]] = [
    ("text-classification", ["bad", "good", "new"], None, "a good book", {"top_k": None}),
    ("text-classification", ["bad", "good", "new"], None, "a good book", {"top_k": 2}),
    ("text-classification", ["bad", "good", "new"], None, "a good book", {"top_k": 1}),
    ("text-classification", ["score"], None, "a bad book", {"top_k": None}),
    ("text-classification", ["score"], "regression", "a bad book", {"top_k": None}),
    (
        "text-classification",
        ["bad", "good"],
        "multi_label_classification",
        "a long book",
        {"top_k": None},
    ),
    (
        "text-classification",
        ["bad", "good"],
        None,
        "a long book",
        {"top_k": None, "function_to_apply": "none"},
    ),
    ("fill-mask", [], None, "the [MASK] is on the sea.", {}),
    ("fill-mask", [], None, "the [MASK] is on the [MASK].", {"top_k": 3}),
    ("fill-mask", [], None, "[MASK] lives in Paris", {"targets": ["anna", "dog", "paris"]}),
    ("fill-mask", [], None, "[MASK] lives in Paris", {"targets": ["houses", "cat"], "top_k": 1}),
    *(
        ("token-classification", NAMES, None, text, {"aggregation_strategy": strategy, **more})
        for strategy in ("none", "simple", "first", "max", "average")
        for text, more in (
            (CONTEXT, {}),
            (CONTEXT, {"ignore_labels": []}),
            ("Ella Xyzq works \U0001f642 in Näples!", {"ignore_labels": ["O", "PER"]}),
        )
    ),
    (
        "token-classification",
        NAMES,
        None,
        LONG,
        {"aggregation_strategy": "simple", "stride": 8, "ignore_labels": ["PER"]},
    ),
    *(
        ("question-answering", [], None, context, {"question": QUESTION, **more})
        for context, more in (
            (CONTEXT, {}),
            (CONTEXT, {"align_to_words": False}),
            (CONTEXT, {"align_to_words": False, "top_k": 4, "max_answer_len": 3}),
            (CONTEXT, {"handle_impossible_answer": True, "top_k": 2, "align_to_words": False}),
            (LONG, {"align_to_words": False}),
            (LONG, {"max_seq_len": 40, "doc_stride": 10, "handle_impossible_answer": True}),
        )
    ),
]
TASKS = {
    "text-classification": "BertForSequenceClassification",
    "fill-mask": "BertForMaskedLM",
    "token-classification": "BertForTokenClassification",
    "question-answering": "BertForQuestionAnswering",
}


def main() -> None:
    """Run every case and write the file."""
    rows = [run(seed, *case) for seed, case in enumerate(CASES)]
    text = ",\n".join(json.dumps(row) for row in rows)
    (HERE / "pipelines_reference.json").write_text(f"[\n{text}\n]\n", encoding="ascii")


def run(
    seed: int,
    task: str,
    labels: list[str],
    problem_type: str | None,
    text: str,
    parameters: dict[str, Any],
) -> dict[str, Any]:
    """One case: a fresh random model, one call of its pipeline."""
    import torch
    import transformers

    folder = HERE / "tiny_bert"
    torch.manual_seed(seed)
    config = transformers.BertConfig.from_pretrained(folder, initializer_range=0.5)
    if labels:
        config.id2label = dict(enumerate(labels))
        config.problem_type = problem_type
    model = getattr(transformers, TASKS[task])(config).eval()
    tokenizer = transformers.BertTokenizerFast.from_pretrained(folder)
    pipeline = transformers.pipeline(task, model=model, tokenizer=tokenizer, device="cpu")
    seen: list[dict[str, Any]] = []
    model.register_forward_hook(
        lambda _module, _args, kwargs, output: seen.append({"in": kwargs, "out": output}),
        with_kwargs=True,
    )
    if task == "question-answering":
        output = pipeline(context=text, **parameters)
    else:
        output = pipeline(text, **parameters)
    return {
        "task": task,
        "labels": labels,
        "problem_type": problem_type,
        "text": text,
        "parameters": parameters,
        "input_ids": [call["in"]["input_ids"][0].tolist() for call in seen],
        "logits": [
            {name: plain(value[0].tolist()) for name, value in call["out"].items()} for call in seen
        ],
        "output": plain(output),
    }


def plain(value: Any) -> Any:
    """The same with numpy's numbers as Python's, to six decimals."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [plain(part) for part in value]
    number = value.item() if hasattr(value, "item") else value
    return round(number, 6) if isinstance(number, float) else number


if __name__ == "__main__":
    main()
