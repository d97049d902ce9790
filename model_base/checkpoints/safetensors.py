"""safetensors: a JSON header and the raw values, memory-mapped.

Source: https://huggingface.co/docs/safetensors, "Format". The library checks the header; the
mapping is ours, since the library copies, and its views are of one framework.
"""

import json
import math
import mmap
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import safetensors
from safetensors.numpy import save_file
from typing_extensions import override

from model_base.checkpoints.base import (
    NUMPY_DTYPES,
    Array,
    Checkpoint,
    CheckpointFormat,
    TensorInfo,
    explain_unreadable,
    forget_pages,
    replacing,
)
from model_base.conversion.conventions import Convention, flax_names, keras_names, torch_names
from model_base.errors import CheckpointUnreadable

MAX_HEADER_BYTES = 32 * 2**20
MAX_TENSORS = 200_000
"""Larger headers are refused unread; 30,000 tensors, of the largest models, take 4 MiB."""

_CONVENTIONS: dict[str, Convention] = {"tf": keras_names, "flax": flax_names}


class MappedFile:
    """An open safetensors file (a ``Checkpoint``)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        header, start = _read_header(path)
        self.metadata: Mapping[str, str] = header.pop("__metadata__", {})
        self.infos = {name: _info(path, name, entry) for name, entry in header.items()}
        self._offsets = {name: start + entry["data_offsets"][0] for name, entry in header.items()}

    @cached_property
    def _map(self) -> mmap.mmap:
        """Made when values are wanted: the system may refuse it for what is larger than memory."""
        try:
            with self._path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise explain_unreadable(self._path, error) from error

    def read(self, name: str) -> Array:
        """A view of the map: nothing is copied, pages come in when they are touched."""
        info = self.infos[name]
        flat = np.frombuffer(self._map, info.dtype, math.prod(info.shape), self._offsets[name])
        return flat.reshape(info.shape)

    def release(self, name: str) -> None:
        """Give the pages of a tensor back."""
        forget_pages(self.read(name))

    def close(self) -> None:
        """Nothing: the map is closed with the last array over it."""


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Header as JSON and the offset of the values, after the library has found it sound."""
    try:
        header = _bounded_header(path)
        with safetensors.safe_open(path, framework="numpy"):
            pass
        return json.loads(header), 8 + len(header)
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise explain_unreadable(path, error) from error


def _bounded_header(path: Path) -> bytes:
    """The header's text; each tensor opens one brace in it.

    Raises:
        ValueError: over one of the two limits.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes; accepted: up to {MAX_HEADER_BYTES}")
        header = file.read(length)
    if header.count(b"{") > MAX_TENSORS + 2:  # the header's own and the metadata's
        raise ValueError(f"a header of more than {MAX_TENSORS} tensors, which are not accepted")
    return header


def _info(path: Path, name: str, entry: Mapping[str, Any]) -> TensorInfo:
    dtype = NUMPY_DTYPES.get(entry["dtype"])
    if dtype is None:
        known = ", ".join(NUMPY_DTYPES)
        raise CheckpointUnreadable(
            f"tensor {name!r} in {path.name} has dtype {entry['dtype']!r}; accepted: {known}"
        )
    return TensorInfo(tuple(entry["shape"]), dtype)


class Safetensors(CheckpointFormat):
    """The format of ``model.safetensors``, whoever wrote it."""

    name: ClassVar[str] = "safetensors"
    suffix: ClassVar[str] = ".safetensors"

    @override
    def convention(self, checkpoint: Checkpoint) -> Convention:
        """Writers name themselves in the metadata; without it the names are PyTorch's."""
        return _CONVENTIONS.get(checkpoint.metadata.get("format", "pt"), torch_names)

    @override
    def open(self, path: Path) -> MappedFile:
        return MappedFile(path)

    @override
    def write(self, path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        ready = {name: np.asarray(array, order="C") for name, array in sorted(tensors.items())}
        with replacing(path) as partial:
            partial.touch()
            mode = stat.S_IMODE(partial.stat().st_mode)  # what any new file has here
            try:
                save_file(ready, str(partial), dict(metadata))
            except safetensors.SafetensorError as error:
                raise OSError(f"cannot write {path}: {error}") from error
            partial.chmod(mode)  # the library's own is 0600
