"""What the tests of the library share: a small model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from model_base import BertConfig

SMALL: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    torch.manual_seed(0)


@pytest.fixture
def small() -> Callable[..., BertConfig]:
    """Makes configurations of a model that computes in a millisecond."""
    return lambda **fields: BertConfig(**(SMALL | fields))
