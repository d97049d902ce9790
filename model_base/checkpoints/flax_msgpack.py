"""Flax ``.msgpack``: a nested map whose leaves are arrays. Needs msgpack, neither JAX nor Flax.

Only the structure is unpacked; the values stay in the file, memory-mapped, until they are read.

Source: flax 0.6.11 ``serialization.py``: extension type 1 is an array packed as (shape, dtype
name, bytes), 3 a numpy scalar; arrays above 2^30 bytes are maps of chunks. The msgpack
specification for the lengths of extensions and bytes.
"""

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgpack  # type: ignore[import-untyped]  # msgpack has no type hints
import numpy as np
from typing_extensions import override

from model_base.checkpoints.base import (
    DTYPES,
    Array,
    Checkpoint,
    CheckpointFormat,
    TensorInfo,
    explain_unreadable,
    forget_pages,
    replacing,
)
from model_base.conversion.conventions import Convention, flax_names

_ARRAY, _SCALAR = 1, 3
_MAX_DEPTH = 64
_MAX_LIST = 64
"""Lists are the shape of an array and its three parts; a declared length is allocated at once."""
_WINDOW = 4096
"""Bytes that a name, a number, or the head of an array may take."""
_DTYPES = {dtype.name: dtype for dtype in DTYPES}
_CHUNKED = "__msgpack_chunked_array__"
_BYTES_8, _TEXT_8 = 0xC4, 0xD9  # each followed by its kin with lengths of 2 and 4 bytes
_EXTENSION_8 = 0xC7
_FIXED_EXTENSIONS = range(0xD4, 0xD9)  # of 1, 2, 4, 8, 16 bytes
_FIXED_TEXTS = range(0xA0, 0xC0)
_MAPS = (*range(0x80, 0x90), 0xDE, 0xDF)


@dataclass(frozen=True, slots=True)
class _Stored:
    """An array in the file.

    Attributes:
        pieces: offset and size in bytes of each part, in order.
    """

    info: TensorInfo
    pieces: tuple[tuple[int, int], ...]


def _unpacker(data: mmap.mmap, at: int, **options: Any) -> Any:
    """One that has been fed the next few bytes."""
    sizes = {"read_size": _WINDOW, "max_buffer_size": _WINDOW, "max_array_len": _MAX_LIST}
    unpacker = msgpack.Unpacker(**sizes, **options)
    unpacker.feed(data[at : at + _WINDOW])
    return unpacker


def _node(data: mmap.mmap, at: int, depth: int = 0) -> tuple[Any, int]:
    """What begins at a byte, arrays as ``_Stored``, and where it ends."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH}")
    first = data[at]
    if first in _FIXED_EXTENSIONS or 0 <= first - _EXTENSION_8 < 3:
        return _extension(data, at)
    unpacker = _unpacker(data, at)
    if first not in _MAPS:
        return unpacker.unpack(), at + unpacker.tell()
    count = unpacker.read_map_header()
    at += unpacker.tell()
    node: dict[str, Any] = {}
    for _ in range(count):
        unpacker = _unpacker(data, at)
        key = unpacker.unpack()
        if not isinstance(key, str):
            raise ValueError(f"{key!r:.100} is a name; accepted: text")
        node[key], at = _node(data, at + unpacker.tell(), depth + 1)
    return (_joined(node) if _CHUNKED in node else node), at


def _extension(data: mmap.mmap, at: int) -> tuple[_Stored, int]:
    if (first := data[at]) in _FIXED_EXTENSIONS:
        at, length = at + 1, 1 << (first - _FIXED_EXTENSIONS[0])
    else:
        at, length = _length(data, at, first - _EXTENSION_8)
    code, start, end = data[at], at + 1, at + 1 + length
    if code not in (_ARRAY, _SCALAR):
        raise ValueError(f"extension type {code} is not an array")
    unpacker = _unpacker(data, start, raw=True)
    if (parts := unpacker.read_array_header()) != 3:
        raise ValueError(f"an array of {parts} parts; accepted: shape, dtype and bytes")
    shape, dtype = _shape(unpacker.unpack()), _DTYPES[unpacker.unpack().decode()]
    info = TensorInfo(shape, dtype)
    at, num_bytes = _bytes_at(data, start + unpacker.tell())
    if num_bytes != info.num_bytes or at + num_bytes != end or end > len(data):
        raise ValueError(f"an array of shape {shape} and {dtype} has {num_bytes} bytes")
    return _Stored(info, ((at, num_bytes),)), end


def _shape(axes: list[Any]) -> tuple[int, ...]:
    is_shape = len(axes) <= _MAX_LIST and all(type(axis) is int and axis >= 0 for axis in axes)
    if not is_shape or math.prod(filter(None, axes)) >= 2**63:
        raise ValueError(f"{axes!r:.100} is no shape")
    return tuple(axes)


def _length(data: mmap.mmap, at: int, power: int) -> tuple[int, int]:
    """Where what follows a length of ``2**power`` bytes begins, and the length."""
    end = at + 1 + (1 << power)
    return end, int.from_bytes(data[at + 1 : end], "big")


def _bytes_at(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Where bytes, or text as old writers call them, begin, and how many they are."""
    first = data[at]
    if first in _FIXED_TEXTS:
        return at + 1, first - _FIXED_TEXTS[0]
    for smallest in (_BYTES_8, _TEXT_8):
        if 0 <= first - smallest < 3:
            return _length(data, at, first - smallest)
    raise ValueError("an array without bytes")


