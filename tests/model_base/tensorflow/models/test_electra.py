"""ELECTRA in TensorFlow, beside PyTorch's on one checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import model_base
from model_base import ElectraConfig
from tests.model_base.tensorflow.models.parity import (
    CHOICE_LABELS,
    CHOICES,
    SPAN_LABELS,
    TEXT,
    TEXT_LABELS,
    TOKEN_LABELS,
    as_tf,
    assert_same,
    check_cache,
    check_parity,
)
from tests.model_base.torch.models.small import SMALL

FIXTURES = Path(__file__).parents[3] / "fixtures"

HEADS: dict[str, Any] = {
    "Model": (TEXT, None),
    "ForPreTraining": (TEXT, None),
    "ForMaskedLM": (TEXT, TOKEN_LABELS),
    "ForSequenceClassification": (TEXT, TEXT_LABELS),
    "ForTokenClassification": (TEXT, TOKEN_LABELS),
    "ForMultipleChoice": (CHOICES, CHOICE_LABELS),
    "ForQuestionAnswering": (TEXT, SPAN_LABELS),
}


@pytest.mark.parametrize("kind", HEADS)
def test_each_head_computes_what_pytorch_does(kind: str, tmp_path: Path) -> None:
    fields = {"num_labels": 2} if kind == "ForQuestionAnswering" else {}
    config = SMALL[ElectraConfig](embedding_size=24, **fields)
    check_parity(tmp_path, f"Electra{kind}", config, *HEADS[kind])


def test_embeddings_as_wide_as_the_states_need_no_projection(tmp_path: Path) -> None:
    config = SMALL[ElectraConfig](embedding_size=32)
    model = check_parity(tmp_path, "ElectraForMaskedLM", config, TEXT)
    assert model.electra.embeddings_project is None


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_relative_positions_are_pytorchs(kind: str, tmp_path: Path) -> None:
    config = SMALL[ElectraConfig](position_embedding_type=kind)
    check_parity(tmp_path, "ElectraModel", config, TEXT)


def test_a_decoder_attends_over_an_encoder_and_keeps_a_cache(tmp_path: Path) -> None:
    config = SMALL[ElectraConfig](is_decoder=True, add_cross_attention=True)
    states = np.random.default_rng(0).normal(size=(2, 3, 32)).astype(np.float32)
    inputs = TEXT | {"encoder_hidden_states": states}
    model = check_parity(tmp_path, "ElectraModel", config, inputs, use_cache=True)
    check_cache(model, TEXT["input_ids"], encoder_hidden_states=as_tf(states))


def test_a_file_of_the_real_library_computes_the_same_in_both_stacks() -> None:
    folder = FIXTURES / "pt_electraforpretraining_bin/ckpt"
    model, info = model_base.TFElectraForPreTraining.from_pretrained(
        folder, from_pt=True, output_loading_info=True
    )
    assert not any(info.values()), info
    reference = model_base.ElectraForPreTraining.from_pretrained(folder).eval()
    asked = {"output_hidden_states": True, "output_attentions": True}
    with torch.no_grad():
        expected = reference(**{k: torch.tensor(v) for k, v in TEXT.items()}, **asked)
    assert_same(model(**{k: as_tf(v) for k, v in TEXT.items()}, **asked), expected)
