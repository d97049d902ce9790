"""ALBERT in TensorFlow, beside PyTorch's on one checkpoint."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import model_base
from model_base import AlbertConfig
from tests.model_base.tensorflow.models.parity import (
    CHOICE_LABELS,
    CHOICES,
    SPAN_LABELS,
    TEXT,
    TEXT_LABELS,
    TOKEN_LABELS,
    as_tf,
    check_parity,
)
from tests.model_base.torch.models.small import SMALL

ORDER = {"sentence_order_label": np.array([1, 0])}

HEADS: dict[str, Any] = {
    "Model": (TEXT, None),
    "ForPreTraining": (TEXT, TOKEN_LABELS | ORDER),
    "ForMaskedLM": (TEXT, TOKEN_LABELS),
    "ForSequenceClassification": (TEXT, TEXT_LABELS),
    "ForTokenClassification": (TEXT, TOKEN_LABELS),
    "ForMultipleChoice": (CHOICES, CHOICE_LABELS),
    "ForQuestionAnswering": (TEXT, SPAN_LABELS),
}


@pytest.mark.parametrize("kind", HEADS)
def test_each_head_computes_what_pytorch_does(kind: str, tmp_path: Path) -> None:
    fields = {"num_labels": 2} if kind in ("ForPreTraining", "ForQuestionAnswering") else {}
    check_parity(tmp_path, f"Albert{kind}", SMALL[AlbertConfig](**fields), *HEADS[kind])


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_relative_positions_are_pytorchs(kind: str, tmp_path: Path) -> None:
    config = SMALL[AlbertConfig](position_embedding_type=kind)
    check_parity(tmp_path, "AlbertModel", config, TEXT)


def test_a_group_of_several_layers_is_used_as_one(tmp_path: Path) -> None:
    config = SMALL[AlbertConfig](inner_group_num=2)
    check_parity(tmp_path, "AlbertModel", config, TEXT)


def test_the_two_biases_stay_the_same_in_training() -> None:
    model = model_base.TFAlbertForMaskedLM(SMALL[AlbertConfig]())
    model.compile(keras.optimizers.SGD(0.5))
    labels = as_tf(TOKEN_LABELS["labels"])
    model.train_step(({"input_ids": as_tf(TEXT["input_ids"])}, labels))
    biases = model.get_bias()
    assert np.abs(biases["bias"]).max() > 0.01
    assert np.array_equal(biases["bias"], biases["decoder_bias"])


def test_both_biases_grow_with_the_vocabulary() -> None:
    model = model_base.TFAlbertForMaskedLM(SMALL[AlbertConfig]())
    model.set_bias({name: values + 1.0 for name, values in model.get_bias().items()})
    model.resize_token_embeddings(63)
    for values in model.get_bias().values():
        assert np.array_equal(values, [1.0] * 61 + [0.0] * 2)
    assert model(as_tf(TEXT["input_ids"])).logits.shape == (2, 5, 63)
