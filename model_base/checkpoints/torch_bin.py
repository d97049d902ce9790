"""PyTorch ``.bin``: read by torch's own ``weights_only`` reader and by nothing else.

This is the one file of the framework-free part that imports a framework, since a pickle is
safe only in the hands of the reader that its authors keep safe (torch >= 2.10).
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ml_dtypes
import numpy as np
from typing_extensions import override

from model_base.checkpoints.base import (
    Array,
    Checkpoint,
    CheckpointFormat,
    TensorInfo,
    explain_unreadable,
    replacing,
)
from model_base.conversion.conventions import Convention, torch_names
from model_base.errors import CheckpointUnreadable, UnsafeCheckpoint

if TYPE_CHECKING:
    import torch


class TorchFile(Checkpoint):
    """An open ``.bin``; memory-mapped unless it is in torch's format of before 1.6."""

    def __init__(self, path: Path) -> None:
        self._tensors = _load(path)
        self.metadata: Mapping[str, str] = {}
        self.infos = {
            name: TensorInfo(tuple(tensor.shape), numpy_dtype(tensor.dtype))
            for name, tensor in self._tensors.items()
        }

    @override
    def read(self, name: str) -> Array:
        return to_numpy(self._tensors[name])

    @override
    def close(self) -> None:
        self._tensors = {}


def _load(path: Path) -> "dict[str, torch.Tensor]":
    import torch

    try:
        mappable = _is_zip(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "Weights only load failed" in str(error):
            raise _refusal(path, error) from error
        raise explain_unreadable(path, error) from error
    except Exception as error:  # torch's reader raises what it meets: any of a dozen types
        raise explain_unreadable(path, type(error).__name__) from error
    if isinstance(loaded, dict) and all(isinstance(t, torch.Tensor) for t in loaded.values()):
        return {str(name): tensor for name, tensor in loaded.items()}
    raise CheckpointUnreadable(
        f"{path.name} in {path.parent} is not a state dict of tensors by name but "
        f"{_describe(loaded)}"
    )


def _refusal(path: Path, error: Exception) -> CheckpointUnreadable:
    """A pickle that names code is refused as unsafe; one that cannot be parsed is damaged."""
    text = str(error)
    if "GLOBAL" in text or "global" in text or "callable" in text:
        return UnsafeCheckpoint(
            f"{path.name} in {path.parent} is refused: it asks for more than tensors when "
            "unpickled, which would run code of the file's author"
        )
    return explain_unreadable(path, "not a pickle of tensors")


def _describe(loaded: Any) -> str:
    if not isinstance(loaded, dict):
        return f"a {type(loaded).__name__}"
    odd = next((k, v) for k, v in loaded.items() if not hasattr(v, "storage"))
    return f"a mapping whose entry {odd[0]!r} is a {type(odd[1]).__name__}"


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def numpy_dtype(dtype: "torch.dtype") -> np.dtype[Any]:
    """The numpy (or ml_dtypes) dtype of the same bits."""
    name = str(dtype).removeprefix("torch.")
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def to_numpy(tensor: "torch.Tensor") -> Array:
    """The values of a CPU tensor as an array over the same memory."""
    import torch

    tensor = tensor.detach()
    if tensor.dtype.is_floating_point and tensor.dtype not in _NUMPY_FLOATS(torch):
        bits = torch.uint8 if tensor.element_size() == 1 else torch.uint16
        return tensor.contiguous().view(bits).numpy().view(numpy_dtype(tensor.dtype))
    array: Array = tensor.numpy()
    return array


def _NUMPY_FLOATS(torch: Any) -> tuple[Any, ...]:
    return (torch.float16, torch.float32, torch.float64)


class TorchBin(CheckpointFormat):
    """The format of ``pytorch_model.bin``."""

    name: ClassVar[str] = "torch_bin"
    suffix: ClassVar[str] = ".bin"

    @override
    def convention(self, checkpoint: Checkpoint) -> Convention:
        return torch_names

    @override
    def open(self, path: Path) -> TorchFile:
        return TorchFile(path)

    @override
    def write(self, path: Path, tensors: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        import torch

        with replacing(path) as partial:
            torch.save({name: from_numpy(array) for name, array in tensors.items()}, partial)


def from_numpy(array: Array) -> "torch.Tensor":
    """A tensor over the array's memory; copied only if torch cannot address it."""
    import torch

    if not array.flags.aligned or any(stride < 0 for stride in array.strides):
        array = array.copy()
    if array.dtype.kind in "fiub" and not array.dtype.name.startswith(("bfloat", "float8")):
        return torch.from_numpy(array)
    bits = np.uint8 if array.dtype.itemsize == 1 else np.uint16
    dtype: torch.dtype = getattr(torch, array.dtype.name)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    return torch.from_numpy(array.view(bits)).view(dtype)
