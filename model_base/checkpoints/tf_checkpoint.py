"""TensorFlow 1 checkpoints: ``model.ckpt.index`` with ``model.ckpt.data-00000-of-00001``.

The index is a sorted table of keys and small protocol buffers, the data are plain bytes that are
memory-mapped. Needs no TensorFlow. What an optimizer keeps is not listed.

Source: tensorflow 2.x, ``tensor_bundle.proto`` and leveldb's table format (``table_format.md``).
"""

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import ml_dtypes
import numpy as np
from typing_extensions import override

from model_base.checkpoints.base import (
    Array,
    Checkpoint,
    CheckpointFormat,
    TensorInfo,
    explain_unreadable,
    forget_pages,
)
from model_base.conversion.conventions import Convention, tf1_names

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
"""Behind each block: its compression and a checksum."""
_MAX_INDEX_BYTES = 16 * 2**20
_MAX_ENTRIES = 2**15
_MAX_KEY_BYTES = 4096
_MAX_RANK = 32
_NO_MEMORY = "it takes more memory than there is"
_DTYPES = {
    1: np.dtype(np.float32), 2: np.dtype(np.float64), 3: np.dtype(np.int32),
    4: np.dtype(np.uint8), 5: np.dtype(np.int16), 6: np.dtype(np.int8), 9: np.dtype(np.int64),
    10: np.dtype(np.bool_), 14: np.dtype(ml_dtypes.bfloat16), 17: np.dtype(np.uint16),
    19: np.dtype(np.float16), 22: np.dtype(np.uint32), 23: np.dtype(np.uint64),
}  # fmt: skip
"""Numpy's types of ``types.proto``'s numbers; tensors of others, such as strings, are left out."""
_OPTIMIZER = re.compile(
    r"(^|/)(adam_[mv]|Adam(_\d+)?|Momentum|LAMB\w*|AdamWeightDecayOptimizer\w*|global_step"
    r"|beta[12]_power|\.OPTIMIZER_SLOT)(/|$)"
)

_Fields = dict[int, list[int | bytes]]


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a tensor's bytes are."""

    info: TensorInfo
    shard: int
    offset: int


