"""RoBERTa in TensorFlow, beside PyTorch's on one checkpoint; XLM-RoBERTa and CamemBERT."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_base import CamembertConfig, RobertaConfig, XLMRobertaConfig
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

PADDED = TEXT | {"input_ids": np.array([[5, 6, 7, 8, 9], [10, 11, 12, 1, 1]])}
"""RoBERTa's padding is 1."""

HEADS: dict[str, Any] = {
    "Model": (PADDED, None),
    "ForMaskedLM": (PADDED, TOKEN_LABELS),
    "ForSequenceClassification": (PADDED, TEXT_LABELS),
    "ForTokenClassification": (PADDED, TOKEN_LABELS),
    "ForMultipleChoice": (CHOICES, CHOICE_LABELS),
    "ForQuestionAnswering": (PADDED, SPAN_LABELS),
}


def config_for(kind: str, config_class: type = RobertaConfig) -> Any:
    return SMALL[config_class](**{"num_labels": 2} if kind == "ForQuestionAnswering" else {})


@pytest.mark.parametrize("kind", HEADS)
def test_each_head_computes_what_pytorch_does(kind: str, tmp_path: Path) -> None:
    check_parity(tmp_path, f"Roberta{kind}", config_for(kind), *HEADS[kind])


@pytest.mark.parametrize("kind", HEADS)
def test_xlm_roberta_is_roberta_by_another_name(kind: str, tmp_path: Path) -> None:
    config = config_for(kind, XLMRobertaConfig)
    check_parity(tmp_path, f"XLMRoberta{kind}", config, *HEADS[kind])


@pytest.mark.parametrize("kind", HEADS)
def test_camembert_is_roberta_by_another_name(kind: str, tmp_path: Path) -> None:
    config = config_for(kind, CamembertConfig)
    check_parity(tmp_path, f"Camembert{kind}", config, *HEADS[kind])


def test_padding_is_where_the_ids_show_it_without_a_mask(tmp_path: Path) -> None:
    config = SMALL[RobertaConfig]()
    model = check_parity(tmp_path, "RobertaModel", config, PADDED)
    model.roberta.embeddings.position_embeddings.table.assign_add(
        as_tf(np.eye(40, 32, dtype=np.float32))
    )
    ids, words = as_tf(PADDED["input_ids"]), model.get_input_embeddings()
    rows = as_tf(np.array([[2, 3, 4, 5, 6], [2, 3, 4, 1, 1]]))
    assert np.array_equal(model(ids)[0], model(ids, position_ids=rows)[0])
    assert np.array_equal(model(ids)[0][0], model(inputs_embeds=words(ids))[0][0])


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_relative_positions_are_pytorchs(kind: str, tmp_path: Path) -> None:
    config = SMALL[RobertaConfig](position_embedding_type=kind)
    check_parity(tmp_path, "RobertaModel", config, PADDED)


@pytest.mark.parametrize("name", ["Roberta", "XLMRoberta", "Camembert"])
def test_a_decoder_attends_over_an_encoder_and_keeps_a_cache(name: str, tmp_path: Path) -> None:
    config_class = {
        "Roberta": RobertaConfig, "XLMRoberta": XLMRobertaConfig, "Camembert": CamembertConfig,
    }[name]  # fmt: skip
    config = SMALL[config_class](is_decoder=True, add_cross_attention=True)
    states = np.random.default_rng(0).normal(size=(2, 3, 32)).astype(np.float32)
    model = check_parity(
        tmp_path, f"{name}ForCausalLM", config, PADDED | {"encoder_hidden_states": states},
        use_cache=True,
    )  # fmt: skip
    check_cache(model, TEXT["input_ids"], encoder_hidden_states=as_tf(states))


def test_the_next_token_has_pytorchs_loss(tmp_path: Path) -> None:
    labels = {"labels": PADDED["input_ids"]}
    config = SMALL[RobertaConfig](is_decoder=True)
    check_parity(tmp_path, "RobertaForCausalLM", config, PADDED, labels, use_cache=False)
