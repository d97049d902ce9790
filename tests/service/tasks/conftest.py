import os
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
def tiny_bert() -> Path:
    return DATA / "tiny_bert"


@pytest.fixture
def facts() -> ModelFacts:
    return FACTS


@pytest.fixture
def context(tiny_bert: Path) -> Callable[..., TaskContext]:
    def build(**changes: object) -> TaskContext:
        return replace(TaskContext.from_folder(tiny_bert, FACTS), **changes)

    return build


@pytest.fixture
def fixtures() -> Path:
    folder = Path(os.environ.get("MODEL_BASE_FIXTURES", ROOT.parent / "shared" / "fixtures"))
    if not (folder / "manifest.json").is_file():
        pytest.skip("no fixtures: set MODEL_BASE_FIXTURES to their folder")
    return folder


@pytest.fixture
def minilm() -> Path:
    try:
        return embedded_model_folder()
    except EmbeddedModelMissing as error:
        pytest.skip(str(error))
