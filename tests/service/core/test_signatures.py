from dataclasses import replace

import numpy as np
import pytest

from service.core.errors import BadRequest
from service.core.messages import ModelFacts, SignatureFacts, TensorFacts
from service.core.signatures import (
    choose_signature,
    plain_arrays,
    signature_parts,
    signature_tokens,
)

FACTS = ModelFacts("S", "saved_model", "float32", "cpu", "tensors", 1, 4, 64)
IDS = SignatureFacts(
    {"ids": TensorFacts("int32", (None, None))}, {"y": TensorFacts("float32", (None, 5))}
)
IMAGES = SignatureFacts(
    {"x": TensorFacts("float32", (None, 32, 32, 3))}, {"y": TensorFacts("float32", (None, 5))}
)


def having(*names: str) -> ModelFacts:
    return replace(FACTS, signatures=dict.fromkeys(names, IDS))


def test_the_default_signature_is_the_one_of_that_name_or_the_only_one() -> None:
    assert choose_signature(None, having("a", "serving_default")) == "serving_default"
    assert choose_signature(None, having("a")) == "a"
    assert choose_signature("a", having("a", "serving_default")) == "a"
    assert choose_signature(None, FACTS) == ""
    assert choose_signature("serving_default", FACTS) == ""


@pytest.mark.parametrize(
    ("wanted", "facts", "words"),
    [
        (None, having("a", "b"), "signature is not given; accepted: a, b"),
        ("c", having("a", "b"), "signature is 'c'; accepted: a, b"),
        ("c", FACTS, "signature is 'c'; accepted: none"),
    ],
)
def test_a_signature_that_is_not_there_is_refused_with_those_that_are(
    wanted: str | None, facts: ModelFacts, words: str
) -> None:
    with pytest.raises(BadRequest, match=words):
        choose_signature(wanted, facts)


def test_a_call_costs_its_ids_or_a_token_for_each_thousand_values() -> None:
    assert signature_tokens(IDS, {"ids": np.zeros((3, 7), np.int32)}) == 21
    assert signature_tokens(IMAGES, {"x": np.zeros((2, 32, 32, 3))}) == 6
    assert signature_tokens(IMAGES, {"other": np.zeros(())}) == 1


def test_rows_join_and_come_apart_only_where_the_first_axis_is_free_everywhere() -> None:
    ids = {"ids": np.zeros((5, 10), np.int32)}
    parts = signature_parts("s", IDS, ids, max_tokens=20)
    assert [part.num_tokens for part in parts] == [20, 20, 10]
    assert all(part.joins and part.signature == "s" for part in parts)
    for output in (TensorFacts("float32", ()), TensorFacts("float32", None)):
        (part,) = signature_parts("s", replace(IDS, outputs={"y": output}), ids, 20)
        assert not part.joins
    assert {p.deadline_s for p in signature_parts("s", IDS, ids, 20, 7.5)} == {7.5}
    two = {**ids, "more": np.zeros((4, 10), np.int32)}
    assert [part.joins for part in signature_parts("s", IDS, two, 20)] == [False]


def test_a_model_without_signatures_takes_numbers_in_single_precision() -> None:
    assert plain_arrays({"x": np.zeros(2)})["x"].dtype == np.float32
    with pytest.raises(BadRequest, match=r"inputs.x: got texts; expected integers"):
        plain_arrays({"x": np.array([b"a"], object)})
    with pytest.raises(BadRequest, match=r"inputs.x: has a number out of the range of float32"):
        plain_arrays({"x": np.array([1e39])})
    assert np.isinf(plain_arrays({"x": np.array([np.inf])})["x"]).all()
