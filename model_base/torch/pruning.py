"""PruningMixin: take attention heads out of a model.

Source: transformers 4.19.2, ``modeling_utils.prune_heads`` and ``pytorch_utils``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model_base.torch.layers import Conv1D
from model_base.torch.module_utils import MixinBase


class PruningMixin(MixinBase):
    """What a model does when heads are pruned."""

    config: Any

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Remove heads from the base model; heads pruned before are ignored.

        Args:
            heads_to_prune: for each layer the heads, by their original numbers. The union with
                those pruned before is kept in ``config.pruned_heads`` and so in config.json.

        Raises:
            NotImplementedError: the architecture cannot prune.
            ValueError: the model has no such layer or head.
        """
        base: Any = self.base_model
        if not hasattr(base, "_prune_heads"):
            raise NotImplementedError(f"{type(self).__name__} cannot prune heads")
        layers, all_heads = self.config.num_hidden_layers, range(self.config.num_attention_heads)
        for layer, heads in heads_to_prune.items():
            if layer not in range(layers) or not set(heads) <= set(all_heads):
                raise ValueError(
                    f"heads {heads} of layer {layer} cannot be pruned: there are {layers} layers "
                    f"of {len(all_heads)} heads, numbered from 0"
                )
        base._prune_heads(heads_to_prune)
        for layer, heads in heads_to_prune.items():
            before = set(self.config.pruned_heads.get(layer, []))
            self.config.pruned_heads[layer] = sorted(before | set(heads))


def find_pruneable_heads_and_indices(
    heads: Iterable[int], n_heads: int, head_size: int, already_pruned_heads: set[int]
) -> tuple[set[int], Tensor]:
    """Heads that are still there, and the indices of the rows that stay.

    Args:
        heads: to prune, by original number.
        n_heads: heads there are now.
        head_size: rows of one head.
        already_pruned_heads: by original number.

    Returns:
        The heads to prune now, and int64 ``[kept heads · head_size]``.
    """
    left = set(heads) - already_pruned_heads
    keep = torch.ones(n_heads, head_size, dtype=torch.bool, device="cpu")
    for head in left:
        keep[head - sum(pruned < head for pruned in already_pruned_heads)] = False
    return left, torch.arange(n_heads * head_size, device="cpu")[keep.view(-1)]


def prune_attention(
    attention: Any, names: Iterable[str], output: Any, heads: Iterable[int], pruned: set[int]
) -> set[int]:
    """Take heads out of an attention's projections.

    Args:
        attention: has ``num_attention_heads``, ``attention_head_size`` and the projections.
        names: of the projections into heads.
        output: its ``dense`` projects the heads back.
        heads: to prune, by original number.
        pruned: pruned before, by original number.

    Returns:
        All heads that are pruned now.
    """
    left, index = find_pruneable_heads_and_indices(
        heads, attention.num_attention_heads, attention.attention_head_size, pruned
    )
    if left:
        for name in names:
            setattr(attention, name, prune_linear_layer(getattr(attention, name), index))
        output.dense = prune_linear_layer(output.dense, index, dim=1)
        attention.num_attention_heads -= len(left)
    return pruned | left


def prune_conv1d_layer(layer: Conv1D, index: Tensor, dim: int = 1) -> Conv1D:
    """A layer with the columns (``dim=1``) or rows (``dim=0``) ``index`` of ``layer``'s weight."""
    weight = layer.weight
    index = index.to(weight.device)
    kept = weight.detach().index_select(dim, index).clone()
    new = Conv1D(*kept.shape).to(weight)
    with torch.no_grad():
        new.weight.copy_(kept)
        new.bias.copy_(layer.bias if dim == 0 else layer.bias.index_select(0, index))
    new.weight.requires_grad_(weight.requires_grad)
    return new


def prune_linear_layer(layer: nn.Linear, index: Tensor, dim: int = 0) -> nn.Linear:
    """A linear layer with the rows (``dim=0``) or columns (``dim=1``) ``index`` of ``layer``."""
    weight = layer.weight
    index = index.to(weight.device)
    kept = weight.detach().index_select(dim, index).clone()
    new = nn.Linear(
        kept.shape[1], kept.shape[0], layer.bias is not None,
        device=weight.device, dtype=weight.dtype,
    )  # fmt: skip
    with torch.no_grad():
        new.weight.copy_(kept)
        if layer.bias is not None:
            new.bias.copy_(layer.bias if dim == 1 else layer.bias.index_select(0, index))
    new.weight.requires_grad_(weight.requires_grad)
    return new
