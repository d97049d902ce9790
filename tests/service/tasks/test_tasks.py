"""What holds for every task, and how tasks are found."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub.inference._generated.types import (
    FeatureExtractionInput,
    FillMaskOutputElement,
    FillMaskParameters,
    QuestionAnsweringOutputElement,
    QuestionAnsweringParameters,
    TextClassificationOutputElement,
    TextClassificationParameters,
    TokenClassificationOutputElement,
    TokenClassificationParameters,
)

from model_base import ConfigUnreadable
from service.core.errors import BadRequest, UnsupportedInput
from service.core.messages import ModelFacts, TensorInputs, TextInputs, TokenInputs
from service.tasks import TASKS, TaskContext, build_task

SCHEMAS = {
    "feature-extraction": FeatureExtractionInput,
    "fill-mask": FillMaskParameters,
    "question-answering": QuestionAnsweringParameters,
    "text-classification": TextClassificationParameters,
    "token-classification": TokenClassificationParameters,
}
NEEDED = {"question-answering": {"question": "who ?"}}
TEXT = "the [MASK] is red"

ContextMaker = Callable[..., TaskContext]
every_task = pytest.mark.parametrize("name", sorted(TASKS))


@every_task
def test_every_parameter_of_huggingface_hub_is_known(name: str, context: ContextMaker) -> None:
    fields = {field.name for field in dataclasses.fields(SCHEMAS[name])} - {"inputs"}
    assert fields <= set(TASKS[name].kind.__struct_fields__)


def test_every_schema_is_looked_at() -> None:
    assert set(SCHEMAS) == set(TASKS)


@pytest.mark.parametrize(
    ("name", "parameters", "logits", "schema"),
    [
        ("text-classification", {}, {"logits": [1.0, 2.0]}, TextClassificationOutputElement),
        ("fill-mask", {}, {"logits": np.eye(6, 256)}, FillMaskOutputElement),
        ("token-classification", {}, {"logits": np.eye(6)}, TokenClassificationOutputElement),
        (
            "token-classification",
            {"aggregation_strategy": "first"},
            {"logits": np.eye(6)},
            TokenClassificationOutputElement,
        ),
        (
            "question-answering",
            NEEDED["question-answering"],
            {"start_logits": np.ones(9), "end_logits": np.ones(9)},
            QuestionAnsweringOutputElement,
        ),
    ],
)
def test_answers_have_the_fields_of_huggingface_hub(
    context: ContextMaker,
    name: str,
    parameters: dict[str, Any],
    logits: dict[str, Any],
    schema: type,
) -> None:
    task = TASKS[name](context())
    work = task.prepare(TextInputs([TEXT]), parameters)
    arrays = {key: np.asarray(value, dtype=np.float32) for key, value in logits.items()}
    (answer,) = task.finish([arrays], work, parameters)
    for element in answer:
        parsed = schema.parse_obj(element)
        required = {f.name for f in dataclasses.fields(schema) if f.default is dataclasses.MISSING}
        assert required <= set(element)
        assert parsed.score == element["score"]


@every_task
def test_an_unknown_parameter_is_named_with_those_accepted(
    name: str, context: ContextMaker
) -> None:
    task = TASKS[name](context())
    with pytest.raises(BadRequest, match=f"'nonsense' is unknown to {name}; accepted: .*truncate"):
        task.prepare(TextInputs([TEXT]), {"nonsense": 1})


@every_task
@pytest.mark.parametrize(
    "wrong",
    [{"truncate": "yes"}, {"truncate": 1}, {"truncation_direction": "up"}, {"truncate": [True]}],
)
def test_a_parameter_of_the_wrong_type_is_named(
    name: str, context: ContextMaker, wrong: dict[str, Any]
) -> None:
    task = TASKS[name](context())
    with pytest.raises(BadRequest, match=next(iter(wrong))):
        task.prepare(TextInputs([TEXT]), {**NEEDED.get(name, {}), **wrong})


@every_task
def test_null_counts_as_not_given(name: str, context: ContextMaker) -> None:
    task = TASKS[name](context())
    given = dict.fromkeys(task.kind.__struct_fields__) | NEEDED.get(name, {})
    assert len(task.prepare(TextInputs([TEXT]), given)) == 1


@every_task
@pytest.mark.parametrize("texts", [[], [""], ["fine", ""]])
def test_an_empty_input_is_refused(name: str, context: ContextMaker, texts: list[str]) -> None:
    task = TASKS[name](context())
    with pytest.raises(BadRequest, match="empty"):
        task.prepare(TextInputs(texts), NEEDED.get(name, {}))


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"question-answering"}))
def test_a_text_that_is_too_long_is_refused_or_cut(name: str, context: ContextMaker) -> None:
    task = TASKS[name](context())
    inputs = TextInputs(["[MASK] " * 63])
    with pytest.raises(BadRequest, match="65 tokens; the model takes at most 64"):
        task.prepare(inputs, {})
    (work,) = task.prepare(inputs, {"truncate": True})
    assert work.num_tokens == 64


@every_task
def test_a_tokenizer_with_more_ids_than_the_model_is_found_out(
    name: str, context: ContextMaker
) -> None:
    task = TASKS[name](context(vocab_size=100))
    with pytest.raises(UnsupportedInput, match="input 0 has token id .*, and the model none above"):
        task.prepare(TextInputs([TEXT]), NEEDED.get(name, {}))


@every_task
def test_tensors_are_not_a_tasks_business(name: str, context: ContextMaker) -> None:
    with pytest.raises(UnsupportedInput, match="not tensors"):
        TASKS[name](context()).prepare(
            TensorInputs({"input_ids": np.zeros((1, 2))}), NEEDED.get(name, {})
        )


class TestTokenIds:
    names = pytest.mark.parametrize("name", sorted(set(TASKS) - {"question-answering"}))

    @names
    def test_ids_are_taken_as_they_are(self, name: str, context: ContextMaker) -> None:
        work = TASKS[name](context()).prepare(TokenInputs([[2, 4, 3], [4, 9]]), {})
        assert [item.input_ids.tolist() for item in work] == [[2, 4, 3], [4, 9]]
        assert all(item.input_ids.dtype == np.int32 for item in work)

    @names
    @pytest.mark.parametrize("wrong", [-1, 256, 2**40, 1.5, True, "4", None])
    def test_what_is_no_id_of_the_model_is_refused(
        self, name: str, context: ContextMaker, wrong: Any
    ) -> None:
        with pytest.raises(BadRequest, match=r"input 1: token id .* from 0 to 255"):
            TASKS[name](context()).prepare(TokenInputs([[4], [4, wrong]]), {})

    @names
    def test_too_many_ids_are_refused_even_with_truncate(
        self, name: str, context: ContextMaker
    ) -> None:
        with pytest.raises(BadRequest, match="65 tokens; the model takes at most 64"):
            TASKS[name](context()).prepare(TokenInputs([[4] * 65]), {"truncate": True})

    @names
    @pytest.mark.parametrize("sequences", [[], [[]], [[4], []]])
    def test_no_ids_are_refused(
        self, name: str, context: ContextMaker, sequences: list[list[int]]
    ) -> None:
        with pytest.raises(BadRequest, match="empty"):
            TASKS[name](context()).prepare(TokenInputs(sequences), {})

    def test_question_answering_says_why_it_takes_none(self, context: ContextMaker) -> None:
        with pytest.raises(UnsupportedInput, match="characters of the context"):
            TASKS["question-answering"](context()).prepare(
                TokenInputs([[4]]), NEEDED["question-answering"]
            )

    def test_without_a_vocabulary_size_ids_stay_within_32_bits(self, context: ContextMaker) -> None:
        task = TASKS["feature-extraction"](context(vocab_size=None))
        task.prepare(TokenInputs([[2**31 - 1]]), {})
        with pytest.raises(BadRequest, match="token id 2147483648"):
            task.prepare(TokenInputs([[2**31]]), {})


class TestWithoutTokenizer:
    @pytest.mark.parametrize(
        "name", ["feature-extraction", "text-classification", "token-classification"]
    )
    def test_ids_are_answered(self, name: str, context: ContextMaker) -> None:
        task = TASKS[name](context(tokenizer=None))
        work = task.prepare(TokenInputs([[2, 4, 3]]), {})
        key = "last_hidden_state" if name == "feature-extraction" else "logits"
        shape = (2,) if name == "text-classification" else (3, 2)
        assert len(task.finish([{key: np.ones(shape, np.float32)}], work, {})) == 1

    @every_task
    def test_texts_are_refused_with_the_reason(self, name: str, context: ContextMaker) -> None:
        with pytest.raises(UnsupportedInput, match="no tokenizer files"):
            TASKS[name](context(tokenizer=None)).prepare(TextInputs([TEXT]), NEEDED.get(name, {}))


class TestBuildTask:
    @every_task
    def test_a_name_of_the_table_gives_its_task(
        self, name: str, tiny_bert: Path, facts: ModelFacts
    ) -> None:
        assert build_task(name, tiny_bert, facts).name == name

    @pytest.mark.parametrize("name", ["image-classification", "feature-extraction"])
    def test_a_model_that_reads_no_text_says_what_it_takes(
        self, name: str, tiny_bert: Path, facts: ModelFacts
    ) -> None:
        task = build_task(name, tiny_bert, dataclasses.replace(facts, inputs=("pixel_values",)))
        for inputs in (TextInputs(["x"]), TokenInputs([[1]])):
            with pytest.raises(UnsupportedInput, match=f"{name}' .* by name: pixel_values; tasks"):
                task.prepare(inputs, {})

    def test_a_folder_without_tokenizer_takes_ids(self, tmp_path: Path, facts: ModelFacts) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "bert", "vocab_size": 10}')
        task = build_task("feature-extraction", tmp_path, facts)
        assert len(task.prepare(TokenInputs([[9]]), {})) == 1
        with pytest.raises(BadRequest, match="from 0 to 9"):
            task.prepare(TokenInputs([[10]]), {})


class TestContext:
    def test_labels_types_and_sizes_come_from_the_config(
        self, tmp_path: Path, facts: ModelFacts
    ) -> None:
        (tmp_path / "config.json").write_text(
            '{"model_type": "bert", "id2label": {"2": "c", "0": "a"}, "vocab_size": 7,'
            ' "problem_type": "regression"}'
        )
        context = TaskContext.from_folder(tmp_path, facts)
        assert [context.label(index) for index in range(3)] == ["a", "LABEL_1", "c"]
        assert (context.vocab_size, context.num_token_types) == (7, 2)  # 2 is BERT's default
        assert context.problem_type == "regression"
        assert context.label(5) == "LABEL_5"

    def test_a_malformed_config_is_refused_by_name(self, tmp_path: Path, facts: ModelFacts) -> None:
        (tmp_path / "config.json").write_text("[1]")
        with pytest.raises(ConfigUnreadable, match=r"config\.json"):
            TaskContext.from_folder(tmp_path, facts)


def test_fill_mask_works_with_nothing_but_a_list_of_tokens(
    tiny_bert: Path, tmp_path: Path, facts: ModelFacts
) -> None:
    for name in ("vocab.txt", "config.json"):
        (tmp_path / name).write_bytes((tiny_bert / name).read_bytes())
    task = TASKS["fill-mask"](TaskContext.from_folder(tmp_path, facts))
    work = task.prepare(TextInputs([TEXT]), {"top_k": 1})
    logits = np.zeros((6, 256), np.float32)
    logits[2, 10] = 5
    assert list(work[0].input_ids).index(4) == 2
    assert task.finish([{"logits": logits}], work, {"top_k": 1})[0][0]["token"] == 10
