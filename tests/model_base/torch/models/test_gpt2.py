"""What the files that other libraries wrote do not show of GPT-2."""

from typing import Any

import pytest
import torch

from model_base import GPT2DoubleHeadsModel, GPT2LMHeadModel, GPT2Model
from model_base.configs.gpt2 import GPT2Config
from model_base.torch.attention import Scoring, attend
from tests.model_base.torch.models.small import SMALL


def config(**fields: Any) -> Any:
    return SMALL[GPT2Config](**fields)


def test_each_choice_has_the_scores_of_its_tokens_and_one_of_its_own() -> None:
    model = GPT2DoubleHeadsModel(config()).eval()
    ids_BCL = torch.randint(3, 61, (2, 3, 5))
    read_BC = torch.tensor([[4, 0, 2], [1, 4, 3]])
    out = model(ids_BCL, mc_token_ids=read_BC, labels=ids_BCL, mc_labels=torch.tensor([2, 0]))
    one = model(ids_BCL[1:, :1, :2])
    torch.testing.assert_close(out.logits[1, 0, :2], one.logits[0, 0])
    torch.testing.assert_close(out.mc_logits[1, 0], one.mc_logits[0, 0])
    assert out.mc_logits.shape == (2, 3)
    assert out.loss > 0
    assert out.mc_loss > 0


def test_tokens_see_the_states_of_an_encoder_that_its_mask_shows() -> None:
    model = GPT2Model(config(add_cross_attention=True)).eval()
    ids, states = torch.randint(3, 61, (1, 4)), torch.randn(1, 3, 32)
    masked = model(ids, encoder_hidden_states=states, encoder_attention_mask=torch.ones(1, 3))
    fewer = model(
        ids, encoder_hidden_states=states, encoder_attention_mask=torch.tensor([[1, 1, 0]])
    )
    alone = model(ids, encoder_hidden_states=states[:, :2])
    torch.testing.assert_close(fewer[0], alone[0])
    assert not torch.allclose(masked[0], alone[0])


def test_states_of_an_encoder_need_cross_attention() -> None:
    with pytest.raises(ValueError, match="add_cross_attention"):
        GPT2Model(config())(torch.ones(1, 2).long(), encoder_hidden_states=torch.zeros(1, 2, 32))


def test_scores_can_be_scaled_down_by_the_layer() -> None:
    plain = GPT2LMHeadModel(config()).eval()
    scaled = GPT2LMHeadModel(config(scale_attn_by_inverse_layer_idx=True)).eval()
    scaled.load_state_dict(plain.state_dict())
    with torch.no_grad():
        second = plain.transformer.h[1].attn.c_attn
        second.weight[:, :32] /= 2
        second.bias[:32] /= 2
    ids = torch.randint(3, 61, (2, 6))
    torch.testing.assert_close(scaled(ids).logits, plain(ids).logits)


def test_attention_in_float32_rounds_only_its_result() -> None:
    query, key, value = (torch.randn(1, 2, 4, 8).bfloat16() for _ in range(3))
    scoring = Scoring(1.0, in_float32=True)
    mask = torch.tensor([[0.0, 0.0, 0.0, -1e4]]).bfloat16()
    got, weights = attend(query, key, value, scoring, mask=mask, keep_weights=True)
    wide = attend(query.float(), key.float(), value.float(), Scoring(1.0), mask=mask.float())[0]
    assert got.dtype == torch.bfloat16
    assert weights is not None
    assert weights.dtype == torch.bfloat16
    assert torch.equal(got, wide.bfloat16())
