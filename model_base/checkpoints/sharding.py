"""Weights in several files with an index: planning, reading, and the index itself.

Source: transformers 4.19.2, ``shard_checkpoint`` and ``convert_file_size_to_int``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_base.checkpoints.base import Array, Checkpoint, CheckpointFormat, TensorInfo
from model_base.constants import MAX_JSON_BYTES
from model_base.errors import CheckpointUnreadable, UnsafeCheckpoint

_UNITS = {"GIB": 2**30, "MIB": 2**20, "KIB": 2**10, "GB": 10**9, "MB": 10**6, "KB": 10**3}


def convert_file_size_to_int(size: int | str) -> int:
    """Bytes of ``"10GB"``, ``"512MiB"``, …; a lower-case final ``b`` after GB/MB/KB means bits.

    Raises:
        ValueError: not a whole number with one of the six units.
    """
    if isinstance(size, int):
        return size
    for unit, factor in _UNITS.items():
        if str(size).upper().endswith(unit):
            number = size[: -len(unit)].strip()
            if not re.fullmatch(r"\d+", number):
                break
            bits = len(unit) == 2 and size.endswith("b")
            return int(number) * factor // (8 if bits else 1)
    raise ValueError(f"size {size!r} is not a whole number followed by one of {', '.join(_UNITS)}")


def plan_shards(num_bytes: Mapping[str, int], max_shard_size: int | str) -> list[list[str]]:
    """Names of each shard, filled greedily in order; a tensor over the limit is alone in one."""
    limit = convert_file_size_to_int(max_shard_size)
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in num_bytes.items():
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def shard_name(whole: str, index: int, count: int) -> str:
    """``model.safetensors`` → ``model-00001-of-00003.safetensors`` for index 0 of 3."""
    stem, _, suffix = whole.rpartition(".")
    return f"{stem}-{index + 1:05d}-of-{count:05d}.{suffix}"


@dataclass(frozen=True, slots=True)
class Index:
    """What an index file says.

    Attributes:
        weight_map: file name by stored tensor name.
        metadata: ``total_size`` and whatever else the writer put there.
    """

    weight_map: Mapping[str, str]
    metadata: Mapping[str, Any]

    @property
    def files(self) -> list[str]:
        """Names of the shards, sorted."""
        return sorted(set(self.weight_map.values()))


def read_index(path: Path) -> Index:
    """Read an index file.

    Raises:
        CheckpointUnreadable: too large, not JSON, or without a map from names to files.
        UnsafeCheckpoint: it names anything but plain files beside it.
    """
    try:
        if (size := path.stat().st_size) > MAX_JSON_BYTES:
            raise ValueError(f"{size} bytes is over the limit of {MAX_JSON_BYTES}")
        index = json.loads(path.read_bytes())
        weight_map, metadata = index["weight_map"], index.get("metadata", {})
        if not isinstance(weight_map, dict) or not isinstance(metadata, dict):
            raise TypeError("'weight_map' and 'metadata' must be objects")
        if not weight_map:
            raise ValueError("'weight_map' is empty")
    except (OSError, ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        reason = f"no {error} in it" if isinstance(error, KeyError) else error
        raise CheckpointUnreadable(f"index {path} cannot be read: {reason}") from error
    for name, file in weight_map.items():
        if not isinstance(file, str) or not _is_plain_name(file):
            raise UnsafeCheckpoint(
                f"index {path.name} says tensor {name!r} is in {file!r}; "
                "accepted: the name of a file in the same folder"
            )
    return Index(weight_map, metadata)


def _is_plain_name(name: str) -> bool:
    return bool(name) and name not in (".", "..") and not re.search(r"[/\\\x00]", name)


def write_index(path: Path, index: Index) -> None:
    """Write an index file: indent 2, sorted keys, final newline."""
    content = {"metadata": dict(index.metadata), "weight_map": dict(index.weight_map)}
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


class ShardedCheckpoint:
    """Several files as one ``Checkpoint``; all headers are read at once, data shard by shard.

    A shard's file is opened for its header, let go, and opened again when the first of its
    tensors is read; the one before is closed then. Read in the order of ``infos``.

    Attributes:
        absent: names that the index promises and no shard holds. Tensors that the index does not
            name are passed over: they are missing.
    """

    def __init__(self, format: CheckpointFormat, paths: list[Path], index: Index) -> None:
        self._format = format
        self._path_of: dict[str, Path] = {}
        self.infos: dict[str, TensorInfo] = {}
        self.metadata: Mapping[str, str] = {}
        self._open_path: Path | None = None
        self._open: Checkpoint | None = None
        promised = dict(index.weight_map)
        promised |= {_without_model(name): file for name, file in index.weight_map.items()}
        for path in paths:
            shard = self._shard(path)
            self.metadata = self.metadata or shard.metadata
            for name, info in shard.infos.items():
                if promised.get(name) == path.name:
                    self.infos[name] = info
                    self._path_of[name] = path
        self.absent = [
            name
            for name in index.weight_map
            if name not in self.infos and _without_model(name) not in self.infos
        ]

    def _shard(self, path: Path) -> Checkpoint:
        if self._open is None or self._open_path != path:
            self.close()
            self._open, self._open_path = self._format.open(path), path
        return self._open

    def read(self, name: str) -> Array:
        """The values, from the shard that holds them; the shard before is closed."""
        return self._shard(self._path_of[name]).read(name)

    def release(self, name: str) -> None:
        """Let go of the memory of a tensor, if its shard is open."""
        if self._open is not None and self._open_path == self._path_of[name]:
            self._open.release(name)

    def close(self) -> None:
        """Let go of the shard that is open."""
        if self._open is not None:
            self._open.close()
        self._open = self._open_path = None


def _without_model(name: str) -> str:
    """Indexes of h5 shards put the model's own name before each tensor's; shards do not."""
    return name.partition("/")[2] or name
