import numpy as np
import pytest
from pydantic import ValidationError

from service.core.errors import TooLarge
from service.core.messages import TextInputs
from service.core.settings import LimitSettings
from service.protocols.base import BadField
from service.protocols.inputs import EmptyInput, to_inputs
from service.protocols.native.schemas import PredictBody
from service.protocols.openai.schemas import EmbeddingsBody
from service.protocols.tei.schemas import EmbedBody

LIMITS = LimitSettings()


class Watched(list):
    """Counts the elements that are read one after the other."""

    def __init__(self, items):
        super().__init__(items)
        self.visited = 0

    def __iter__(self):
        for item in super().__iter__():
            self.visited += 1
            yield item


@pytest.mark.parametrize("wrong", [0.5, None, [], {}, True], ids=repr)
def test_a_schema_leaves_the_elements_to_the_reader(wrong):
    inputs = [wrong] * 100_000
    for make in (
        lambda: PredictBody(inputs=inputs),
        lambda: EmbedBody(inputs=inputs),
        lambda: EmbeddingsBody(model="mini", input=inputs),
    ):
        make()  # a union would raise, with an error per element and branch
    with pytest.raises(ValidationError) as caught:
        EmbeddingsBody(model=3, input=inputs)
    assert caught.value.error_count() == 1


@pytest.mark.parametrize(
    ("inputs", "visited", "error"),
    [
        ([0.5] * 100_000, 0, BadField),
        (["a"] * 100_000, 0, TooLarge),
        ([[]] * 100_000, 0, TooLarge),
        ([1] * 200_000, 0, TooLarge),
        ([1, -1] * 50_000, 2, BadField),
        (["a", None] * 500, 2, BadField),
        (["a", ""] * 500, 2, EmptyInput),
        ([[], None] * 500, 1, EmptyInput),
    ],
    ids=["numbers", "texts", "lists", "ids", "bad id", "bad text", "empty text", "empty list"],
)
def test_reading_stops_at_the_first_that_is_wrong(inputs, visited, error):
    watched = Watched(inputs)
    with pytest.raises(error):
        to_inputs(watched, "inputs", LIMITS)
    assert watched.visited == visited


def test_what_is_read_is_not_copied():
    texts = ["a", "b"]
    inputs = to_inputs(texts, "inputs", LIMITS)
    assert isinstance(inputs, TextInputs)
    assert inputs.texts is texts


def test_exactly_the_limit_is_taken():
    limits = LimitSettings(max_inputs=2, max_input_tokens=3)
    assert to_inputs([[1, 2, 3], [4]], "inputs", limits).sequences == [[1, 2, 3], [4]]
    assert to_inputs([1, 2, 3], "inputs", limits).sequences == [[1, 2, 3]]
    with pytest.raises(TooLarge, match=r"inputs in one request: 3 is over the limit of 2"):
        to_inputs(["a"] * 3, "inputs", limits)
    with pytest.raises(TooLarge, match=r"token ids in inputs\.1: 4 is over the limit of 3"):
        to_inputs([[1], [1] * 4], "inputs", limits)


def test_an_array_is_no_list():
    with pytest.raises(BadField, match="got something else"):
        to_inputs(np.zeros(2), "inputs", LIMITS)
