"""What every test may ask for."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STACKS = frozenset(filter(None, os.environ.get("STACKS", "torch,tensorflow,flax").split(",")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, and so count, the tests of stacks that are not to be tested or not installed."""
    for item in items:
        for stack in ("tensorflow", "flax"):
            if stack in item.path.parts:
                item.add_marker(stack)
            if item.get_closest_marker(stack) is None:
                continue
            if stack not in STACKS:
                item.add_marker(pytest.mark.skip(reason=f"{stack} is not in STACKS"))
            elif importlib.util.find_spec(stack) is None:
                item.add_marker(pytest.mark.skip(reason=f"{stack} is not installed"))


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


@pytest.fixture
def run_python() -> Callable[..., str]:
    """Runs code in a fresh interpreter and returns what it prints."""

    def run(code: str, *args: str | Path) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-W", "error", "-c", code, *map(str, args)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
