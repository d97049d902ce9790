"""Attention over one of several layouts of the same tokens.

A model file computes on tokens and hands queries, keys and values to ``layout.attend``. The
layout knows which token sees which, where positions start, and where keys and values of earlier
tokens are. So one model file serves padded batches, packed ones and, later, a paged cache
(``attend`` is told its layer, and may first store the new keys and values in that layer's blocks).

Shape letters: B batch, L queries, S keys, N heads, D head size, T tokens of all sequences.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

ScoreBias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""``(query_BNLD, key_BNSD, query_positions_L, key_positions_S)`` → added to the scores BNLS."""

KeyValue = tuple[Tensor, Tensor]


class Layout(Protocol):
    """How the tokens of a batch lie in memory.

    Attributes:
        positions: int64, each token's place in its own sequence; its shape is that of the token
            tensors: ``[B, L]`` or ``[T]``.
    """

    positions: Tensor

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float,
        score_bias: ScoreBias | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """Scaled dot-product attention of every token over what it may see.

        Args:
            layer: which layer asks; for caches and per-layer head masks.
            query: token tensor with heads: ``[*positions.shape, N, D]``.
            key: like ``query``; of a layout for cross-attention, of the memory's tokens.
            value: like ``key``.
            scale: factor of the scores.
            score_bias: added to the scaled scores; for relative positions.
            dropout_p: probability of dropping an attention weight.

        Returns:
            The shape of ``query``.
        """

    def first_tokens(self, hidden: Tensor) -> Tensor:
        """The first token of each sequence, ``[B, H]``."""


@dataclass(slots=True)
class PaddedLayout(Layout):
    """``[B, L]`` with a mask; also collects what callers of the documented API ask for.

    Attributes:
        mask: added to the scores, broadcastable to ``[B, N, L, S]``; None hides nothing.
        head_mask: one factor tensor a layer, or None; multiplied with the weights.
        past: keys and values of earlier tokens, ``[B, N, S, D]``, a pair for each layer.
        keep_weights: collect attention weights in ``weights``, one ``[B, N, L, S]`` a layer.
        keep_cache: collect keys and values, those of the past included, in ``present``.
    """

    positions: Tensor
    mask: Tensor | None = None
    head_mask: Sequence[Tensor | None] | None = None
    past: Sequence[KeyValue] | None = None
    keep_weights: bool = False
    keep_cache: bool = False
    weights: list[Tensor] = field(default_factory=list)
    present: list[KeyValue] = field(default_factory=list)

    @override
    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float,
        score_bias: ScoreBias | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
        if self.past is not None:
            key = torch.cat([self.past[layer][0], key], dim=2)
            value = torch.cat([self.past[layer][1], value], dim=2)
        if self.keep_cache:
            self.present.append((key, value))
        mask = self.mask
        if score_bias is not None:
            keys = torch.arange(key.shape[2], device=key.device)
            bias = score_bias(query, key, keys[-query.shape[2] :], keys)
            mask = bias if mask is None else bias + mask
        head_mask = self.head_mask[layer] if self.head_mask is not None else None
        if self.keep_weights or head_mask is not None:
            context = self._attend_eagerly(query, key, value, mask, head_mask, scale, dropout_p)
        else:
            context = F.scaled_dot_product_attention(
                query, key, value, attn_mask=mask, dropout_p=dropout_p, scale=scale
            )
        return context.transpose(1, 2)

    def _attend_eagerly(
        self,
        query_BNLD: Tensor,
        key_BNSD: Tensor,
        value_BNSD: Tensor,
        mask: Tensor | None,
        head_mask: Tensor | None,
        scale: float,
        dropout_p: float,
    ) -> Tensor:
        """With the weights at hand, which the fused kernel never has."""
        scores_BNLS = query_BNLD @ key_BNSD.transpose(2, 3) * scale
        if mask is not None:
            scores_BNLS = scores_BNLS + mask
        weights_BNLS = F.dropout(scores_BNLS.softmax(dim=-1), dropout_p, training=dropout_p > 0)
        if head_mask is not None:
            weights_BNLS = weights_BNLS * head_mask
        if self.keep_weights:
            self.weights.append(weights_BNLS)
        return weights_BNLS @ value_BNSD

    @override
    def first_tokens(self, hidden: Tensor) -> Tensor:
        return hidden[:, 0]


