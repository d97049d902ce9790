import numpy as np
import pytest

from service.core.messages import ModelEvent, ModelState
from service.protocols.base import BadField
from service.protocols.inputs import EmptyInput
from service.protocols.native.convert import to_sse, to_tensor


@pytest.mark.parametrize(
    ("nested", "dtype"),
    [([[1, 2]], np.int64), ([[1.0, 2]], np.float32), ([[True, 2]], np.int64),
     ([True, 1.5], np.float32), ([[True, False]], np.bool_), ([-(2**63)],
     np.int64)],
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
        (3, "inputs.x: expected nested lists"),
        ("text", "inputs.x: expected nested lists"),
        (None, "inputs.x: expected nested lists"),
        ({"a": 1}, "inputs.x: expected nested lists"),
        (["text"], "inputs.x: expected integers"),
        ([1, "text"], "inputs.x: expected integers"),
        ([[1.5, "text"]], "inputs.x: expected integers"),
        ([None], "inputs.x: expected integers"),
        ([{"a": 1}], "inputs.x: expected integers"),
        ([2**63], "inputs.x: expected integers below"),
        ([1e300], "inputs.x: has a number out of the range of float32"),
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


def test_an_event_is_one_block_of_lines():
    event = ModelEvent("mini", "1", ModelState.FAILED, 1, 2, "line\nbreak")
    assert to_sse(event) == (
        b'event: state\ndata: {"name":"mini","version":"1","state":"failed","bytes_done":1,'
        b'"bytes_total":2,"reason":"line\\nbreak"}\n\n'
    )
