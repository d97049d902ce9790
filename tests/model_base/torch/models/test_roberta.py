"""RoBERTa: what is its own; the rest is in the contract suite."""

import pytest
import torch

from model_base import RobertaConfig, RobertaModel
from tests.model_base.torch.models.small import SMALL


@pytest.fixture
def model() -> RobertaModel:
    torch.manual_seed(0)
    return RobertaModel(SMALL[RobertaConfig]()).eval()


def test_padding_in_front_moves_no_text(model: RobertaModel) -> None:
    ids = torch.tensor([[0, 11, 12, 2]])
    padded = torch.tensor([[1, 1, 0, 11, 12, 2]])
    mask = (padded != 1).long()
    with torch.no_grad():
        plain, moved = model(ids)[0], model(padded, mask)[0]
    torch.testing.assert_close(moved[:, 2:], plain)


def test_position_ids_are_rows_of_the_table(model: RobertaModel) -> None:
    ids = torch.tensor([[0, 11, 2]])
    with torch.no_grad():
        counted = model(ids)[0]
        given = model(ids, position_ids=torch.tensor([[2, 3, 4]]))[0]
    assert torch.equal(counted, given)


def test_embeddings_are_numbered_like_ids_without_padding(model: RobertaModel) -> None:
    ids = torch.tensor([[0, 11, 2]])
    with torch.no_grad():
        of_ids = model(ids)[0]
        of_embeddings = model(inputs_embeds=model.get_input_embeddings()(ids))[0]
    assert torch.equal(of_ids, of_embeddings)


def test_the_longest_text_fills_the_table(model: RobertaModel) -> None:
    assert model.max_tokens == 38
    model(torch.full((1, 38), 5))
    with pytest.raises(IndexError):
        model(torch.full((1, 39), 5))