def _joined(tree: Mapping[str, Any]) -> _Stored:
    """An array that was packed in chunks."""
    chunks: list[_Stored] = _in_order(tree["chunks"])
    info = TensorInfo(_shape(_in_order(tree["shape"])), chunks[0].info.dtype)
    joined = _Stored(info, tuple(piece for chunk in chunks for piece in chunk.pieces))
    if any(chunk.info.dtype != info.dtype for chunk in chunks) or info.num_bytes != sum(
        num_bytes for _, num_bytes in joined.pieces
    ):
        raise ValueError(f"chunks that are not an array of shape {info.shape}")
    return joined


def _in_order(items: Mapping[str, Any]) -> list[Any]:
    """A list, which Flax packs as a map from "0", "1" and so on."""
    return [items[str(i)] for i in range(len(items))]


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}/")
        elif isinstance(value, _Stored | int | float):
            yield prefix + key, value
        else:
            kind = type(value).__name__
            raise ValueError(f"{prefix + key!r:.100} is a {kind}, not an array")


class MappedTree:
    """An open msgpack file (a ``Checkpoint``)."""

    metadata: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        tree, end = _node(self._map, 0)
        if not isinstance(tree, Mapping):
            raise ValueError(f"it holds a {type(tree).__name__}, not a map")
        if end != len(self._map):
            raise ValueError(f"the object ends at byte {end} of {len(self._map)}")
        self._leaves = dict(_leaves(tree))
        self.infos = {name: _info(leaf) for name, leaf in self._leaves.items()}

    def read(self, name: str) -> Array:
        """The values in the map, aligned or not; copied if they were packed in chunks."""
        leaf = self._leaves[name]
        if not isinstance(leaf, _Stored):
            return np.asarray(leaf)
        views = self._views(leaf)
        if len(views) == 1:
            return views[0].reshape(leaf.info.shape)
        joined: Array = np.concatenate(views).reshape(leaf.info.shape)
        for view in views:
            forget_pages(view)
        return joined

    def _views(self, leaf: _Stored) -> list[Array]:
        dtype = leaf.info.dtype
        return [
            np.frombuffer(self._map, dtype, num_bytes // dtype.itemsize, at)
            for at, num_bytes in leaf.pieces
        ]

    def release(self, name: str) -> None:
        """Give the pages of a tensor back."""
        if isinstance(leaf := self._leaves[name], _Stored):
            for view in self._views(leaf):
                forget_pages(view)

    def close(self) -> None:
        """Nothing: the map is closed with the last array over it."""


def _info(leaf: Any) -> TensorInfo:
    if isinstance(leaf, _Stored):
        return leaf.info
    array = np.asarray(leaf)
    return TensorInfo(array.shape, array.dtype)


class FlaxMsgpack(CheckpointFormat):
    """The format of ``flax_model.msgpack``; names are the tree's keys joined by ``/``."""

    name: ClassVar[str] = "flax_msgpack"
    suffix: ClassVar[str] = ".msgpack"

    @override
    def convention(self, checkpoint: Checkpoint) -> Convention:
        return flax_names

    @override
    def open(self, path: Path) -> Checkpoint:
        try:
            return MappedTree(path)
        except KeyError as error:
            raise explain_unreadable(path, f"{error} is neither a dtype nor a part") from error
        except IndexError as error:
            raise explain_unreadable(path, "it ends early") from error
        except (ValueError, TypeError, AttributeError, OSError, msgpack.UnpackException) as error:
            raise explain_unreadable(path, error) from error

    @override
    def write(self, path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        tree: dict[str, Any] = {}
        for name in tensors:
            *parents, leaf = name.split("/")
            node = tree
            for part in parents:
                node = node.setdefault(part, {})
            node[leaf] = name
        with replacing(path) as partial, partial.open("wb") as file:
            for piece in _packed(tree, tensors):
                file.write(piece)


def _packed(node: Mapping[str, Any], tensors: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """A tree of names piece by piece, each array read when it is its turn."""
    packer = msgpack.Packer()
    yield packer.pack_map_header(len(node))
    for key, value in node.items():
        yield packer.pack(key)
        if isinstance(value, Mapping):
            yield from _packed(value, tensors)
        else:
            yield from _packed_leaf(np.asarray(tensors[value], order="C"))


def _packed_leaf(array: Array) -> Iterator[bytes | memoryview]:
    """An array as an extension that holds (shape, dtype, bytes); its values are not copied."""
    values = array.reshape(-1).view(np.uint8).data
    small = msgpack.packb((array.shape, array.dtype.name))
    head = b"\x93" + small[1:] + b"\xc6" + (len(values) % 2**32).to_bytes(4, "big")
    if (num_bytes := len(head) + len(values)) >= 2**32:
        raise ValueError(f"an array of {len(values)} bytes; msgpack holds less than 4 GiB in one")
    yield b"\xc9" + num_bytes.to_bytes(4, "big") + _ARRAY.to_bytes(1, "big") + head
    yield values
