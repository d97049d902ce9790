"""BART in TensorFlow, beside PyTorch's on one checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from model_base import (
    BartConfig,
    TFBartForConditionalGeneration,
    TFBartModel,
    UnsupportedConfig,
)
from tests.model_base.tensorflow.models.parity import (
    TEXT,
    as_tf,
    assert_same,
    check_parity,
    only,
)
from tests.model_base.torch.models.small import SMALL

TEXTS = only(TEXT, "input_ids", "attention_mask")
BOTH = TEXTS | {
    "decoder_input_ids": np.array([[2, 7, 8, 9], [2, 11, 12, 1]]),
    "decoder_attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
}
LABELS = {"labels": np.array([[7, 8, 9, 2], [11, 12, 2, -100]])}


def given(inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    return {name: as_tf(array) for name, array in inputs.items()}


@pytest.mark.parametrize("fields", [
    {}, {"scale_embedding": True}, {"activation_function": "relu"},
])  # fmt: skip
def test_the_trunk_computes_what_pytorch_does(fields: dict[str, Any], tmp_path: Path) -> None:
    check_parity(tmp_path, "BartModel", SMALL[BartConfig](**fields), BOTH)


def test_scores_and_loss_are_pytorchs(tmp_path: Path) -> None:
    check_parity(tmp_path, "BartForConditionalGeneration", SMALL[BartConfig](), BOTH, LABELS)


def test_masked_heads_are_pytorchs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    masks = {"head_mask": (2, 4), "decoder_head_mask": (3, 2), "cross_attn_head_mask": (3, 2)}
    inputs = BOTH | {n: rng.random(shape).astype(np.float32) for n, shape in masks.items()}
    check_parity(tmp_path, "BartForConditionalGeneration", SMALL[BartConfig](), inputs)


def test_without_ids_the_decoder_reads_the_encoders_text_shifted(tmp_path: Path) -> None:
    config = SMALL[BartConfig](use_cache=False)
    model = check_parity(tmp_path, "BartModel", config, BOTH)
    shifted = as_tf(np.array([[2, 5, 6, 7, 8], [2, 10, 11, 12, 0]]))
    assert_same(model(**given(TEXTS)), model(**given(TEXTS), decoder_input_ids=shifted))


def test_without_ids_for_the_decoder_the_labels_make_them() -> None:
    model = TFBartForConditionalGeneration(SMALL[BartConfig]())
    read = as_tf(np.array([[2, 7, 8, 9], [2, 11, 12, 2]]))
    made = model(**given(TEXTS), **given(LABELS))
    assert_same(made.logits, model(**given(TEXTS), decoder_input_ids=read).logits)
    assert "past_key_values" not in made


def test_labels_that_are_padding_do_not_count() -> None:
    model = TFBartForConditionalGeneration(SMALL[BartConfig]())
    padded = as_tf(np.where(LABELS["labels"] == -100, 1, LABELS["labels"]))
    loss = model(**given(TEXTS | LABELS)).loss
    assert loss.shape == (7,)
    assert np.array_equal(model(**given(TEXTS), labels=padded).loss, loss)


def test_a_cache_stands_for_the_tokens_before_and_the_encoder() -> None:
    model = TFBartForConditionalGeneration(SMALL[BartConfig]())
    texts, ids = given(TEXTS), as_tf(BOTH["decoder_input_ids"])
    whole = model(**texts, decoder_input_ids=ids)
    first = model(**texts, decoder_input_ids=ids[:, :-2])
    known = first.past_key_values
    assert [tuple(part.shape) for part in known[0]] == [(2, 2, 2, 16)] * 2 + [(2, 2, 5, 16)] * 2
    rest = model(
        attention_mask=texts["attention_mask"], decoder_input_ids=ids[:, -2:],
        past_key_values=known, encoder_outputs=(first.encoder_last_hidden_state,),
    )  # fmt: skip
    assert_same(rest.logits, whole.logits[:, -2:])
    assert rest.past_key_values[0][0].shape[2] == 4


def test_embeddings_take_the_place_of_ids_in_both_halves() -> None:
    model, ids = TFBartModel(SMALL[BartConfig]()), as_tf(TEXTS["input_ids"])
    words = model.get_input_embeddings()(ids)
    output = model(inputs_embeds=words, decoder_inputs_embeds=words)
    assert_same(output, model(ids, decoder_input_ids=ids))


def test_a_mask_may_be_of_booleans() -> None:
    model = TFBartModel(SMALL[BartConfig]())
    assert model(**model.dummy_inputs).last_hidden_state.shape == (3, 5, 32)


def test_the_bias_of_scores_is_not_trained_and_follows_the_vocabulary() -> None:
    model = TFBartForConditionalGeneration(SMALL[BartConfig]())
    model.set_bias({"final_logits_bias": tf.ones((1, 61))})
    model.resize_token_embeddings(64)
    assert np.array_equal(model.get_bias()["final_logits_bias"], [[1] * 61 + [0] * 3])
    assert all("final_logits_bias" not in weight.path for weight in model.trainable_weights)
    assert model.num_parameters() - model.num_parameters(only_trainable=True) == 64


def test_layers_are_left_out_in_training_only() -> None:
    rates = {"dropout": 0.0, "encoder_layerdrop": 1.0, "decoder_layerdrop": 1.0}
    model = TFBartModel(SMALL[BartConfig](**rates))
    ids = as_tf(TEXTS["input_ids"])
    trained = model(ids, output_hidden_states=True, training=True)
    assert_same(trained.encoder_last_hidden_state, trained.encoder_hidden_states[0])
    assert_same(trained.last_hidden_state, trained.decoder_hidden_states[0])
    used = model(ids, output_hidden_states=True)
    assert not np.allclose(used.last_hidden_state, used.decoder_hidden_states[0])


def test_a_decoder_without_text_is_refused() -> None:
    words = tf.zeros((2, 5, 32))
    with pytest.raises(ValueError, match="decoder_input_ids"):
        TFBartModel(SMALL[BartConfig]())(inputs_embeds=words)


def test_scores_with_a_table_of_their_own_are_refused() -> None:
    with pytest.raises(UnsupportedConfig, match="tie_word_embeddings"):
        TFBartForConditionalGeneration(SMALL[BartConfig](tie_word_embeddings=False))
