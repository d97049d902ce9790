"""What every test may ask for."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Folder of the gold checkpoints and tokenizers; a test that needs it is skipped without."""
    folder = Path(os.environ.get("MODEL_BASE_FIXTURES", ROOT.parent / "shared" / "fixtures"))
    if not (folder / "manifest.json").is_file():
        pytest.skip("no gold fixtures: set MODEL_BASE_FIXTURES to their folder")
    return folder


@pytest.fixture
def tiny_bert() -> Path:
    """Folder of a small BERT tokenizer that is written as ``vocab.txt``."""
    return ROOT / "tests" / "data" / "tiny_bert"
