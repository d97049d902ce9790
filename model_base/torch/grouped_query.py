"""Grouped-query attention with rotary positions (Ainslie et al. 2023, arXiv:2305.13245).

Its projections have the names that checkpoints of Llama and its kin know.

Shape letters: H hidden, N heads, D head size. ``[…]`` stands for the axes of the tokens, which are
the layout's.
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

import dataclasses
from typing import Any

from torch import Tensor, nn

from model_base.torch import layers, rotary
from model_base.torch.attention import Scoring
from model_base.torch.layouts import Layout
from model_base.torch.rotary import Angles


class GroupedQueryAttention(nn.Module):
    """Rotated queries over rotated keys; several heads of queries share one of keys.

    Args:
        config: has ``hidden_size``, ``head_dim``, ``num_attention_heads`` and
            ``num_key_value_heads``.
        layer: number of the layer, for the layout.
        scoring: its dropout is for training.
        bias: whether the projections into heads have one.
        out_bias: whether the projection back has one.
    """

    def __init__(
        self, config: Any, layer: int, scoring: Scoring, *, bias: bool = False,
        out_bias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layer, self.head_dim, self.scoring = layer, config.head_dim, scoring
        size = config.hidden_size
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(size, queries, bias)
        self.k_proj = nn.Linear(size, keys, bias)
        self.v_proj = nn.Linear(size, keys, bias)
        self.o_proj = nn.Linear(queries, size, out_bias)

    def heads(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[…, heads, D]``, before they are rotated."""
        query, key, value = (
            layers.split_heads(project(hidden), self.head_dim)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        return query, key, value

    def forward(self, hidden: Tensor, layout: Layout, angles: Angles) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        query, key, value = self.heads(hidden)
        query, key = rotary.rotate(query, angles), rotary.rotate(key, angles)
        scoring = self.scoring
        if not self.training:
            scoring = dataclasses.replace(scoring, dropout_p=0.0)
        return self.o_proj(layout.attend(self.layer, query, key, value, scoring).flatten(-2))
