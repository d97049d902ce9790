"""safetensors: hostile headers, who wrote it, and memory mapping."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from model_base.checkpoints import SAFETENSORS, safetensors
from model_base.checkpoints.safetensors import MAX_HEADER_BYTES
from model_base.conversion.conventions import flax_names, keras_names, torch_names
from model_base.errors import CheckpointUnreadable


def file_of(path: Path, header: object, values: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length
    path.write_bytes(length.to_bytes(8, "little") + text + values)
    return path


def entry(dtype: str, shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}}


HOSTILE = {
    "a header longer than the file": (entry("F32", [1], 0, 4), b"0000", 2**62),
    "a header of nearly all addresses": (b"{}", b"", 2**64 - 1),
    "values beyond the end": (entry("F32", [1000], 0, 4000), b"0000", None),
    "a shape that overflows": (entry("F32", [2**40, 2**40], 0, 4), b"0000", None),
    "negative offsets": (entry("F32", [1], -4, 0), b"0000", None),
    "offsets the wrong way round": (entry("F32", [1], 4, 0), b"0000", None),
    "a negative shape": (entry("F32", [-1], 0, 4), b"0000", None),
    "an unknown dtype": (entry("OBJECT", [1], 0, 8), b"00000000", None),
    "a list for a header": ([1, 2], b"", None),
    "no JSON": (b"{'a': 1}", b"", None),
    "deeply nested JSON": (b'{"a":' * 9000 + b"1" + b"}" * 9000, b"", None),
    "bytes left over": (entry("F32", [1], 0, 4), b"00000000", None),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_header_is_refused_by_the_file_s_name(case: str, tmp_path: Path) -> None:
    header, values, length = HOSTILE[case]
    path = file_of(tmp_path / "m.safetensors", header, values, length)
    with pytest.raises(CheckpointUnreadable, match=r"m\.safetensors"):
        SAFETENSORS.open(path)


def test_overlapping_values_are_refused(tmp_path: Path) -> None:
    header = {name: entry("F32", [1], 0, 4)["a"] for name in "ab"}
    with pytest.raises(CheckpointUnreadable, match=r"m\.safetensors"):
        SAFETENSORS.open(file_of(tmp_path / "m.safetensors", header, b"0000"))


@pytest.mark.parametrize(
    ("metadata", "convention"),
    [
        ({"format": "pt"}, torch_names),
        ({"format": "mlx"}, torch_names),
        ({}, torch_names),
        ({"format": "tf"}, keras_names),
        ({"format": "flax"}, flax_names),
    ],
)
def test_the_metadata_says_whose_names_they_are(
    metadata: dict[str, str], convention: object, tmp_path: Path
) -> None:
    path = tmp_path / "m.safetensors"
    SAFETENSORS.write(path, {"a": np.zeros(1)}, metadata)
    checkpoint = SAFETENSORS.open(path)
    assert checkpoint.metadata == metadata
    assert SAFETENSORS.convention(checkpoint) is convention


def test_values_at_odd_offsets_are_read(tmp_path: Path) -> None:
    header = {
        "flag": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]},
        "value": {"dtype": "F32", "shape": [1], "data_offsets": [1, 5]},
    }
    values = b"\x01" + np.array([2.5], "<f4").tobytes()
    checkpoint = SAFETENSORS.open(file_of(tmp_path / "m.safetensors", header, values))
    assert checkpoint.read("value").tolist() == [2.5]


def test_reading_copies_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    SAFETENSORS.write(path, {"a": np.zeros(8, np.float32)}, {})
    checkpoint = SAFETENSORS.open(path)
    assert np.shares_memory(checkpoint.read("a"), checkpoint.read("a"))


def test_a_file_larger_than_memory_is_listed_without_being_mapped(tmp_path: Path) -> None:
    num_bytes = 2**43
    header = entry("U8", [num_bytes], 0, num_bytes)
    path = file_of(tmp_path / "m.safetensors", header)
    try:
        os.truncate(path, path.stat().st_size + num_bytes)
    except OSError:
        pytest.skip("this file system has no files of 8 TiB, not even empty ones")
    assert SAFETENSORS.open(path).infos["a"].num_bytes == num_bytes


def test_a_header_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = file_of(tmp_path / "m.safetensors", b"", length=MAX_HEADER_BYTES + 1)
    os.truncate(path, 2 * MAX_HEADER_BYTES)
    with pytest.raises(CheckpointUnreadable, match=f"m.safetensors.*up to {MAX_HEADER_BYTES}"):
        SAFETENSORS.open(path)


@pytest.mark.parametrize(("count", "is_read"), [(3, True), (4, False)])
def test_more_tensors_than_the_limit_are_refused(
    count: int, is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safetensors, "MAX_TENSORS", 3)
    path = tmp_path / "m.safetensors"
    SAFETENSORS.write(path, {str(i): np.zeros(1) for i in range(count)}, {"format": "pt"})
    if is_read:
        assert len(SAFETENSORS.open(path).infos) == count
        return
    with pytest.raises(CheckpointUnreadable, match=r"m\.safetensors.*more than 3 tensors"):
        SAFETENSORS.open(path)


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_written_file_has_the_mode_of_any_other(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        SAFETENSORS.write(tmp_path / "m.safetensors", {"a": np.zeros(1)}, {})
    finally:
        os.umask(before)
    assert (tmp_path / "m.safetensors").stat().st_mode & 0o777 == 0o666 & ~umask