@dataclass(slots=True)
class TfCheckpoint:
    """An open checkpoint; data files are mapped when they are first read."""

    prefix: Path
    entries: Mapping[str, _Entry]
    num_shards: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    infos: Mapping[str, TensorInfo] = field(init=False)
    _maps: dict[int, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.infos = {name: entry.info for name, entry in self.entries.items()}

    def read(self, name: str) -> Array:
        """The values, memory-mapped, private.

        Raises:
            CheckpointUnreadable: the data file is absent or too short, or no array has the shape.
        """
        entry = self.entries[name]
        path = self.prefix.with_name(
            f"{self.prefix.name}.data-{entry.shard:05d}-of-{self.num_shards:05d}"
        )
        try:
            data = self._maps.get(entry.shard)
            if data is None:
                data = self._maps[entry.shard] = np.memmap(path, np.uint8, mode="c")
            end = entry.offset + entry.info.num_bytes
            if end > len(data):
                raise ValueError(f"{name} ends at byte {end}, the file at {len(data)}")
            values: Array = data[entry.offset : end].view(entry.info.dtype)
            return values.reshape(entry.info.shape)
        except (OSError, ValueError) as error:
            raise explain_unreadable(path, error) from error
        except MemoryError as error:
            raise explain_unreadable(path, _NO_MEMORY) from error

    def release(self, name: str) -> None:
        """Give the pages of a tensor back."""
        forget_pages(self.read(name))

    def close(self) -> None:
        """Let go of the data files; arrays that were read stay valid."""
        self._maps.clear()


class TfCheckpointFormat(CheckpointFormat):
    """The format of ``model.ckpt.index``; names are those of the variables, ``a/b/kernel``."""

    name: ClassVar[str] = "tf_checkpoint"
    suffix: ClassVar[str] = ".index"

    @override
    def convention(self, checkpoint: Checkpoint) -> Convention:
        return tf1_names

    @override
    def open(self, path: Path) -> Checkpoint:
        try:
            if (size := path.stat().st_size) > _MAX_INDEX_BYTES:
                raise ValueError(f"{size} bytes is over the limit of {_MAX_INDEX_BYTES}")
            table = dict(_rows(path.read_bytes()))
            num_shards = _number(_fields(table.pop(b"")), 1) or 1
            entries = {key.decode(): _entry(key, _fields(row)) for key, row in table.items()}
        except KeyError as error:
            raise explain_unreadable(path, f"{error} is not in it") from error
        except (OSError, ValueError, IndexError, struct.error) as error:
            raise explain_unreadable(path, error) from error
        except MemoryError as error:
            raise explain_unreadable(path, _NO_MEMORY) from error
        kept = {n: e for n, e in entries.items() if e is not None and not _OPTIMIZER.search(n)}
        return TfCheckpoint(path.with_suffix(""), kept, num_shards)

    @override
    def write(self, path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        raise ValueError("TensorFlow 1 checkpoints are read, not written")


def _rows(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every key and value of a table, whose blocks together are no larger than ``data``."""
    footer = data[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("it is not a TensorFlow checkpoint's index")
    _, _, at = _handle(footer, 0)
    num_rows, bytes_left = 0, len(data)
    for _, handle in _block(data, *_handle(footer, at)[:2]):
        offset, size, _ = _handle(handle, 0)
        bytes_left -= size + _TRAILER_BYTES
        if bytes_left < 0:
            raise ValueError("its blocks overlap")
        for row in _block(data, offset, size):
            num_rows += 1
            if num_rows > _MAX_ENTRIES:
                raise ValueError(f"it has over {_MAX_ENTRIES} entries")
            yield row


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    """Offset and size of a block, and where the handle ends."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return offset, size, at


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block; each key says how many bytes it shares with the one before."""
    block = data[offset : offset + size + _TRAILER_BYTES]
    if len(block) != size + _TRAILER_BYTES:
        raise ValueError("a block leaves the file")
    if block[size] != 0:
        raise ValueError("it is compressed, which TensorFlow does not write")
    num_restarts = struct.unpack("<I", block[size - 4 : size])[0]
    end, at, key = size - 4 * (num_restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared + own > _MAX_KEY_BYTES:
            raise ValueError(f"a key has over {_MAX_KEY_BYTES} bytes")
        value_at, at = at + own, at + own + length
        if at > end:
            raise ValueError("an entry leaves its block")
        key = key[:shared] + block[value_at - own : value_at]
        yield key, block[value_at:at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has more than 64 bits")


def _fields(message: bytes) -> _Fields:
    """The fields of a protocol buffer by number: integers, or bytes of what is nested or fixed."""
    fields: _Fields = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in (1, 2, 5):
            size, at = _varint(message, at) if kind == 2 else (8 if kind == 1 else 4, at)
            value, at = message[at : at + size], at + size
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")
        if at > len(message):
            raise ValueError(f"field {number} leaves its message")
        fields.setdefault(number, []).append(value)
    return fields


def _number(fields: _Fields, number: int) -> int:
    """A field that counts something, 0 if it is absent."""
    value = fields.get(number, [0])[0]
    if not isinstance(value, int) or value >= 2**63:
        raise ValueError(f"field {number} is {value!r:.40}; accepted: 0 to 2**63 - 1")
    return value


def _messages(fields: _Fields, number: int) -> list[bytes]:
    """What is nested in a field, once for each time that it is there."""
    values = fields.get(number, [])
    messages = [value for value in values if isinstance(value, bytes)]
    if len(messages) < len(values):
        raise ValueError(f"field {number} is a number; accepted: a message")
    return messages


def _entry(key: bytes, row: _Fields) -> _Entry | None:
    """Where a tensor is; None if it is of a type that no weight has."""
    dtype = _DTYPES.get(_number(row, 1))
    if dtype is None:
        return None
    if 7 in row:
        raise ValueError(f"{key.decode()!r} is stored in slices, which are not read")
    dims = _messages(_fields(b"".join(_messages(row, 2))), 2)
    if len(dims) > _MAX_RANK:
        raise ValueError(f"{key.decode()!r} has {len(dims)} axes; accepted: up to {_MAX_RANK}")
    info = TensorInfo(tuple(_number(_fields(dim), 1) for dim in dims), dtype)
    size = _number(row, 5)
    if info.num_bytes != size:
        raise ValueError(f"{key.decode()!r} of shape {info.shape} and {dtype} has {size} bytes")
    return _Entry(info, _number(row, 3), _number(row, 4))
