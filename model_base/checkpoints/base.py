"""The interface of a checkpoint format: named arrays in a file, listed before they are read."""

import contextlib
import ctypes
import math
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import ml_dtypes
import numpy as np

from model_base.conversion.conventions import Convention
from model_base.errors import CheckpointUnreadable

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Shape and numpy dtype (``ml_dtypes`` for what numpy lacks) of a stored tensor."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def num_bytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_floating(self) -> bool:
        """True for float types, bfloat16 and the 8-bit ones included."""
        return self.dtype.kind == "f" or self.dtype.name.startswith(("bfloat", "float"))


class Checkpoint(Protocol):
    """One open weight file."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        """Every tensor under its stored name, known without reading its data."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's own string metadata; empty if the format has none."""

    def read(self, name: str) -> Array:
        """The values. Memory-mapped (private, copy on write) where the format allows it.

        Raises:
            CheckpointUnreadable: the data are damaged.
        """

    def release(self, name: str) -> None:
        """Let go of the memory of a tensor that was copied; it can still be read again."""

    def close(self) -> None:
        """Let go of the file; arrays that were read stay valid."""


class CheckpointFormat(Protocol):
    """How one kind of weight file is opened and written.

    A format deals in numpy arrays under the names *as stored*. Renaming and transposing belong
    to ``model_base.conversion``; placing arrays on a device to the stacks.

    Attributes:
        name: of the format, for people.
        suffix: of whole files and of shards.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]

    def convention(self, checkpoint: Checkpoint) -> Convention:
        """How this file's names and layouts become canonical."""

    def open(self, path: Path) -> Checkpoint:
        """Open ``path`` and read its header.

        Raises:
            CheckpointUnreadable: not such a file, or damaged; the message names it.
            UnsafeCheckpoint: reading it would run code or reach outside its folder.
        """

    def write(self, path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        """Write a whole file atomically.

        Raises:
            OSError: the disk is full or the folder cannot be written; nothing is left behind.
            ValueError: the format cannot hold a tensor's dtype.
        """


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint whose tensors are arrays already; for formats that cannot be read lazily."""

    arrays: Mapping[str, Array]
    metadata: Mapping[str, str] = field(default_factory=dict)
    infos: Mapping[str, TensorInfo] = field(init=False)

    def __post_init__(self) -> None:
        infos = {name: TensorInfo(a.shape, a.dtype) for name, a in self.arrays.items()}
        object.__setattr__(self, "infos", infos)

    def read(self, name: str) -> Array:
        """The array itself."""
        return self.arrays[name]

    def release(self, name: str) -> None:
        """Nothing: the array is there until the end."""

    def close(self) -> None:
        """Nothing to let go of."""


def forget_pages(array: Array) -> None:
    """Let the system take back the memory behind a mapped array that nobody has written to.

    Its values come from the file again if they are read. Nothing where the system cannot.
    """
    size, address = mmap.PAGESIZE, array.__array_interface__["data"][0]
    start, end = -(-address // size) * size, (address + array.nbytes) // size * size
    if end > start and hasattr(mmap, "MADV_DONTNEED"):
        madvise = ctypes.CDLL(None).madvise
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it there on success, remove it on failure."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except RuntimeError as error:  # what torch's and h5py's writers raise when the disk is full
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def explain_unreadable(path: Path, error: BaseException | str) -> CheckpointUnreadable:
    """The error for a file that is not what its name says; recognises a git-lfs pointer."""
    with contextlib.suppress(OSError):
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"version https://git-lfs"):
            return CheckpointUnreadable(
                f"{path.name} in {path.parent} is a git-lfs pointer, not the weights: "
                "install git-lfs and run `git lfs pull` in the clone"
            )
        if not head:
            return CheckpointUnreadable(f"{path.name} in {path.parent} is empty")
    return CheckpointUnreadable(f"unable to read the weights in {path}: {error}")


NUMPY_DTYPES = {
    "F64": np.dtype(np.float64), "F32": np.dtype(np.float32), "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16), "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64), "I32": np.dtype(np.int32), "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8), "U64": np.dtype(np.uint64), "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16), "U8": np.dtype(np.uint8), "BOOL": np.dtype(np.bool_),
}  # fmt: skip
"""Element types by the names that safetensors gives them; a file with another is refused."""

DTYPES = frozenset(NUMPY_DTYPES.values())
