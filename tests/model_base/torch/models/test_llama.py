"""Llama over all three layouts, and what a classifier reads."""

from typing import Any

import pytest
import torch

from model_base import LlamaForCausalLM, LlamaForSequenceClassification
from model_base.configs.llama import LlamaConfig
from model_base.torch.layouts import PackedLayout
from tests.model_base.torch import paged
from tests.model_base.torch.models.small import SMALL


def config(**fields: Any) -> Any:
    return SMALL[LlamaConfig](**fields)


def test_the_same_logits_from_padded_packed_and_paged_tokens() -> None:
    model = LlamaForCausalLM(config()).eval()
    sequences = [torch.randint(1, 61, (length,)) for length in paged.LENGTHS]
    with torch.no_grad():
        dense = [model(ids[None]).logits[0] for ids in sequences]
        packed = model(torch.cat(sequences), layout=PackedLayout(paged.LENGTHS, causal=True))
        scattered = paged.decode(model, sequences)
    for one, wanted in zip(packed.logits.split(paged.LENGTHS), dense, strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-5)
    for one, wanted in zip(scattered, dense, strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "scaling",
    [
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 16,
         "short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0, 3.0, 4.0, 5.0]},
    ],
    ids=lambda scaling: scaling["rope_type"],
)  # fmt: skip
def test_a_packed_text_does_not_see_how_long_its_neighbours_are(scaling: dict[str, Any]) -> None:
    fields = {"rope_scaling": scaling, "max_position_embeddings": 20}
    model = LlamaForCausalLM(config(**fields)).eval()
    sequences = [torch.randint(1, 61, (length,)) for length in (30, 10)]
    with torch.no_grad():
        packed = model(torch.cat(sequences), layout=PackedLayout([30, 10], causal=True)).logits
        alone = [model(ids[None]).logits[0] for ids in sequences]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_a_text_is_classified_at_its_last_token() -> None:
    model = LlamaForSequenceClassification(config()).eval()
    ids = torch.tensor([[7, 8, 9, 0, 0], [3, 4, 5, 6, 7]])
    with torch.no_grad():
        both = model(ids, attention_mask=(ids != 0).long()).logits
        first = model(ids[:1, :3]).logits
    torch.testing.assert_close(both[:1], first)


def test_a_batch_without_a_padding_id_cannot_be_classified() -> None:
    model = LlamaForSequenceClassification(config(pad_token_id=None))
    with pytest.raises(ValueError, match="pad_token_id"):
        model(torch.tensor([[1, 2], [3, 4]]))
