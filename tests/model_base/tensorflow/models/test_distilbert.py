"""DistilBERT in TensorFlow, beside PyTorch's on one checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch

import model_base
from model_base import DistilBertConfig
from tests.model_base.tensorflow.models.parity import (
    CHOICE_LABELS,
    CHOICES,
    SPAN_LABELS,
    TEXT,
    TEXT_LABELS,
    TOKEN_LABELS,
    assert_same,
    check_parity,
    only,
)
from tests.model_base.torch.models.small import SMALL

IDS = only(TEXT, "input_ids", "attention_mask")

HEADS: dict[str, Any] = {
    "Model": (IDS, None),
    "ForMaskedLM": (IDS, TOKEN_LABELS),
    "ForSequenceClassification": (IDS, TEXT_LABELS),
    "ForTokenClassification": (IDS, TOKEN_LABELS),
    "ForMultipleChoice": (only(CHOICES, "input_ids", "attention_mask"), CHOICE_LABELS),
    "ForQuestionAnswering": (IDS, SPAN_LABELS),
}


@pytest.mark.parametrize("kind", HEADS)
def test_each_head_computes_what_pytorch_does(kind: str, tmp_path: Path) -> None:
    fields = {"num_labels": 2} if kind == "ForQuestionAnswering" else {}
    check_parity(tmp_path, f"DistilBert{kind}", SMALL[DistilBertConfig](**fields), *HEADS[kind])


def test_fixed_positions_start_as_pytorchs_and_are_not_trained() -> None:
    config = SMALL[DistilBertConfig](sinusoidal_pos_embds=True)
    table = model_base.TFDistilBertModel(config).distilbert.embeddings.position_embeddings.table
    expected = model_base.DistilBertModel(config).embeddings.position_embeddings.weight
    assert_same(table, expected.detach())
    assert not table.trainable


def test_a_checkpoint_without_fixed_positions_leaves_them(tmp_path: Path) -> None:
    config = SMALL[DistilBertConfig](sinusoidal_pos_embds=True)
    model = model_base.DistilBertModel(config)
    expected = model.embeddings.position_embeddings.weight.detach()
    state = {k: v for k, v in model.state_dict().items() if "position" not in k}
    config.save_pretrained(tmp_path)
    torch.save(state, tmp_path / "pytorch_model.bin")
    loaded, info = model_base.TFDistilBertModel.from_pretrained(
        tmp_path, from_pt=True, output_loading_info=True
    )
    assert info["missing_keys"] == ["distilbert/embeddings/position_embeddings/embeddings:0"]
    assert_same(loaded.distilbert.embeddings.position_embeddings.table, expected)
