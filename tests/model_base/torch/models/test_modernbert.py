"""ModernBERT: what is its own; the rest is in the contract suite."""

from typing import Any

import pytest
import torch

from model_base import (
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
    ModernBertModel,
    UnsupportedConfig,
)
from tests.model_base.torch.models.small import SMALL

OLD = {"global_rope_theta": 5000.0, "local_rope_theta": 70.0, "global_attn_every_n_layers": 2}
NEW = {
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 70.0},
    },
    "layer_types": ["full_attention", "sliding_attention", "full_attention"],
}


def test_both_spellings_of_a_configuration_mean_the_same() -> None:
    old, new = SMALL[ModernBertConfig](**OLD), SMALL[ModernBertConfig](**NEW)
    for kind in ("full_attention", "sliding_attention"):
        assert old.rope(kind) == new.rope(kind)
    assert old.layer_types == new.layer_types
    assert [new.window(i) for i in range(3)] == [None, 2, None]


@pytest.mark.parametrize("kind", ["full_attention", "sliding_attention"])
def test_rope_parameters_without_a_theta_have_the_default(kind: str) -> None:
    config = SMALL[ModernBertConfig](rope_parameters={kind: {"rope_type": "default"}})
    assert config.rope(kind) == SMALL[ModernBertConfig]().rope(kind)


def test_an_unknown_type_of_layer_is_refused() -> None:
    with pytest.raises(UnsupportedConfig, match="layer_types"):
        ModernBertModel(SMALL[ModernBertConfig](layer_types=["chunked_attention"] * 3))


def test_a_token_sees_half_the_window_to_either_side() -> None:
    types = ["sliding_attention"] * 3
    model = ModernBertModel(SMALL[ModernBertConfig](layer_types=types)).eval()
    with torch.no_grad():
        weights = model(torch.arange(3, 12)[None], output_attentions=True).attentions[0][0, 0]
    assert torch.equal((weights[4] > 0).nonzero().flatten(), torch.tensor([2, 3, 4, 5, 6]))


def test_sparse_prediction_scores_only_tokens_with_a_label() -> None:
    labels = torch.tensor([[-100, 7, -100, 9]])
    ids = torch.tensor([[3, 4, 5, 6]])
    torch.manual_seed(0)
    model = ModernBertForMaskedLM(SMALL[ModernBertConfig]()).eval()
    with torch.no_grad():
        dense = model(ids, labels=labels)
        model.config.sparse_prediction = True
        sparse = model(ids, labels=labels)
    torch.testing.assert_close(sparse.logits, dense.logits[labels != -100])
    torch.testing.assert_close(sparse.loss, dense.loss)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_pooling_reads_no_padding(pooling: Any) -> None:
    config = SMALL[ModernBertConfig](classifier_pooling=pooling)
    model = ModernBertForSequenceClassification(config).eval()
    ids, mask = torch.tensor([[5, 6, 7, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    with torch.no_grad():
        torch.testing.assert_close(model(ids, mask).logits, model(ids[:, :3]).logits)
