"""What the tests of the TensorFlow stack share: a small model, without random surprises."""

from collections.abc import Callable

import pytest

from model_base import BertConfig
from tests.model_base.conftest import SMALL


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(0)


@pytest.fixture
def still() -> Callable[..., BertConfig]:
    """Makes configurations of a small model without dropout."""
    fields = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return lambda **more: BertConfig(**(SMALL | fields | more))
