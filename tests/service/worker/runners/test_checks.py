import numpy as np
import pytest

from service.worker.runners.base import InputRejected
from service.worker.runners.checks import check_ids, check_masks

IDS, EMBEDDED = np.zeros((2, 3), np.int64), np.zeros((2, 3, 8), np.float32)


def ones(*shape):
    return np.ones(shape, np.int64)


@pytest.mark.parametrize(
    "arrays",
    [
        {"input_ids": IDS, "attention_mask": ones(2, 3)},
        {"input_ids": IDS, "attention_mask": ones(2, 3).astype(bool)},
        {"input_ids": IDS, "attention_mask": np.array([[1.0, 0.0, 0.0]] * 2, np.float32)},
        {"input_ids": IDS, "attention_mask": ones(2, 3, 3)},
        {"inputs_embeds": EMBEDDED, "attention_mask": ones(2, 3)},
        {"input_ids": ones(2, 4, 3), "attention_mask": ones(2, 4, 3)},
        {"input_ids": IDS, "decoder_input_ids": ones(2, 5), "decoder_attention_mask": ones(2, 5)},
        {"input_ids": ones(2, 5), "encoder_hidden_states": EMBEDDED,
         "encoder_attention_mask": ones(2, 3)},
        {"input_ids": ones(2, 5), "encoder_hidden_states": EMBEDDED,
         "encoder_attention_mask": ones(2, 5, 3)},
        {"input_values": np.zeros((2, 9), np.float32), "attention_mask": ones(2, 9)},
    ],
)  # fmt: skip
def test_a_mask_with_a_value_for_each_token_is_taken(arrays):
    check_masks(arrays)


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3,), (2, 1, 3), (1, 3, 3), (2, 1, 1, 3), ()])
@pytest.mark.parametrize("tokens", [{"input_ids": IDS}, {"inputs_embeds": EMBEDDED}])
def test_a_mask_that_would_be_spread_over_tokens_is_refused_by_its_shape(shape, tokens):
    with pytest.raises(InputRejected) as refused:
        check_masks({**tokens, "attention_mask": ones(*shape)})
    text = f"attention_mask is {list(shape)}; accepted: [2, 3], as its tokens are"
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("mask", "seen"),
    [([[1, 2, 0]], "2"), ([[0, -1, 1]], "-1"), ([[0.5, 1.0, 0.0]], "0.5"), ([[-1e4, 0.0]], "-1")],
)
def test_a_mask_of_other_values_than_0_and_1_is_refused_by_the_first(mask, seen):
    for name in ("attention_mask", "decoder_attention_mask"):
        with pytest.raises(InputRejected, match=f"{name} has the value {seen}.*accepted: 0 and 1"):
            check_masks({name: np.array(mask)})


def test_ids_without_an_embedding_are_refused_by_the_values_seen():
    check_ids({"input_ids": np.array([[0, 9]]), "other": np.array([[50]])}, {"input_ids": 10})
    check_ids({"input_ids": np.zeros((1, 0), int)}, {"input_ids": 10, "token_type_ids": 2})
    with pytest.raises(InputRejected, match="input_ids has values from 3 to 10; accepted: 0 to 9"):
        check_ids({"input_ids": np.array([[3, 10]])}, {"input_ids": 10})


@pytest.mark.parametrize("name", ["position_ids", "token_type_ids"])
def test_positions_and_types_may_be_those_of_every_row(name):
    check_ids({name: np.arange(3)}, {name: 3})


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (np.array([[1.0]]), "input_ids is of float64; accepted: integers"),
        (np.array([[True]]), "input_ids is of bool; accepted: integers"),
        (np.array([1, 2]), r"input_ids is \[2\]; accepted: \[rows, length\]"),
        (np.array(1), r"input_ids is \[\]; accepted: \[rows, length\]"),
    ],
)
def test_ids_that_are_no_integers_in_rows_are_refused_by_what_they_are(ids, text):
    with pytest.raises(InputRejected, match=text):
        check_ids({"input_ids": ids}, {"input_ids": 10})
