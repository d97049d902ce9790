"""Arrays of a file as tensors of a model."""

import numpy as np
import pytest
import torch

from model_base.torch.arrays import to_tensor


@pytest.mark.parametrize(
    ("stored", "own", "got"),
    [
        (np.float32, torch.bfloat16, torch.bfloat16),
        (np.int64, torch.float16, torch.int64),
        (np.bool_, torch.float32, torch.bool),
        (np.float32, torch.int64, torch.float32),
        (np.int32, torch.int64, torch.int32),
    ],
)
def test_only_floating_values_take_the_dtype_of_the_model(
    stored: type[np.generic], own: torch.dtype, got: torch.dtype
) -> None:
    tensor = to_tensor(np.ones(3, stored), torch.zeros(3, dtype=own), "cpu")
    assert tensor.dtype is got
    assert tensor.tolist() == [1, 1, 1]
