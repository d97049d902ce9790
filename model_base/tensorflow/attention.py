"""Attention over padded tokens: masks, positions and caches in one object that layers are given.

Shape letters: B batch, L length, S keys, N heads, D head size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from model_base.tensorflow.layers import Tensor, dropout, merge_heads

HIDDEN = tf.float32.min
"""Added to the score of a key that must not be seen."""

ScoreBias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""``(query_BNLD, key_BNSD, queries_L, keys_S) -> scores`` broadcastable to ``[B, N, L, S]``."""


@dataclass(slots=True)
class Layout:
    """How the tokens of one forward see each other, and what is kept of each layer.

    Attributes:
        mask: added to the scores, broadcastable to ``[B, N, L, S]``; None hides nothing.
        past: for each layer keys and values ``[B, N, S, D]`` of earlier tokens.
        head_mask: for each layer a factor of the weights, ``[N]``-like, or None.
        keep_weights: collect the attention weights.
        keep_cache: collect keys and values.
        training: whether attention weights are dropped.
        weights: of each layer, in the order they attend.
        cache: keys and values of each layer, in that order.
    """

    mask: Tensor = None
    past: Any = None
    head_mask: Any = None
    keep_weights: bool = False
    keep_cache: bool = False
    training: bool = False
    weights: list[Tensor] = field(default_factory=list)
    cache: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    @property
    def kept_weights(self) -> tuple[Tensor, ...] | None:
        """The weights that were collected, if they were to be."""
        return tuple(self.weights) if self.keep_weights else None

    @property
    def kept_cache(self) -> tuple[tuple[Tensor, Tensor], ...] | None:
        """The keys and values that were collected, if they were to be."""
        return tuple(self.cache) if self.keep_cache else None

    def attend(
        self,
        layer: int,
        query_BNLD: Tensor,
        key_BNSD: Tensor,
        value_BNSD: Tensor,
        *,
        scale: float,
        bias: ScoreBias | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """Attention of the last L of S tokens over all, ``[B, L, N · D]``."""
        if self.past is not None:
            key_BNSD = tf.concat((self.past[layer][0], key_BNSD), axis=2)
            value_BNSD = tf.concat((self.past[layer][1], value_BNSD), axis=2)
        if self.keep_cache:
            self.cache.append((key_BNSD, value_BNSD))
        scores_BNLS = tf.matmul(query_BNLD, key_BNSD, transpose_b=True) * scale
        if bias is not None:
            keys_S = tf.range(tf.shape(key_BNSD)[2])
            queries_L = keys_S[-tf.shape(query_BNLD)[2] :]
            scores_BNLS += bias(query_BNLD, key_BNSD, queries_L, keys_S)
        if self.mask is not None:
            scores_BNLS += self.mask
        weights_BNLS = tf.nn.softmax(scores_BNLS)
        weights_BNLS = dropout(weights_BNLS, dropout_p, self.training)
        if self.head_mask is not None:
            weights_BNLS *= self.head_mask[layer]
        if self.keep_weights:
            self.weights.append(weights_BNLS)
        return merge_heads(tf.matmul(weights_BNLS, value_BNSD))


@dataclass(slots=True)
class Memory:
    """An encoder's states, which every layer of a decoder attends over.

    Attributes:
        states_BSH: of the encoder.
        layout: how its tokens are seen; its ``past`` holds what earlier calls computed.
    """

    states_BSH: Tensor
    layout: Layout

    def attend(
        self,
        layer: int,
        query_BNLD: Tensor,
        project: Callable[[Tensor], tuple[Tensor, Tensor]],
        **scoring: Any,
    ) -> Tensor:
        """Attention over the encoder, ``[B, L, N · D]``; ``project`` makes keys and values."""
        past, self.layout.past = self.layout.past, None
        try:
            known = past[layer] if past is not None else project(self.states_BSH)
            return self.layout.attend(layer, query_BNLD, *known, **scoring)
        finally:
            self.layout.past = past


def visible(attention_mask: Tensor, num_queries: Tensor, *, causal: bool) -> Tensor:
    """What is added to scores, ``[B, 1, 1 or L, S]``: 0 where a key is seen.

    Args:
        attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps, 0 hides.
        num_queries: L, the last of the S tokens.
        causal: whether a token sees only itself and those before it.

    Raises:
        ValueError: another rank.
    """
    if len(attention_mask.shape) == 3:
        seen = attention_mask[:, None, :, :] > 0
    elif len(attention_mask.shape) == 2:
        seen = attention_mask[:, None, None, :] > 0
    else:
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}; accepted: [batch, keys] or "
            "[batch, queries, keys]"
        )
    if causal:
        keys_S = tf.range(tf.shape(attention_mask)[-1])
        seen = tf.logical_and(seen, keys_S <= keys_S[-num_queries:][:, None])
    return tf.where(seen, 0.0, HIDDEN)


