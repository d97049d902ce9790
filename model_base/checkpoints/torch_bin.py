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
    DTYPES,
    Array,
    Checkpoint,
    CheckpointFormat,
    TensorInfo,
    explain_unreadable,
    forget_pages,
    replacing,
)
from model_base.conversion.conventions import Convention, torch_names
from model_base.errors import CheckpointUnreadable, UnsafeCheckpoint

if TYPE_CHECKING:
    import torch


_DTYPES = {dtype.name for dtype in DTYPES}


class TorchFile:
    """An open ``.bin`` (a ``Checkpoint``), memory-mapped if it is a zip (torch 1.6 and later)."""

    def __init__(self, path: Path) -> None:
        self._tensors, self._is_mapped = _load(path)
        self.metadata: Mapping[str, str] = {}
        self.infos = {
            name: TensorInfo(tuple(tensor.shape), numpy_dtype(tensor.dtype))
            for name, tensor in self._tensors.items()
        }

    def read(self, name: str) -> Array:
        """The values, over the tensor's memory."""
        return to_numpy(self._tensors[name])

    def release(self, name: str) -> None:
        """Give the pages of a tensor back, if it is mapped."""
        if self._is_mapped:
            forget_pages(self.read(name))

    def close(self) -> None:
        """Forget the tensors; the map is closed with the last array over it."""
        self._tensors = {}


def _load(path: Path) -> "tuple[dict[str, torch.Tensor], bool]":
    """The tensors, and whether they are mapped."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise CheckpointUnreadable(
            f"{path.name} is a file of PyTorch, which is not installed and alone reads it safely; "
            "get it with: pip install 'model-base[torch]'"
        ) from error
    try:
        mappable = _is_zip(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "Weights only load failed" in str(error):
            raise _refusal(path, error) from error
        raise explain_unreadable(path, error) from error
    except OSError as error:
        raise explain_unreadable(path, error.strerror or type(error).__name__) from error
    except Exception as error:  # torch's reader raises what it meets: any of a dozen types
        raise explain_unreadable(path, f"damaged or cut short ({type(error).__name__})") from error
    if not isinstance(loaded, dict):
        raise _not_tensors(path, f"a {type(loaded).__name__}")
    for name, value in loaded.items():
        if not isinstance(value, torch.Tensor):
            raise _not_tensors(path, f"a mapping whose entry {name!r} is a {type(value).__name__}")
        if not _is_plain(value):
            raise _not_tensors(path, f"a mapping whose entry {name!r} is {_describe(value)}")
    return {str(name): tensor for name, tensor in loaded.items()}, mappable


def _not_tensors(path: Path, what: str) -> CheckpointUnreadable:
    return CheckpointUnreadable(
        f"{path.name} in {path.parent} is not a state dict of tensors by name but {what}"
    )


def _is_plain(tensor: "torch.Tensor") -> bool:
    """Whether all values are in the file: dense, of a known dtype, as long as what is stored."""
    import torch

    is_dense = tensor.layout is torch.strided and tensor.device.type == "cpu"
    is_known = str(tensor.dtype).removeprefix("torch.") in _DTYPES
    return is_dense and is_known and tensor.nbytes <= tensor.untyped_storage().nbytes()


def _describe(tensor: "torch.Tensor") -> str:
    return f"a {tensor.layout} tensor of shape {tuple(tensor.shape)} and {tensor.dtype}, not dense"


def _refusal(path: Path, error: Exception) -> CheckpointUnreadable:
    """A pickle that names code is refused as unsafe; one that cannot be parsed is damaged."""
    text = str(error)
    if "GLOBAL" in text or "global" in text or "callable" in text:
        return UnsafeCheckpoint(
            f"{path.name} in {path.parent} is refused: it asks for more than tensors when "
            "unpickled, which would run code of the file's author"
        )
    return explain_unreadable(path, "damaged, or not a pickle of tensors")


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

    tensor, dtype = tensor.detach(), numpy_dtype(tensor.dtype)
    if dtype.isbuiltin == 1:
        array: Array = tensor.numpy()
        return array
    bits = torch.uint8 if dtype.itemsize == 1 else torch.uint16
    return tensor.contiguous().view(bits).numpy().view(dtype)


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
    if array.dtype.isbuiltin != 2:  # numpy's own
        return torch.from_numpy(array)
    dtype: torch.dtype = getattr(torch, array.dtype.name)
    bits = np.uint8 if array.dtype.itemsize == 1 else np.uint16
    return torch.from_numpy(np.asarray(array, order="C").view(bits)).view(dtype)
