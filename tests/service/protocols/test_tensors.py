import math

import numpy as np
import pytest

from service.core.errors import TooLarge
from service.core.settings import LimitSettings
from service.protocols.base import BadField
from service.protocols.inputs import EmptyInput
from service.protocols.tensors import from_texts, to_tensor, to_tensors


@pytest.mark.parametrize(
    ("nested", "dtype"),
    [([[1, 2]], np.int64), ([[1.0, 2]], np.float64), ([[True, 2]], np.int64),
     ([True, 1.5], np.float64), ([[True, False]], np.bool_), ([-(2**63)],
     np.int64), (3, np.int64), (1.5, np.float64), ([1e300], np.float64)],
)  # fmt: skip
def test_nested_lists_become_tensors(nested, dtype):
    tensor = to_tensor("x", nested)
    assert tensor.dtype == dtype
    assert tensor.tolist() == nested


@pytest.mark.parametrize(
    ("nested", "message"),
    [
        ([[1, 2], [3]], "inputs.x: the lists in one level differ in length"),
        ([1, [2]], "inputs.x: the lists in one level differ in length"),
        (None, "inputs.x: expected integers"),
        ({"a": 1}, "inputs.x: has an object that is not"),
        ([{"b64": "?"}], "inputs.x: has an object that is not"),
        ([{"b64": 1}], "inputs.x: has an object that is not"),
        ([1, "text"], "inputs.x: expected integers"),
        ([[1.5, "text"]], "inputs.x: expected integers"),
        ([None], "inputs.x: expected integers"),
        ([{"a": 1}], "inputs.x: has an object that is not"),
        ([2**63], "inputs.x: expected integers below"),
        ([math.inf], "inputs.x: has a number out of the range of float64"),
    ],
)
def test_what_is_no_tensor_is_refused_by_name(nested, message):
    with pytest.raises(BadField) as caught:
        to_tensor("x", nested)
    assert caught.value.message.startswith(message)


def test_more_levels_than_a_tensor_can_have_are_refused():
    nested = 1
    for _ in range(900):
        nested = [nested]
    with pytest.raises(BadField):
        to_tensor("x", nested)


def test_a_long_text_among_many_elements_costs_nothing():
    nested = ["a" * 10_000_000] + [1] * 100_000  # as an array of texts: 4 TB
    with pytest.raises(BadField, match="expected integers"):
        to_tensor("x", nested)


def test_a_tensor_without_elements_is_empty():
    with pytest.raises(EmptyInput):
        to_tensor("x", [[], []])


def test_texts_and_bytes_become_byte_strings_and_come_back():
    tensor = to_tensor("x", [["é", ""], [{"b64": "/w=="}, "b"]])
    assert tensor.tolist() == [["é".encode(), b""], [b"\xff", b"b"]]
    assert from_texts(tensor) == [["é", ""], [{"b64": "/w=="}, "b"]]
    assert from_texts(tensor[1:, 1:], as_bytes=True) == [[{"b64": "Yg=="}]]
    assert from_texts(to_tensor("x", "alone")) == "alone"


def test_too_many_tensors_or_rows_are_refused_before_they_are_made():
    with pytest.raises(BadField, match="65 tensors"):
        to_tensors({f"x{index}": [1] for index in range(65)}, LimitSettings())
    with pytest.raises(TooLarge, match="limits.max_inputs"):
        to_tensors({"x": [1, 2, 3]}, LimitSettings(max_inputs=2))
