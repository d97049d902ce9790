"""ELECTRA: what is its own; the rest is in the contract suite."""

import torch

from model_base import ElectraConfig, ElectraForPreTraining, ElectraModel
from tests.model_base.torch.models.small import SMALL


def test_padding_does_not_count_in_the_discriminators_loss() -> None:
    torch.manual_seed(0)
    model = ElectraForPreTraining(SMALL[ElectraConfig]()).eval()
    ids, labels = torch.tensor([[5, 6, 7, 0]]), torch.tensor([[0, 1, 0, 1]])
    mask = torch.tensor([[1, 1, 1, 0]])
    with torch.no_grad():
        loss = model(ids, mask, labels=labels).loss
        alone = model(ids[:, :3], labels=labels[:, :3]).loss
    torch.testing.assert_close(loss, alone)


def test_embeddings_as_wide_as_the_states_need_no_projection() -> None:
    model = ElectraModel(SMALL[ElectraConfig](embedding_size=32))
    assert not any(name.startswith("embeddings_project") for name in model.state_dict())
