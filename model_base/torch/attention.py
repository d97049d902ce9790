"""Scaled dot-product attention, with all that architectures add to the scores.

Shape letters: B batch, L queries, S keys, N heads, M heads of keys, D head size.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ScoreBias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""``(query_BNLD, key_BMSD, query_positions_L, key_positions_S)`` → added to the scores BNLS."""

_HIDDEN = -5000.0
"""What masks add to scores is either above this, or hides: -10000 at most."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """How a layer scores a key for a query, apart from what the layout hides.

    Attributes:
        scale: factor of the scores.
        bias: added to the scaled scores; for relative positions.
        window: keys farther away than so many tokens are hidden, in both directions.
        softcap: scores stay between -softcap and softcap, by tanh, before anything is added.
        dropout_p: probability of dropping an attention weight.
        in_float32: compute in float32, whatever the dtype.
    """

    scale: float
    bias: ScoreBias | None = None
    window: int | None = None
    softcap: float | None = None
    dropout_p: float = 0.0
    in_float32: bool = False


def attend(
    query_BNLD: Tensor,
    key_BMSD: Tensor,
    value_BMSD: Tensor,
    scoring: Scoring,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    head_mask: Tensor | None = None,
    keep_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of the last L of S tokens over all of them.

    Args:
        query_BNLD: of the last L tokens.
        key_BMSD: of all tokens; M divides N, each head of keys serves N / M of queries.
        value_BMSD: like the keys.
        scoring: how keys are scored.
        mask: added to the scores, broadcastable to ``[B, N, L, S]``.
        causal: whether a token sees only itself and those before it.
        head_mask: multiplied with the weights.
        keep_weights: return them; the fused kernel never has them.

    Returns:
        The context ``[B, N, L, D]``, and the weights ``[B, N, L, S]`` or None.
    """
    if scoring.in_float32 and query_BNLD.dtype != torch.float32:
        context_BNLD, weights_BNLS = attend(
            query_BNLD.float(), key_BMSD.float(), value_BMSD.float(), scoring,
            mask=None if mask is None else mask.float(), causal=causal, head_mask=head_mask,
            keep_weights=keep_weights,
        )  # fmt: skip
        weights_BNLS = None if weights_BNLS is None else weights_BNLS.to(query_BNLD.dtype)
        return context_BNLD.to(query_BNLD.dtype), weights_BNLS
    if (group := query_BNLD.shape[1] // key_BMSD.shape[1]) > 1:
        key_BMSD, value_BMSD = (t.repeat_interleave(group, 1) for t in (key_BMSD, value_BMSD))
    num_queries, num_keys = query_BNLD.shape[2], key_BMSD.shape[2]
    is_windowed = scoring.window is not None and num_keys > scoring.window + 1
    is_plain = mask is None and scoring.bias is None and not is_windowed
    is_eager = keep_weights or head_mask is not None or scoring.softcap is not None
    if causal and is_plain and not is_eager and num_queries == num_keys:
        return _fused(query_BNLD, key_BMSD, value_BMSD, scoring, None, causal=True), None
    keys_S = torch.arange(num_keys, device=query_BNLD.device)
    queries_L = keys_S[num_keys - num_queries :]
    if scoring.bias is not None:
        bias = scoring.bias(query_BNLD, key_BMSD, queries_L, keys_S)
        mask = bias if mask is None else bias + mask
    if causal or is_windowed:
        mask = _hide(query_BNLD, queries_L[:, None] - keys_S, scoring.window, causal, mask)
    if is_eager:
        return _eager(query_BNLD, key_BMSD, value_BMSD, scoring, mask, head_mask)
    return _fused(query_BNLD, key_BMSD, value_BMSD, scoring, mask), None


def _hide(
    like: Tensor, distance_LS: Tensor, window: int | None, causal: bool, mask: Tensor | None
) -> Tensor:
    hidden_LS = torch.zeros_like(distance_LS, dtype=torch.bool)
    if causal:
        hidden_LS |= distance_LS < 0
    if window is not None:
        hidden_LS |= distance_LS.abs() > window
    hidden = hidden_LS
    if mask is None:
        mask = torch.zeros((), dtype=like.dtype, device=like.device)
    elif window is not None:  # of padding a window may show nothing else: all keys then count alike
        hidden = hidden_LS | (mask < _HIDDEN)
    return mask.masked_fill(hidden, torch.finfo(like.dtype).min)


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scoring: Scoring,
    mask: Tensor | None,
    causal: bool = False,
) -> Tensor:
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=scoring.dropout_p, scale=scoring.scale,
        is_causal=causal,
    )  # fmt: skip


def _eager(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scoring: Scoring,
    mask: Tensor | None,
    head_mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    scores_BNLS = query @ key.transpose(2, 3) * scoring.scale
    if scoring.softcap is not None:
        scores_BNLS = (scores_BNLS / scoring.softcap).tanh() * scoring.softcap
    if mask is not None:
        scores_BNLS = scores_BNLS + mask
    weights_BNLS = scores_BNLS.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    weights_BNLS = F.dropout(weights_BNLS, scoring.dropout_p, training=scoring.dropout_p > 0)
    if head_mask is not None:
        weights_BNLS = weights_BNLS * head_mask
    return weights_BNLS @ value, weights_BNLS


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
