"""BERT in TensorFlow, beside PyTorch's on one checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_base import BertConfig
from tests.model_base.tensorflow.models.parity import (
    CHOICE_LABELS,
    CHOICES,
    SPAN_LABELS,
    TEXT,
    TEXT_LABELS,
    TOKEN_LABELS,
    as_tf,
    check_cache,
    check_parity,
)
from tests.model_base.torch.models.small import SMALL

NEXT = {"next_sentence_label": np.array([1, 0])}

HEADS: dict[str, Any] = {
    "BertModel": (TEXT, None),
    "BertForPreTraining": (TEXT, TOKEN_LABELS | NEXT),
    "BertForMaskedLM": (TEXT, TOKEN_LABELS),
    "BertForSequenceClassification": (TEXT, TEXT_LABELS),
    "BertForTokenClassification": (TEXT, TOKEN_LABELS),
    "BertForMultipleChoice": (CHOICES, CHOICE_LABELS),
    "BertForQuestionAnswering": (TEXT, SPAN_LABELS),
}


@pytest.mark.parametrize("name", HEADS)
def test_each_head_computes_what_pytorch_does(name: str, tmp_path: Path) -> None:
    fields = {"num_labels": 2} if name == "BertForQuestionAnswering" else {}
    check_parity(tmp_path, name, SMALL[BertConfig](**fields), *HEADS[name])


def test_the_next_sentence_label_has_a_name_of_its_own(tmp_path: Path) -> None:
    check_parity(
        tmp_path, "BertForNextSentencePrediction", SMALL[BertConfig](), TEXT, CHOICE_LABELS,
        renamed={"labels": "next_sentence_label"},
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_relative_positions_are_pytorchs(kind: str, tmp_path: Path) -> None:
    config = SMALL[BertConfig](position_embedding_type=kind)
    check_parity(tmp_path, "BertModel", config, TEXT)


def test_a_decoder_attends_over_an_encoder_and_keeps_a_cache(tmp_path: Path) -> None:
    config = SMALL[BertConfig](is_decoder=True, add_cross_attention=True)
    states = np.random.default_rng(0).normal(size=(2, 3, 32)).astype(np.float32)
    model = check_parity(
        tmp_path, "BertLMHeadModel", config, TEXT | {"encoder_hidden_states": states},
        use_cache=True,
    )  # fmt: skip
    check_cache(model, TEXT["input_ids"], encoder_hidden_states=as_tf(states))


def test_the_next_token_has_pytorchs_loss(tmp_path: Path) -> None:
    labels = {"labels": TEXT["input_ids"]}
    config = SMALL[BertConfig](is_decoder=True)
    check_parity(tmp_path, "BertLMHeadModel", config, TEXT, labels, use_cache=False)
