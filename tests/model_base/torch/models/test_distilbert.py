"""DistilBERT: what is its own; the rest is in the contract suite."""

import math

import pytest
import torch

from model_base import DistilBertConfig, DistilBertForMaskedLM
from tests.model_base.torch.models.small import SMALL

SIZE = 32


def test_sinusoidal_positions_are_sines_and_cosines_that_do_not_learn() -> None:
    model = DistilBertForMaskedLM(SMALL[DistilBertConfig](sinusoidal_pos_embds=True))
    table = model.get_position_embeddings().weight
    assert not table.requires_grad
    assert table[3, 4].item() == pytest.approx(math.sin(3 / 10000 ** (4 / SIZE)))
    assert table[3, 5].item() == pytest.approx(math.cos(3 / 10000 ** (4 / SIZE)))


@pytest.mark.parametrize("count", [50, 30])
@pytest.mark.parametrize("sinusoidal", [True, False])
def test_positions_are_added_and_taken_away(count: int, sinusoidal: bool) -> None:
    model = DistilBertForMaskedLM(SMALL[DistilBertConfig](sinusoidal_pos_embds=sinusoidal)).eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = model(ids).logits
        model.resize_position_embeddings(count)
        assert torch.equal(model(ids).logits, before)
    table = model.get_position_embeddings()
    assert table.num_embeddings == model.config.max_position_embeddings == count
    assert table.weight.requires_grad is not sinusoidal
    if sinusoidal:
        assert table.weight[count - 1, 0].item() == pytest.approx(math.sin(count - 1), abs=1e-6)
