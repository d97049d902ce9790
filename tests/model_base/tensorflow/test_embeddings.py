"""Embeddings and biases of TensorFlow models, and their size."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from model_base import BertConfig, TFBertForMaskedLM, TFBertModel  # noqa: E402

Small = Callable[..., BertConfig]


@pytest.fixture
def model(small: Small) -> Any:
    model = TFBertForMaskedLM(small())
    model.set_bias({"bias": tf.range(61.0)})
    return model


@pytest.mark.parametrize("count", [70, 50])
def test_words_keep_their_vectors_and_biases_and_new_ones_start_small(
    count: int, model: Any
) -> None:
    before = model.get_input_embeddings().weight.numpy()
    table = model.resize_token_embeddings(count)
    kept = min(count, 61)
    assert table.shape == (count, 32)
    assert np.array_equal(table.numpy()[:kept], before[:kept])
    assert np.abs(table.numpy()[kept:]).max(initial=0) <= 0.04
    bias = model.get_bias()["bias"].numpy()
    assert np.array_equal(bias, [*range(kept), *[0] * (count - kept)])
    assert model.config.vocab_size == count
    assert model(tf.constant([[count - 1]])).logits.shape == (1, 1, count)
    assert model.num_parameters() == TFBertForMaskedLM(model.config).num_parameters()


def test_the_same_size_changes_nothing(model: Any) -> None:
    table = model.get_input_embeddings().weight
    assert model.resize_token_embeddings(None) is table
    assert model.resize_token_embeddings(61) is table
    with pytest.raises(ValueError, match="new_num_tokens is 0"):
        model.resize_token_embeddings(0)


def test_embeddings_are_replaced_at_both_ends(model: Any) -> None:
    model.set_input_embeddings(tf.ones((61, 32)))
    assert model.get_output_embeddings() is model.get_input_embeddings()
    assert np.all(model.get_output_embeddings().weight.numpy() == 1)
    assert np.ptp(model(tf.constant([[1]])).logits.numpy() - np.arange(61)) < 1e-4


def test_a_model_without_a_head_has_no_biases(small: Small) -> None:
    model = TFBertModel(small())
    assert (model.get_lm_head(), model.get_bias(), model.get_output_embeddings()) == (None,) * 3
    with pytest.raises(NotImplementedError):
        model.prune_heads({0: [0]})
    with pytest.warns(FutureWarning):
        model.get_output_layer_with_bias()
    with pytest.warns(FutureWarning):
        assert model.get_prefix_bias_name() is None
