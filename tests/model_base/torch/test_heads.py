"""What heads share."""

from typing import Any

import pytest
import torch

from model_base import BertConfig, BertLMHeadModel, LlamaConfig, LlamaForCausalLM
from tests.model_base.torch.models.small import SMALL

IDS = torch.arange(1, 11).view(2, 5)


@pytest.mark.parametrize(
    ("model_class", "config"),
    [
        (LlamaForCausalLM, SMALL[LlamaConfig]()),
        (BertLMHeadModel, SMALL[BertConfig](is_decoder=True)),
    ],
)
def test_a_decoder_that_is_trained_keeps_no_cache(model_class: Any, config: Any) -> None:
    model = model_class(config).eval()
    with torch.no_grad():
        assert model(IDS, use_cache=True).past_key_values is not None
        assert model(IDS, labels=IDS, use_cache=True).past_key_values is None
        assert model(IDS, labels=IDS).past_key_values is None
