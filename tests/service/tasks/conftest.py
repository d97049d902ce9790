from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from service.core.messages import ModelFacts
from service.embedded import EmbeddedModelMissing, embedded_model_folder
from service.tasks.context import TaskContext

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tests" / "data"

FACTS = ModelFacts(
    architecture="BertModel",
    framework="torch",
    dtype="float32",
    device="cpu",
    task="feature-extraction",
    num_parameters=1,
    num_bytes=4,
    max_length=64,
)


@pytest.fixture
def data() -> Path:
    return DATA


@pytest.fixture
def facts() -> ModelFacts:
    return FACTS


@pytest.fixture
def context(tiny_bert: Path) -> Callable[..., TaskContext]:
    def build(**changes: object) -> TaskContext:
        return replace(TaskContext.from_folder(tiny_bert, FACTS), **changes)

    return build


@pytest.fixture
def minilm() -> Path:
    try:
        return embedded_model_folder()
    except EmbeddedModelMissing as error:
        pytest.skip(str(error))
