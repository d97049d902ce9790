"""ALBERT: what is its own; the rest is in the contract suite."""

import pytest
import torch

from model_base import AlbertConfig, AlbertModel
from tests.model_base.torch.models.small import SMALL


def test_layers_of_a_group_share_their_weights_and_each_costs() -> None:
    shallow = AlbertModel(SMALL[AlbertConfig](num_hidden_layers=2))
    deep = AlbertModel(SMALL[AlbertConfig](num_hidden_layers=6))
    assert deep.num_parameters() == shallow.num_parameters()
    assert deep.forward_flops(1, 8) > 2 * shallow.forward_flops(1, 8)
    inputs = {"input_ids": torch.ones(1, 8, dtype=torch.long)}
    assert deep.floating_point_ops(inputs) == 3 * deep.forward_flops(1, 8)
    with torch.no_grad():
        out = deep(torch.tensor([[5, 6]]), output_hidden_states=True, output_attentions=True)
    assert (len(out.hidden_states), len(out.attentions)) == (7, 6)


def test_a_group_of_several_layers_is_used_as_one() -> None:
    model = AlbertModel(SMALL[AlbertConfig](inner_group_num=2))
    with torch.no_grad():
        out = model(torch.tensor([[5, 6]]), output_hidden_states=True, output_attentions=True)
    assert (len(out.hidden_states), len(out.attentions)) == (5, 8)


def test_only_layers_with_weights_of_their_own_can_be_pruned() -> None:
    model = AlbertModel(SMALL[AlbertConfig]())
    with pytest.raises(ValueError, match="layer 2 cannot be pruned: there are weights of 2"):
        model.prune_heads({0: [1], 2: [0]})
    assert model.config.pruned_heads == {}
    assert model.encoder.albert_layer_groups[0].albert_layers[0].attention.pruned_heads == set()
