"""One checkpoint behind the real service in every stack: the same request, the same answer."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.torch, pytest.mark.tensorflow]

TEXTS = ["hello", "a longer text than the other one", "hello world"]
RAW = {
    "input_ids": [[2, 5, 6, 3], [2, 7, 3, 0]],
    "attention_mask": [[1, 1, 1, 1], [1, 1, 1, 0]],
    "token_type_ids": [[0, 0, 1, 1], [0, 0, 0, 0]],
}
STACKS = ("torch", "tensorflow")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, tiny: Path, start_once: Callable[[], Any]
) -> Iterator[Any]:
    """Each model in both stacks, by the name ``model-stack``, and ``classifier`` as a graph."""
    from model_base import (
        BertConfig,
        BertForMaskedLM,
        BertForSequenceClassification,
        TFBertForSequenceClassification,
    )

    folder = tmp_path_factory.mktemp("stacks")
    for name, kind in (("classifier", BertForSequenceClassification), ("filler", BertForMaskedLM)):
        shutil.copytree(tiny, folder / name, ignore=shutil.ignore_patterns("*ool*", "modules*"))
        kind(BertConfig.from_pretrained(tiny)).save_pretrained(folder / name)
    shutil.copytree(tiny, folder / "embedder")
    model = TFBertForSequenceClassification.from_pretrained(folder / "classifier")
    model.export_saved_model(folder / "graph" / "1")
    starter = start_once()
    first = ("--framework", "tensorflow", "--name", "embedder-tensorflow")
    running = starter(folder / "embedder", *first, "--models", str(folder)).wait_ready()
    running.post("/models", {"name": "graph", "source": "graph"})
    names = ["graph"]
    for name in ("classifier", "filler", "embedder"):
        for stack in STACKS if name != "embedder" else STACKS[:1]:
            names.append(f"{name}-{stack}")
            body = {"name": names[-1], "source": name, "framework": stack}
            assert running.post("/models", body).status_code == 202
    for name in names:
        assert running.wait_state(name, "ready", "failed")["state"] == "ready"
    yield running
    starter.end()


def ask(server: Any, model: str, inputs: Any) -> Any:
    reply = server.post(f"/models/{model}/predict", {"inputs": inputs})
    assert reply.status_code == 200, reply.text
    return reply.json()["outputs"]


def check_same(one: Any, other: Any) -> None:
    """Compare answers: words are the same, numbers within 1e-4."""
    if isinstance(other, dict):
        assert set(one) == set(other)
        for key in other:
            check_same(one[key], other[key])
    elif isinstance(other, list) and other and isinstance(other[0], dict | list | str):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            check_same(a, b)
    elif isinstance(other, str):
        assert one == other
    else:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", ["embedder", "classifier"])
def test_texts_have_the_same_answer_in_both_stacks(server: Any, model: str) -> None:
    answers = [ask(server, f"{model}-{stack}", TEXTS) for stack in STACKS]
    assert len(answers[0]) == len(TEXTS)
    check_same(*answers)


def test_a_masked_word_is_filled_alike(server: Any) -> None:
    answers = [ask(server, f"filler-{stack}", "hello [MASK]") for stack in STACKS]
    check_same(*answers)


def test_raw_tensors_have_the_same_answer_in_both_stacks_and_from_the_graph(server: Any) -> None:
    models = [*(f"classifier-{stack}" for stack in STACKS), "graph"]
    first, *others = [ask(server, model, RAW) for model in models]
    for other in others:
        check_same(other, first)
    check_same(*(ask(server, f"embedder-{stack}", RAW) for stack in STACKS))


def test_both_stacks_refuse_alike(server: Any) -> None:
    for raw in ({"input_ids": [[10**6]]}, {"nonsense": [[1]]}, {"input_ids": [[1] * 500]}):
        replies = [
            server.post(f"/models/embedder-{stack}/predict", {"inputs": raw}) for stack in STACKS
        ]
        assert [reply.status_code for reply in replies] == [400, 400]
        messages = [reply.json()["error"]["message"] for reply in replies]
        assert messages[0] == messages[1]


def test_what_the_stack_cannot_do_is_said(server: Any) -> None:
    body = {"name": "half", "source": "embedder", "framework": "tensorflow", "dtype": "float16"}
    server.post("/models", body)
    reason = server.wait_state("half", "failed")["reason"]
    assert reason == "dtype is 'float16'; accepted in TensorFlow: auto, float32"
    row = server.get("/models/embedder-tensorflow").json()
    assert (row["framework"], row["architecture"]) == ("tensorflow", "TFBertModel")
