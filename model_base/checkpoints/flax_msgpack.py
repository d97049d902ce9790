"""Flax ``.msgpack``: a nested map whose leaves are arrays. Needs msgpack, neither JAX nor Flax.

Source: flax 0.6.11 ``serialization.py``: extension type 1 is an array packed as (shape, dtype
name, bytes), 3 a numpy scalar; arrays above 2^30 bytes are maps of chunks.
"""

import math
from collections.abc import Iterator, Mapping
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
    Loaded,
    explain_unreadable,
    replacing,
)
from model_base.conversion.conventions import Convention, flax_names
from model_base.errors import CheckpointUnreadable

_ARRAY, _SCALAR = 1, 3
_MAX_DEPTH = 64
_MAX_LIST = 64
"""Lists are the shape of an array and its three parts; a declared length is allocated at once."""
_DTYPES = {dtype.name: dtype for dtype in DTYPES}
_CHUNKED = "__msgpack_chunked_array__"


def _unpack_leaf(code: int, data: bytes) -> Any:
    if code not in (_ARRAY, _SCALAR):
        raise ValueError(f"extension type {code} is not an array")
    shape, dtype_name, buffer = msgpack.unpackb(data, raw=True, max_array_len=_MAX_LIST)
    dtype = _DTYPES[dtype_name.decode()]
    if len(buffer) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of shape {shape} and {dtype} has {len(buffer)} bytes")
    array = np.frombuffer(bytearray(buffer), dtype).reshape(shape)
    return array if code == _ARRAY else array[()]


def _unpacked(path: Path) -> Any:
    """The one object in a file, read piece by piece.

    Raises:
        ValueError: bytes are left over; msgpack's own errors if the file is damaged.
    """
    size = max(path.stat().st_size, 1)
    with path.open("rb") as file:
        unpacker = msgpack.Unpacker(
            file, ext_hook=_unpack_leaf, max_array_len=_MAX_LIST, max_buffer_size=size
        )
        tree = unpacker.unpack()
        if unpacker.tell() != size:
            raise ValueError(f"the object ends at byte {unpacker.tell()} of {size}")
    return tree


def _leaves(tree: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Array]]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH}")
    if isinstance(tree, Mapping) and _CHUNKED in tree:
        tree = _join_chunks(tree)
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}/{key}" if path else str(key), depth + 1)
    elif isinstance(tree, np.ndarray | np.generic | int | float):
        yield path, np.asarray(tree)
    else:
        raise ValueError(f"{path!r} is a {type(tree).__name__}, not an array")


def _join_chunks(tree: Mapping[str, Any]) -> Array:
    chunks = [chunk.reshape(-1) for chunk in _in_order(tree["chunks"])]
    joined: Array = np.concatenate(chunks).reshape(tuple(_in_order(tree["shape"])))
    return joined


def _in_order(items: Any) -> list[Any]:
    """A list, which Flax packs as a map from "0", "1" and so on."""
    return [items[str(i)] for i in range(len(items))] if isinstance(items, Mapping) else list(items)


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
            tree = _unpacked(path)
            if not isinstance(tree, Mapping):
                raise CheckpointUnreadable(f"{path.name} holds a {type(tree).__name__}, not a map")
            return Loaded(dict(_leaves(tree)))
        except KeyError as error:
            raise explain_unreadable(path, f"{error} is neither a dtype nor a part") from error
        except (ValueError, TypeError, AttributeError, OSError, msgpack.UnpackException) as error:
            raise explain_unreadable(path, error) from error

    @override
    def write(self, path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        tree: dict[str, Any] = {}
        for name, array in tensors.items():
            *parents, leaf = name.split("/")
            node = tree
            for part in parents:
                node = node.setdefault(part, {})
            node[leaf] = array
        with replacing(path) as partial:
            partial.write_bytes(msgpack.packb(tree, default=_pack_leaf, strict_types=True))


def _pack_leaf(array: Array) -> msgpack.ExtType:
    payload = (array.shape, array.dtype.name, array.tobytes())
    return msgpack.ExtType(_ARRAY, msgpack.packb(payload, use_bin_type=True))
