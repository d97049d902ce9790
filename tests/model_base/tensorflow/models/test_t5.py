"""T5 in TensorFlow, beside PyTorch's on one checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from model_base import (
    T5Config,
    TFT5EncoderModel,
    TFT5ForConditionalGeneration,
    TFT5MainLayer,
    TFT5Model,
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
    "decoder_input_ids": np.array([[0, 7, 8, 9], [0, 11, 12, 0]]),
    "decoder_attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
}
LABELS = {"labels": np.array([[7, 8, 9, 1], [11, 12, 1, -100]])}


def test_the_trunk_computes_what_pytorch_does(tmp_path: Path) -> None:
    check_parity(tmp_path, "T5Model", SMALL[T5Config](), BOTH)


def test_scores_and_loss_are_pytorchs(tmp_path: Path) -> None:
    check_parity(tmp_path, "T5ForConditionalGeneration", SMALL[T5Config](), BOTH, LABELS)


def test_the_encoder_alone_computes_what_pytorch_does(tmp_path: Path) -> None:
    check_parity(tmp_path, "T5EncoderModel", SMALL[T5Config](), TEXTS)


@pytest.mark.parametrize("fields", [
    {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    {"num_decoder_layers": 3},
    {"tie_word_embeddings": False, "scale_decoder_outputs": True},
])  # fmt: skip
def test_later_versions_compute_what_pytorch_does(fields: dict[str, Any], tmp_path: Path) -> None:
    config = SMALL[T5Config](**fields)
    check_parity(tmp_path, "T5ForConditionalGeneration", config, BOTH, LABELS)


def test_far_tokens_share_their_biases_as_in_pytorch(tmp_path: Path) -> None:
    config = SMALL[T5Config](relative_attention_max_distance=12)
    ids = np.arange(60).reshape(2, 30)
    inputs = {
        "input_ids": ids, "attention_mask": np.ones_like(ids), "decoder_input_ids": ids,
        "decoder_attention_mask": np.ones_like(ids),
    }  # fmt: skip
    check_parity(tmp_path, "T5Model", config, inputs)


def test_without_ids_for_the_decoder_the_labels_make_them() -> None:
    model = TFT5ForConditionalGeneration(SMALL[T5Config]())
    texts = {name: as_tf(array) for name, array in TEXTS.items()}
    labels, read = as_tf(LABELS["labels"]), as_tf(np.array([[0, 7, 8, 9], [0, 11, 12, 1]]))
    made = model(**texts, labels=labels)
    assert_same(made.logits, model(**texts, decoder_input_ids=read).logits)
    assert made.loss.shape == (7,)


def test_a_cache_stands_for_the_tokens_before_and_the_encoder() -> None:
    model = TFT5ForConditionalGeneration(SMALL[T5Config]())
    texts = {name: as_tf(array) for name, array in TEXTS.items()}
    ids = as_tf(BOTH["decoder_input_ids"])
    whole = model(**texts, decoder_input_ids=ids)
    first = model(**texts, decoder_input_ids=ids[:, :-2])
    known = first.past_key_values
    assert [tuple(part.shape) for part in known[0]] == [(2, 4, 2, 8)] * 2 + [(2, 4, 5, 8)] * 2
    rest = model(
        attention_mask=texts["attention_mask"], decoder_input_ids=ids[:, -2:],
        past_key_values=known, encoder_outputs=(first.encoder_last_hidden_state,),
    )  # fmt: skip
    assert_same(rest.logits, whole.logits[:, -2:])
    assert rest.past_key_values[0][0].shape[2] == 4
    assert "past_key_values" not in model(**texts, decoder_input_ids=ids, use_cache=False)


def test_masked_heads_add_nothing() -> None:
    model = TFT5EncoderModel(SMALL[T5Config]())
    ids, none = as_tf(TEXTS["input_ids"]), tf.zeros((2, 4))
    masked = model(ids, head_mask=none)[0]
    for block in model.encoder.block:
        attention = block.layer[0].inner
        attention.o.kernel.assign(tf.zeros_like(attention.o.kernel))
    assert_same(masked, model(ids)[0])


def test_embeddings_take_the_place_of_ids_in_both_halves() -> None:
    model, ids = TFT5Model(SMALL[T5Config]()), as_tf(TEXTS["input_ids"])
    words = model.get_input_embeddings()(ids)
    given = model(inputs_embeds=words, decoder_inputs_embeds=words)
    assert_same(given, model(ids, decoder_input_ids=ids))


def test_a_stack_without_embeddings_and_a_decoder_without_text_are_refused() -> None:
    ids = as_tf(TEXTS["input_ids"])
    with pytest.raises(ValueError, match="inputs_embeds"):
        TFT5MainLayer(SMALL[T5Config]())(ids)
    with pytest.raises(ValueError, match="decoder_input_ids"):
        TFT5Model(SMALL[T5Config]())(ids)


@pytest.mark.parametrize("count", [50, 70])
def test_scores_of_their_own_follow_the_vocabulary(count: int) -> None:
    model = TFT5ForConditionalGeneration(SMALL[T5Config](tie_word_embeddings=False))
    before, kept = tf.identity(model.get_output_embeddings()), min(count, 61)
    model.resize_token_embeddings(count)
    after = model.get_output_embeddings()
    assert_same(after[:kept], before[:kept])
    assert not np.any(after[kept:])
    assert model(**model.dummy_inputs).logits.shape == (3, 5, count)


def test_output_embeddings_can_be_set() -> None:
    table = tf.random.normal((61, 32))
    tied = TFT5ForConditionalGeneration(SMALL[T5Config]())
    own = TFT5ForConditionalGeneration(SMALL[T5Config](tie_word_embeddings=False))
    for model in (tied, own):
        model.set_output_embeddings(table)
        assert np.array_equal(tf.convert_to_tensor(_table(model)), table)
    assert np.array_equal(tied.get_input_embeddings().weight, table)
    own.set_output_embeddings(own.get_input_embeddings())
    assert np.array_equal(own.get_output_embeddings(), own.shared.weight)


def _table(model: Any) -> Any:
    found = model.get_output_embeddings()
    return getattr(found, "weight", found)
