from pathlib import Path

import numpy as np
import pytest

from model_base.checkpoints.safetensors import Safetensors
from model_base.errors import CheckpointNotFound, CheckpointUnreadable
from model_base.hub.files import Folder
from model_base.loading.resolve import resolve_any
from service.core.errors import OutOfMemory
from service.repository import memory
from service.repository.memory import check_fits, free_bytes, needed_bytes

MIB = 2**20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """10 floats of 4 bytes, 6 of 2, and 5 integers of 8."""
    arrays = {
        "a": np.zeros((2, 5), np.float32),
        "b": np.zeros(6, np.float16),
        "c": np.zeros(5, np.int64),
    }
    Safetensors().write(tmp_path / "model.safetensors", arrays, {"format": "pt"})
    return tmp_path


def needed(folder: Path, dtype: str) -> int:
    return needed_bytes(resolve_any(Folder(folder)), dtype)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("auto", 92), ("float32", 104), ("bfloat16", 72), ("float16", 72)],
)
def test_bytes_are_those_of_the_dtype_asked_for_and_integers_keep_theirs(
    model: Path, dtype: str, expected: int
) -> None:
    assert needed(model, dtype) == expected


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"])
def test_a_format_without_a_short_header_counts_by_its_size_and_is_not_opened(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"x" * 1234)
    assert needed(tmp_path, "float32") == 1234


@pytest.mark.parametrize("name", ["model.safetensors", "tf_model.h5", "flax_model.msgpack"])
def test_files_larger_than_what_is_free_are_refused_unopened(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(OutOfMemory, match=f"needs {2**42} bytes") as refused:
        check_fits(tmp_path, "bfloat16")
    assert 0 < refused.value.free_bytes < 2**42


def test_no_weights_and_damaged_ones_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound):
        check_fits(tmp_path, "auto")
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointUnreadable, match=r"model\.safetensors"):
        check_fits(tmp_path, "auto")


def test_a_model_that_grows_when_loaded_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = {"a": np.zeros(MIB, np.float16)}
    Safetensors().write(tmp_path / "model.safetensors", halves, {"format": "pt"})
    monkeypatch.setattr(memory, "free_bytes", lambda: 67 * MIB)
    assert check_fits(tmp_path, "float16") == 2 * MIB
    with pytest.raises(OutOfMemory, match=f"needs {4 * MIB} bytes"):
        check_fits(tmp_path, "float32")


@pytest.mark.parametrize("missing", [0, 1])
def test_a_model_needs_its_bytes_and_some_headroom(
    model: Path, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    size = (model / "model.safetensors").stat().st_size
    free = size + 64 * MIB - missing
    monkeypatch.setattr(memory, "free_bytes", lambda: free)
    if not missing:
        assert check_fits(model, "auto") == 92
        return
    with pytest.raises(OutOfMemory, match=f"needs {size} bytes, {free} are free") as refused:
        check_fits(model, "auto")
    assert (refused.value.needed_bytes, refused.value.free_bytes) == (size, free)


def cgroup(folder: Path, limit: str, usage: str, stat: str = "") -> tuple[tuple[str, str], ...]:
    (folder / "max").write_text(limit)
    (folder / "current").write_text(usage)
    (folder / "stat").write_text(stat)
    return ((str(folder / "max"), str(folder / "current")),)


@pytest.mark.parametrize(
    ("limit", "usage", "expected"),
    [
        ("1000\n", "400\n", 600),
        ("1000", "1400", 0),
        ("max\n", "400", None),
        (str(2**63 - 4096), "400", None),
        ("", "", None),
    ],
)
def test_a_containers_limit_counts_where_there_is_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: str,
    usage: str,
    expected: int | None,
) -> None:
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", cgroup(tmp_path, limit, usage))
    monkeypatch.setattr(memory, "_reclaimable", lambda: 0)
    free = free_bytes()
    assert free == expected if expected is not None else free > MIB


def test_without_any_limit_the_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (("/nowhere", "/nowhere"),))
    assert free_bytes() > MIB
