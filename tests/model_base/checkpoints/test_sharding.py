"""Shards: sizes, plans, the index, and one shard open at a time."""

import json
from pathlib import Path

import numpy as np
import pytest

from model_base.checkpoints import SAFETENSORS, TF_H5
from model_base.checkpoints.base import Checkpoint, Loaded
from model_base.checkpoints.sharding import (
    Index,
    ShardedCheckpoint,
    convert_file_size_to_int,
    plan_shards,
    read_index,
    shard_name,
    write_index,
)
from model_base.errors import CheckpointUnreadable, UnsafeCheckpoint


@pytest.mark.parametrize(
    ("size", "num_bytes"),
    [
        (7, 7), ("1GiB", 2**30), ("1MiB", 2**20), ("1KiB", 2**10), ("10GB", 10**10),
        ("5MB", 5 * 10**6), ("3KB", 3000), ("3 KB", 3000), ("1gib", 2**30), ("8Kb", 1000),
        ("8kb", 1000), ("2Gb", 2 * 10**9 // 8), ("1Gib", 2**30),
    ],
)  # fmt: skip
def test_a_size_in_words_is_so_many_bytes(size: int | str, num_bytes: int) -> None:
    assert convert_file_size_to_int(size) == num_bytes


@pytest.mark.parametrize("size", ["", "GB", "1.5GB", "-1GB", "10", "10B", "1TB", "1e3MB", 1.5])
def test_another_size_is_refused_by_its_value(size: object) -> None:
    with pytest.raises(ValueError, match=f"size {size!r} is not a whole number"):
        convert_file_size_to_int(size)


@pytest.mark.parametrize(
    ("sizes", "limit", "plan"),
    [
        ([], 10, [[]]),
        ([1, 2, 3], 10, [[0, 1, 2]]),
        ([5, 5, 1], 10, [[0, 1], [2]]),
        ([20, 1, 1], 10, [[0], [1, 2]]),
        ([1, 20, 1], 10, [[0], [1], [2]]),
        ([0, 0, 11, 0], 10, [[0, 1], [2], [3]]),
    ],
)
def test_shards_are_filled_in_order_and_a_large_tensor_is_alone(
    sizes: list[int], limit: int, plan: list[list[int]]
) -> None:
    named = {str(number): size for number, size in enumerate(sizes)}
    assert plan_shards(named, limit) == [[str(n) for n in shard] for shard in plan]


def test_shards_are_numbered_from_one() -> None:
    assert shard_name("model.safetensors", 0, 12) == "model-00001-of-00012.safetensors"
    assert shard_name("pytorch_model.bin", 1, 2) == "pytorch_model-00002-of-00002.bin"


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    index = Index({"b": "2.bin", "a": "1.bin"}, {"total_size": 8})
    write_index(tmp_path / "index.json", index)
    assert read_index(tmp_path / "index.json") == index
    assert index.files == ["1.bin", "2.bin"]
    assert (tmp_path / "index.json").read_text().endswith("}\n")


@pytest.mark.parametrize(
    "name",
    ["../w.bin", "a/w.bin", "/etc/passwd", "a\\w.bin", "..", ".", "", "w\x00.bin", "C:\\w.bin", 7,
     None, ["w.bin"]],
)  # fmt: skip
def test_an_index_that_leaves_its_folder_is_refused(name: object, tmp_path: Path) -> None:
    path = tmp_path / "model.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": {"a.weight": name}}))
    with pytest.raises(UnsafeCheckpoint, match=r"model\.index\.json says tensor 'a\.weight' is in"):
        read_index(path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", "null", "{}", '{"weight_map": []}', '{"weight_map": {}}', "\xff",
     '{"weight_map": {"a": "b"}, "metadata": 1}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_index_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "model.index.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointUnreadable, match=r"model\.index\.json"):
        read_index(path)


def test_an_index_over_the_size_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_base.checkpoints.sharding.MAX_JSON_BYTES", 10)
    path = tmp_path / "model.index.json"
    write_index(path, Index({"a": "w.bin"}, {}))
    with pytest.raises(CheckpointUnreadable, match="over the limit of 10"):
        read_index(path)


class CountingFormat:
    """Remembers which files are open, and how many were at most."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.now = self.most = 0

    def open(self, path: Path) -> Checkpoint:
        self.opened.append(path.name)
        self.now += 1
        self.most = max(self.most, self.now)
        return Counted(self, {f"{path.stem}.{i}": np.full(2, i) for i in range(3)})


class Counted(Loaded):
    def __init__(self, fmt: CountingFormat, arrays: dict[str, np.ndarray]) -> None:
        super().__init__(arrays)
        object.__setattr__(self, "fmt", fmt)

    def close(self) -> None:
        self.fmt.now -= 1


@pytest.fixture
def counted() -> tuple[CountingFormat, ShardedCheckpoint]:
    fmt = CountingFormat()
    paths = [Path(f"{name}.bin") for name in "abc"]
    names = {f"{path.stem}.{i}": path.name for path in paths for i in range(3)}
    return fmt, ShardedCheckpoint(fmt, paths, Index(names, {}))


def test_one_shard_is_open_at_a_time_and_each_is_opened_twice(
    counted: tuple[CountingFormat, ShardedCheckpoint],
) -> None:
    fmt, checkpoint = counted
    for name in checkpoint.infos:
        checkpoint.read(name)
    checkpoint.close()
    assert (fmt.most, fmt.now) == (1, 0)
    assert fmt.opened == ["a.bin", "b.bin", "c.bin", "a.bin", "b.bin", "c.bin"]


def test_tensors_come_from_the_shard_that_the_index_names(tmp_path: Path) -> None:
    paths = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    for number, path in enumerate(paths):
        SAFETENSORS.write(path, {"both": np.full(1, number), "extra": np.zeros(1)}, {})
    index = Index({"both": "2.safetensors", "lost": "1.safetensors"}, {})
    checkpoint = ShardedCheckpoint(SAFETENSORS, paths, index)
    assert checkpoint.read("both").tolist() == [1]
    assert list(checkpoint.infos) == ["both"]
    assert checkpoint.absent == ["lost"]


def test_an_h5_index_names_the_model_and_its_shards_do_not(tmp_path: Path) -> None:
    path = tmp_path / "1.h5"
    TF_H5.write(path, {"bert/pooler/kernel:0": np.ones(2)}, {})
    index = Index({"tf_bert_model/bert/pooler/kernel:0": "1.h5"}, {})
    checkpoint = ShardedCheckpoint(TF_H5, [path], index)
    assert list(checkpoint.infos) == ["bert/pooler/kernel:0"]
    assert checkpoint.absent == []