def layout_for(
    config: Any,
    tokens: Tensor,
    attention_mask: Tensor,
    head_mask: Tensor = None,
    past: Any = None,
    *,
    causal: bool = False,
    keep_weights: bool = False,
    keep_cache: bool = False,
    training: bool = False,
) -> Layout:
    """The layout of tokens ``[B, L]`` after those of a cache.

    Args:
        config: has ``num_hidden_layers``.
        tokens: of the tokens' shape.
        attention_mask: as ``visible`` takes it; None keeps all.
        head_mask: ``[N]`` or ``[layers, N]``.
        past: for each layer keys and values ``[B, N, S, D]``, and what else a cache holds.
        causal: whether a token sees only itself and those before it.
        keep_weights: collect the attention weights.
        keep_cache: collect keys and values.
        training: whether weights are dropped.
    """
    batch, num_queries = tf.shape(tokens)[0], tf.shape(tokens)[1]
    if past is not None and attention_mask is not None:
        attention_mask = _with_past(attention_mask, past, num_queries)
    if attention_mask is None and causal:
        attention_mask = tf.ones((batch, num_past(past) + num_queries), tf.int32)
    mask = None
    if attention_mask is not None:
        mask = visible(tf.convert_to_tensor(attention_mask), num_queries, causal=causal)
    own = None if past is None else [layer[:2] for layer in past]
    heads = head_masks(head_mask, config.num_hidden_layers)
    return Layout(mask, own, heads, keep_weights, keep_cache, training)


def _with_past(attention_mask: Tensor, past: Any, num_queries: Tensor) -> Tensor:
    """A mask of the new tokens only is one over those of the cache, too, all of them seen."""
    attention_mask = tf.convert_to_tensor(attention_mask)
    shape = tf.shape(attention_mask)
    if len(attention_mask.shape) != 2:
        return attention_mask
    missing = tf.maximum(num_past(past) + num_queries - shape[1], 0)
    seen = tf.ones((shape[0], missing), attention_mask.dtype)
    return tf.concat((seen, attention_mask), axis=1)


def head_masks(head_mask: Tensor, num_layers: int) -> Any:
    """One head mask a layer, broadcastable to attention weights; None stays None.

    Raises:
        ValueError: another rank than ``[N]`` or ``[layers, N]``.
    """
    if head_mask is None:
        return None
    head_mask = tf.cast(tf.convert_to_tensor(head_mask), tf.float32)
    if len(head_mask.shape) == 1:
        head_mask = tf.repeat(head_mask[None], num_layers, axis=0)
    if len(head_mask.shape) != 2:
        raise ValueError(
            f"head_mask has shape {tuple(head_mask.shape)}; accepted: [heads] or [layers, heads]"
        )
    return tf.unstack(head_mask[:, None, :, None, None])


def memory_for(
    encoder_states: Tensor,
    encoder_mask: Tensor,
    past: Any = None,
    heads: Any = None,
    *,
    keep_weights: bool = False,
    keep_cache: bool = False,
    training: bool = False,
) -> Memory | None:
    """What a decoder sees of an encoder's states ``[B, S, H]``; None without states.

    ``heads`` is as ``head_masks`` gives it. ``past`` is as ``layout_for`` takes it: the third and
    fourth of each layer are the encoder's keys and values.
    """
    if encoder_states is None:
        return None
    mask = None
    if encoder_mask is not None:
        mask = visible(tf.convert_to_tensor(encoder_mask), 0, causal=False)
    known = [layer[2:4] for layer in past] if past is not None and len(past[0]) > 2 else None
    layout = Layout(mask, known, heads, keep_weights, keep_cache, training)
    return Memory(encoder_states, layout)


def cache_of(layout: Layout, memory: Memory | None) -> Any:
    """For each layer keys and values, then the encoder's; None if they were not to be kept."""
    if not layout.keep_cache:
        return None
    if memory is None:
        return layout.kept_cache
    return tuple(
        (*own, *other) for own, other in zip(layout.cache, memory.layout.cache, strict=True)
    )


def num_past(past: Any) -> Any:
    """Number of tokens in a cache."""
    return 0 if past is None else tf.shape(past[0][0])[2]


def positions(tokens: Tensor, past: Any) -> Tensor:
    """``[1, L]``: the places of the tokens after those of a cache."""
    return (tf.range(tf.shape(tokens)[1]) + num_past(past))[None]


def distance_scores(
    table: Tensor,
    query_BNLD: Tensor,
    key_BNSD: Tensor,
    queries_L: Tensor,
    keys_S: Tensor,
    *,
    with_keys: bool,
) -> Tensor:
    """Scores ``[B, N, L, S]``, scaled, of how far each query is from each key.

    ``table`` has a row ``[D]`` for each distance, from the most negative one on. ``with_keys``
    lets keys score the distance, too.

    Source: Shaw et al. 2018; Huang et al. 2020, method 4 (with keys).
    """
    distance_LS = queries_L[:, None] - keys_S[None, :] + table.shape[0] // 2
    embedding_LSD = tf.gather(table, distance_LS)
    scores_BNLS = tf.einsum("bnld,lsd->bnls", query_BNLD, embedding_LSD)
    if with_keys:
        scores_BNLS += tf.einsum("bnsd,lsd->bnls", key_BNSD, embedding_LSD)
    return scores_BNLS * query_BNLD.shape[-1] ** -0.5
