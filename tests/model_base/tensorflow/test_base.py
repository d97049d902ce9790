"""TFPreTrainedModel: construction, size, names of its weights."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

tf = pytest.importorskip("tensorflow")

import keras  # noqa: E402

from model_base import (  # noqa: E402
    BertConfig,
    BertModel,
    GPT2Config,
    TFBertForMaskedLM,
    TFBertForTokenClassification,
    TFBertModel,
    TFGPT2Model,
)
from model_base.errors import UnsupportedConfig  # noqa: E402
from model_base.tensorflow.layers import to_be_filled  # noqa: E402
from model_base.tensorflow.module_utils import named_variables  # noqa: E402

Small = Callable[..., BertConfig]


def test_another_thing_than_a_config_is_refused() -> None:
    with pytest.raises(ValueError, match=r"TFBertModel\(config\) got a dict; .*from_pretrained"):
        TFBertModel({})


def test_unsupported_mathematics_is_refused(small: Small) -> None:
    with pytest.raises(UnsupportedConfig, match="quantization_config"):
        TFBertModel(small(quantization_config={"bits": 4}))


def test_weights_are_there_before_the_first_call(small: Small) -> None:
    model = TFBertModel(small())
    count = model.num_parameters()
    assert count == BertModel(small()).num_parameters() == model.count_params()
    model(model.dummy_inputs)
    assert model.num_parameters() == count
    model.bert.pooler.trainable = False
    assert model.num_parameters(only_trainable=True) == count - 32 * 32 - 32


def test_names_lead_from_the_model_to_its_weights(small: Small) -> None:
    names = list(named_variables(TFBertForMaskedLM(small())))
    assert "bert/encoder/layer_._1/attention/self/query/kernel" in names
    assert "bert/embeddings/word_embeddings/weight" in names
    assert sum("word_embeddings" in name for name in names) == 1


def test_a_model_is_part_of_a_functional_model(small: Small) -> None:
    ids = keras.Input((None,), dtype="int32")
    scores = keras.layers.Dense(2)(TFBertModel(small())(ids).pooler_output)
    assert keras.Model(ids, scores)(tf.ones((3, 4), tf.int32)).shape == (3, 2)


def test_new_models_are_random_while_others_are_to_be_filled(small: Small) -> None:
    inside, done = threading.Event(), threading.Event()

    def fill() -> None:
        with to_be_filled(0):
            inside.set()
            done.wait(30)

    thread = threading.Thread(target=fill)
    with to_be_filled(0):
        thread.start()
        inside.wait(30)
        assert np.ptp(TFBertModel(small()).bert.pooler.dense.kernel.numpy()) == 0
    try:
        assert np.ptp(TFBertModel(small()).bert.pooler.dense.kernel.numpy()) > 0
    finally:
        done.set()
        thread.join()


def test_an_argument_that_there_is_not_is_refused(small: Small) -> None:
    with pytest.raises(TypeError, match="TFBertModel got subfolder='x'"):
        TFBertModel(small(), subfolder="x")


@pytest.mark.parametrize("kind", [TFBertModel, TFGPT2Model])
def test_pruned_heads_are_left_out_or_refused(kind: Any, small: Small, tmp_path: Path) -> None:
    if kind is TFGPT2Model:
        with pytest.raises(UnsupportedConfig, match="pruned_heads"):
            kind(GPT2Config(n_embd=32, n_layer=1, n_head=4, pruned_heads={0: [1]}))
        return
    pruned = BertModel(small())
    pruned.prune_heads({0: [1, 2], 1: [0]})
    pruned.eval().save_pretrained(tmp_path)
    model, info = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    ids = np.array([[5, 6, 7]])
    with torch.no_grad():
        wanted = pruned(torch.from_numpy(ids)).last_hidden_state
    served = model.serving({n: tf.constant(a, tf.int32) for n, a in {
        "input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0,
    }.items()})  # fmt: skip
    np.testing.assert_allclose(served["last_hidden_state"], wanted, rtol=1e-4, atol=1e-5)


def test_a_model_is_made_of_a_configuration_or_of_its_fields(small: Small) -> None:
    model: Any = TFBertForTokenClassification.from_config(small(num_labels=4))
    again = TFBertForTokenClassification.from_config(model.get_config())
    assert again.config == model.config
    assert (model.framework, model.main_input_name) == ("tf", "input_ids")
    assert model(model.dummy_inputs).logits.shape == (3, 5, 4)