class PackedLayout(Layout):
    """``[T]``: sequences laid end to end, no padding between them. For inference.

    Args:
        lengths: tokens of each sequence.
        causal: whether a token sees only itself and those before it.
        num_filler: tokens behind the last sequence that no other token sees.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        causal: bool = False,
        num_filler: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        ends = torch.tensor([0, *lengths]).cumsum(0).tolist()
        self.spans = list(pairwise(ends))
        self.causal = causal
        rows = (*lengths, num_filler)
        self.positions = torch.cat([torch.arange(n, device=device) for n in rows])
        self._starts = torch.tensor(ends[:-1], device=device)

    @override
    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        scale: float,
        score_bias: ScoreBias | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        context_TND = torch.empty_like(query)
        for start, end in self.spans:
            q, k, v = (t[None, start:end].transpose(1, 2) for t in (query, key, value))
            mask = self._mask(q, k, score_bias, self.positions[start:end])
            out_BNLD = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, dropout_p=dropout_p, scale=scale,
                is_causal=self.causal and mask is None,
            )  # fmt: skip
            context_TND[start:end] = out_BNLD[0].transpose(0, 1)
        context_TND[self.spans[-1][1] :] = 0
        return context_TND

    def _mask(
        self, query: Tensor, key: Tensor, score_bias: ScoreBias | None, positions: Tensor
    ) -> Tensor | None:
        if score_bias is None:
            return None
        bias = score_bias(query, key, positions, positions)
        if not self.causal:
            return bias
        return bias.masked_fill(positions[None, :] > positions[:, None], float("-inf"))

    @override
    def first_tokens(self, hidden: Tensor) -> Tensor:
        return hidden[self._starts]


def layout_for(
    model: Any,
    tokens: Tensor,
    layout: Layout | None,
    attention_mask: Tensor | None,
    position_ids: Tensor | None,
    head_mask: Tensor | None,
    past_key_values: Sequence[KeyValue] | None,
    *,
    keep_weights: bool = False,
    keep_cache: bool = False,
) -> Layout:
    """The layout given, or the padded one that a forward's documented arguments describe.

    Raises:
        ValueError: a layout together with an argument that it replaces; names it.
    """
    if layout is None:
        return padded_layout(
            model, tokens, attention_mask, position_ids, head_mask, past_key_values,
            keep_weights=keep_weights, keep_cache=keep_cache,
        )  # fmt: skip
    replaced = {
        "attention_mask": attention_mask, "position_ids": position_ids, "head_mask": head_mask,
        "past_key_values": past_key_values, "output_attentions": keep_weights or None,
    }  # fmt: skip
    if given := [name for name, value in replaced.items() if value is not None]:
        raise ValueError(f"{', '.join(given)} given with a layout, which says that itself")
    return layout


def padded_layout(
    model: Any,
    tokens_BL: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None,
    head_mask: Tensor | None,
    past_key_values: Sequence[KeyValue] | None,
    *,
    keep_weights: bool = False,
    keep_cache: bool = False,
) -> PaddedLayout:
    """The layout that the documented arguments of a forward describe.

    Args:
        model: a ``PreTrainedModel``; makes the masks by its configuration.
        tokens_BL: any tensor of the batch's shape.
        attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps, 0 hides; None hides nothing.
        position_ids: ``[B, L]``; None counts from the length of the cache.
        head_mask: ``[N]`` or ``[layers, N]``.
        past_key_values: of each layer, ``[B, N, S, D]``.
        keep_weights: collect the attention weights.
        keep_cache: collect keys and values.
    """
    batch, length = tokens_BL.shape
    past = past_key_values[0][0].shape[2] if past_key_values is not None else 0
    if position_ids is None:
        positions = torch.arange(past, past + length, device=tokens_BL.device)
        position_ids = positions.expand(batch, length)
    if attention_mask is None and model.is_causal:
        attention_mask = torch.ones(batch, past + length, device=tokens_BL.device)
    mask = None
    if attention_mask is not None:
        mask = model.get_extended_attention_mask(attention_mask, (batch, length))
    masks = model.get_head_mask(head_mask, model.config.num_hidden_layers)
    return PaddedLayout(
        position_ids, mask, masks, past_key_values, keep_weights, keep_cache=keep_cache
    )


def cross_layout(
    model: Any, states_BSH: Tensor | None, mask: Tensor | None, *, keep_weights: bool
) -> PaddedLayout | None:
    """How cross-attention sees an encoder's states; None without them.

    Raises:
        ValueError: the configuration has no cross-attention.
    """
    if states_BSH is None:
        return None
    if not model.config.add_cross_attention:
        raise ValueError("encoder_hidden_states need a config with add_cross_attention=True")
    positions = torch.arange(states_BSH.shape[1], device=states_BSH.device)[None]
    extended = None if mask is None else model.invert_attention_mask(mask)
    return PaddedLayout(positions, extended, keep_weights=keep_weights)


def collected(layout: Layout | None, what: str) -> tuple[Any, ...] | None:
    """The ``"weights"`` or ``"present"`` that a padded layout collected; None if it did not."""
    return tuple(getattr(layout, what)) or None if isinstance(layout, PaddedLayout) else None


def distance_scores(
    table: nn.Embedding,
    query_BNLD: Tensor,
    key_BNSD: Tensor,
    queries_L: Tensor,
    keys_S: Tensor,
    *,
    with_keys: bool,
) -> Tensor:
    """Scores ``[B, N, L, S]``, scaled, of how far each query is from each key.

    ``table`` has a row ``[D]`` for each distance, from the most negative one on; ``queries_L``
    and ``keys_S`` are positions. ``with_keys`` lets keys score the distance, too.

    Source: Shaw et al. 2018; Huang et al. 2020, method 4 (with keys).
    """
    distance_LS = queries_L[:, None] - keys_S[None, :] + table.num_embeddings // 2
    embedding_LSD: Tensor = table(distance_LS).to(query_BNLD.dtype)
    scores_BNLS: Tensor = torch.einsum("bnld,lsd->bnls", query_BNLD, embedding_LSD)
    if with_keys:
        scores_BNLS = scores_BNLS + torch.einsum("bnsd,lsd->bnls", key_BNSD, embedding_LSD)
    scaled: Tensor = scores_BNLS * query_BNLD.shape[-1] ** -0.5
    return scaled
