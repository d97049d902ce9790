"""PruningMixin: heads taken out, by their original number."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from model_base import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    find_pruneable_heads_and_indices,
    prune_linear_layer,
)

Small = Callable[..., BertConfig]
IDS = torch.arange(1, 11).view(2, 5)


def hidden(model: BertModel, mask: torch.Tensor | None = None) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS, head_mask=mask).last_hidden_state


def test_a_pruned_head_counts_as_one_that_is_masked(small: Small) -> None:
    model = BertModel(small())
    mask = torch.ones(2, 4)
    mask[0, 1] = mask[0, 3] = mask[1, 0] = 0
    masked = hidden(model, mask)
    model.prune_heads({0: [1], 1: [0]})
    model.prune_heads({0: [3, 1]})
    torch.testing.assert_close(hidden(model), masked)
    assert model.config.pruned_heads == {0: [1, 3], 1: [0]}
    assert model.encoder.layer[0].attention.self.query.weight.shape == (16, 32)


def test_pruned_heads_are_saved_and_pruned_again_on_loading(small: Small, tmp_path: Path) -> None:
    model = BertForMaskedLM(small())
    model.prune_heads({1: [2]})
    model.save_pretrained(tmp_path)
    loaded = BertForMaskedLM.from_pretrained(tmp_path)
    assert loaded.config.pruned_heads == {1: [2]}
    assert loaded.bert.encoder.layer[1].attention.pruned_heads == {2}
    torch.testing.assert_close(hidden(loaded.bert), hidden(model.bert))


def test_heads_pruned_in_two_calls_are_all_saved(small: Small, tmp_path: Path) -> None:
    model = BertModel(small())
    model.prune_heads({0: [3], 1: [0]})
    model.prune_heads({0: [1]})
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["pruned_heads"] == {"0": [1, 3], "1": [0]}
    loaded = BertModel.from_pretrained(tmp_path)
    assert loaded.encoder.layer[0].attention.pruned_heads == {1, 3}
    torch.testing.assert_close(hidden(loaded), hidden(model))


@pytest.mark.parametrize("heads", [{0: [4]}, {0: [-1]}, {2: [0]}, {-1: [0]}])
def test_heads_that_are_not_there_are_refused_and_nothing_is_pruned(
    heads: dict[int, list[int]], small: Small
) -> None:
    model = BertModel(small())
    with pytest.raises(ValueError, match="there are 2 layers of 4 heads"):
        model.prune_heads({1: [1]} | heads)
    assert model.config.pruned_heads == {}
    assert model.encoder.layer[1].attention.pruned_heads == set()


def test_indices_keep_the_original_numbering() -> None:
    left, index = find_pruneable_heads_and_indices([1, 2], 3, 2, already_pruned_heads={1})
    assert left == {2}
    assert index.tolist() == [0, 1, 4, 5]
    left, index = find_pruneable_heads_and_indices([1], 3, 2, already_pruned_heads={2})
    assert (left, index.tolist()) == ({1}, [0, 1, 4, 5])
    left, index = find_pruneable_heads_and_indices([0], 2, 3, set())
    assert (left, index.tolist()) == ({0}, [3, 4, 5])


@pytest.mark.parametrize(("dim", "shape"), [(0, (2, 3)), (1, (4, 2))])
@pytest.mark.parametrize("bias", [True, False])
def test_rows_and_columns_of_a_linear_layer_are_kept(
    dim: int, shape: tuple[int, int], bias: bool
) -> None:
    layer = nn.Linear(3, 4, bias).double()
    index = torch.tensor([0, 2])
    pruned = prune_linear_layer(layer, index, dim)
    assert torch.equal(pruned.weight, layer.weight.index_select(dim, index))
    assert (tuple(pruned.weight.shape), pruned.weight.dtype) == (shape, torch.float64)
    if bias:
        assert torch.equal(pruned.bias, layer.bias if dim == 1 else layer.bias[index])
    assert (pruned.bias is not None) is bias
