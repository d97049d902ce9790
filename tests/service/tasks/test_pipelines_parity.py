"""Every task against the answers of transformers' pipelines to the same logits."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.core.messages import TextInputs
from service.tasks import TASKS, TaskContext

CASES = json.loads(
    (Path(__file__).parents[2] / "data" / "pipelines_reference.json").read_text(encoding="ascii")
)


def name(case: dict[str, Any]) -> str:
    chosen = [f"{k}={v}" for k, v in case["parameters"].items() if k != "question"]
    return "-".join([case["task"], *chosen])


@pytest.mark.parametrize("case", CASES, ids=name)
def test_answers_are_those_of_the_pipelines(
    context: Callable[..., TaskContext], case: dict[str, Any]
) -> None:
    task = TASKS[case["task"]](
        context(labels=dict(enumerate(case["labels"])), problem_type=case["problem_type"])
    )
    work = task.prepare(TextInputs([case["text"]]), case["parameters"])
    unpadded = [[i for i in ids if i != 0] for ids in case["input_ids"]]
    assert [item.input_ids.tolist() for item in work] == unpadded
    results = [
        {key: logits_of(value, len(ids)) for key, value in logits.items()}
        for logits, ids in zip(case["logits"], unpadded, strict=True)
    ]
    (answer,) = task.finish(results, work, case["parameters"])
    output = case["output"]
    check_same(answer, [output] if isinstance(output, dict) else output)


def logits_of(value: list[Any], length: int) -> np.ndarray:
    """Without the padding of the last window; a text's own logits have no axis of tokens."""
    array = np.asarray(value, dtype=np.float32)
    return array[:length] if len(value) >= length else array


def check_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            check_same(one, other)
    elif isinstance(theirs, dict):
        assert ours == {**theirs, "score": pytest.approx(theirs["score"], rel=2e-4, abs=2e-6)}
    else:
        assert ours == theirs


def test_answers_can_be_written_as_json(context: Callable[..., TaskContext]) -> None:
    for case in CASES:
        task = TASKS[case["task"]](context(labels=dict(enumerate(case["labels"]))))
        work = task.prepare(TextInputs([case["text"]]), case["parameters"])
        results = [
            {key: logits_of(value, item.num_tokens) for key, value in logits.items()}
            for logits, item in zip(case["logits"], work, strict=True)
        ]
        json.dumps(task.finish(results, work, case["parameters"]))
