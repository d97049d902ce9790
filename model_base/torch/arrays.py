"""From stored arrays to tensors: dtype names, and the one place where values are placed."""

from typing import Any

import torch

from model_base.checkpoints.base import Array
from model_base.checkpoints.torch_bin import from_numpy

FLOATS = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


def float_dtype(dtype: Any, class_name: str) -> torch.dtype:
    """The floating dtype that ``dtype`` (a ``torch.dtype`` or its name) means.

    Raises:
        ValueError: not a floating dtype; the message names the class and what is accepted.
    """
    found = FLOATS.get(str(dtype).removeprefix("torch."))
    if found is None:
        raise ValueError(
            f"cannot make {class_name} in dtype {dtype!r}; accepted: {', '.join(FLOATS)}, "
            'as torch.dtype or by name, and "auto"'
        )
    return found


def to_tensor(
    array: Array, like: torch.Tensor, device: torch.device | str, copied: bool = False
) -> torch.Tensor:
    """The array on ``device`` in the dtype of ``like``; if nothing changes, ``copied`` or not.

    Values that are not floating keep their dtype.
    """
    tensor = from_numpy(array)
    is_floating = tensor.is_floating_point() and like.is_floating_point()
    dtype = like.dtype if is_floating else tensor.dtype
    is_placed = torch.device(device) == tensor.device and dtype == tensor.dtype
    if is_placed and tensor.is_contiguous() and not copied:
        return tensor
    placed = torch.empty(tensor.shape, dtype=dtype, device=device)
    return placed.copy_(tensor)
