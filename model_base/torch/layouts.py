"""Layouts: how the tokens of a batch lie in memory, and what each of them may see.

A model file computes on tokens and hands queries, keys and values to ``layout.attend``. The
layout knows which token sees which, where positions start, and where keys and values of earlier
tokens are. So one model file serves padded batches, packed ones and, later, a paged cache
(``attend`` is told its layer, and may first store the new keys and values in that layer's blocks).

Shape letters: B batch, L queries, S keys, N heads, M heads of keys, D head size, T tokens of all
sequences, H hidden.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from typing_extensions import override

from model_base.torch.attention import Scoring, attend

KeyValue = tuple[Tensor, Tensor]


class Layout(Protocol):
    """How the tokens of a batch lie in memory.

    Attributes:
        positions: int64, each token's place in its own sequence; its shape is that of the token
            tensors: ``[B, L]`` or ``[T]``.
        lengths: int64, of the same shape or one number: tokens of each token's sequence.
    """

    positions: Tensor

    @property
    def lengths(self) -> Tensor:
        """See above; of padded batches the longest sequence's."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring
    ) -> Tensor:
        """Scaled dot-product attention of every token over what it may see.

        Args:
            layer: which layer asks; for caches and per-layer head masks.
            query: token tensor with heads: ``[*positions.shape, N, D]``.
            key: like ``query`` with M heads, M dividing N; of a layout for cross-attention, of
                the memory's tokens.
            value: like ``key``.
            scoring: how keys are scored.

        Returns:
            The shape of ``query``.
        """

    def first_tokens(self, hidden: Tensor) -> Tensor:
        """The first token of each sequence, ``[B, H]``."""

    def last_tokens(self, hidden: Tensor) -> Tensor:
        """The last token of each sequence, ``[B, H]``; of a padded batch the last column."""

    def mean_tokens(self, hidden: Tensor) -> Tensor:
        """The mean over the tokens of each sequence, ``[B, H]``; of a padded batch over all."""


class Memory(Protocol):
    """How tokens attend over those of an encoder."""

    def recall(self, layer: int, make: Callable[[], KeyValue]) -> KeyValue:
        """Keys and values of the encoder's tokens: kept from an earlier step, or made now."""

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring
    ) -> Tensor:
        """As ``Layout.attend``; every token sees all of its own memory."""


@dataclass(slots=True)
class PaddedLayout(Layout):
    """``[B, L]`` with a mask; also collects what callers of the documented API ask for.

    Attributes:
        mask: added to the scores, broadcastable to ``[B, N, L, S]``; None hides nothing.
        causal: whether a token sees only itself and those before it.
        head_mask: one factor tensor a layer, or None; multiplied with the weights.
        past: keys and values of earlier tokens, ``[B, M, S, D]``, first in each layer's tuple.
        keep_weights: collect attention weights in ``weights``, one ``[B, N, L, S]`` a layer.
        keep_cache: collect keys and values, those of the past included, in ``present``.
    """

    positions: Tensor
    mask: Tensor | None = None
    causal: bool = False
    head_mask: Sequence[Tensor | None] | None = None
    past: Sequence[Sequence[Tensor]] | None = None
    keep_weights: bool = False
    keep_cache: bool = False
    weights: list[Tensor] = field(default_factory=list)
    present: list[KeyValue] = field(default_factory=list)

    @override
    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring
    ) -> Tensor:
        query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
        if self.past is not None:
            key = torch.cat([self.past[layer][0], key], dim=2)
            value = torch.cat([self.past[layer][1], value], dim=2)
        if self.keep_cache:
            self.present.append((key, value))
        context, weights = attend(
            query, key, value, scoring, mask=self.mask, causal=self.causal,
            head_mask=None if self.head_mask is None else self.head_mask[layer],
            keep_weights=self.keep_weights,
        )  # fmt: skip
        if self.keep_weights and weights is not None:
            self.weights.append(weights)
        return context.transpose(1, 2)

    @property
    @override
    def lengths(self) -> Tensor:
        return self.positions.max() + 1

    @override
    def first_tokens(self, hidden: Tensor) -> Tensor:
        return hidden[:, 0]

    @override
    def last_tokens(self, hidden: Tensor) -> Tensor:
        return hidden[:, -1]

    @override
    def mean_tokens(self, hidden: Tensor) -> Tensor:
        return hidden.mean(dim=1)


@dataclass(slots=True)
class PaddedMemory(Memory):
    """Tokens ``[B, L]`` over an encoder's ``[B, S]``; attributes as ``PaddedLayout``.

    Attributes:
        past: the memory's keys and values, third and fourth in each layer's tuple.
    """

    mask: Tensor | None = None
    head_mask: Sequence[Tensor | None] | None = None
    past: Sequence[Sequence[Tensor]] | None = None
    keep_weights: bool = False
    keep_cache: bool = False
    weights: list[Tensor] = field(default_factory=list)
    present: list[KeyValue] = field(default_factory=list)

    @override
    def recall(self, layer: int, make: Callable[[], KeyValue]) -> KeyValue:
        if self.past is not None and len(self.past[layer]) > 2:
            key, value = self.past[layer][2:]
        else:
            key, value = (tensor.transpose(1, 2) for tensor in make())
        if self.keep_cache:
            self.present.append((key, value))
        return key.transpose(1, 2), value.transpose(1, 2)

    @override
    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring
    ) -> Tensor:
        query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
        context, weights = attend(
            query, key, value, scoring, mask=self.mask,
            head_mask=None if self.head_mask is None else self.head_mask[layer],
            keep_weights=self.keep_weights,
        )  # fmt: skip
        if self.keep_weights and weights is not None:
            self.weights.append(weights)
        return context.transpose(1, 2)


Spans = Sequence[tuple[int, int]]


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
        self.spans: Spans = list(pairwise(ends))
        self.causal = causal
        rows = (*lengths, num_filler)
        self.positions = torch.cat([torch.arange(n, device=device) for n in rows])
        counts = torch.tensor(rows)
        self._lengths = counts.repeat_interleave(counts).to(device)
        self._starts = torch.tensor(ends[:-1], device=device)
        self._lasts = torch.tensor(ends[1:], device=device) - 1

    @override
    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring
    ) -> Tensor:
        return _attend_spans(query, key, value, scoring, self.spans, self.spans, self.causal)

    @property
    @override
    def lengths(self) -> Tensor:
        return self._lengths

    @override
    def first_tokens(self, hidden: Tensor) -> Tensor:
        return hidden[self._starts]

    @override
    def last_tokens(self, hidden: Tensor) -> Tensor:
        return hidden[self._lasts]

    @override
    def mean_tokens(self, hidden: Tensor) -> Tensor:
        return torch.stack([hidden[start:end].mean(dim=0) for start, end in self.spans])


class PackedMemory(Memory):
    """Packed tokens over those of a packed encoder, sequence by sequence."""

    def __init__(self, layout: PackedLayout, memory: PackedLayout) -> None:
        self._queries, self._keys = layout.spans, memory.spans

    @override
    def recall(self, layer: int, make: Callable[[], KeyValue]) -> KeyValue:
        return make()

    @override
    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scoring: Scoring
    ) -> Tensor:
        return _attend_spans(query, key, value, scoring, self._queries, self._keys, causal=False)


def _attend_spans(
    query_TND: Tensor,
    key_TMD: Tensor,
    value_TMD: Tensor,
    scoring: Scoring,
    queries: Spans,
    keys: Spans,
    causal: bool,
) -> Tensor:
    """Each span of queries over its span of keys; rows in no span are zeros."""
    context_TND = torch.empty_like(query_TND)
    for (start, end), own in zip(queries, keys, strict=True):
        query = query_TND[None, start:end].transpose(1, 2)
        key, value = (t[None, slice(*own)].transpose(1, 2) for t in (key_TMD, value_TMD))
        context_BNLD, _ = attend(query, key, value, scoring, causal=causal)
        context_TND[start:end] = context_BNLD[0].transpose(0, 1)
    context_TND[queries[-1][1] :] = 0
    return context_TND


def layout_for(
    model: Any,
    tokens: Tensor,
    layout: Layout | None,
    attention_mask: Tensor | None,
    position_ids: Tensor | None,
    head_mask: Tensor | None = None,
    past_key_values: Sequence[Sequence[Tensor]] | None = None,
    *,
    count: Callable[[], Tensor | None] = lambda: None,
    keep_weights: bool = False,
    keep_cache: bool = False,
) -> Layout:
    """The layout given, or the padded one that a forward's documented arguments describe.

    Args:
        model: a ``PreTrainedModel``; makes the masks by its configuration.
        tokens: any tensor of the tokens' shape, ``[B, L]`` unless there is a layout.
        layout: replaces the arguments that follow.
        attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps, 0 hides; None hides nothing.
        position_ids: ``[B, L]``.
        head_mask: ``[N]`` or ``[layers, N]``.
        past_key_values: of each layer, ``[B, M, S, D]``.
        count: how a padded batch is numbered that comes without ``position_ids``; None or the
            default: from the length of the cache on.
        keep_weights: collect the attention weights.
        keep_cache: collect keys and values.

    Raises:
        ValueError: a layout together with an argument that it replaces; names it.
    """
    if layout is not None:
        replaced = {
            "attention_mask": attention_mask, "position_ids": position_ids,
            "head_mask": head_mask, "past_key_values": past_key_values,
            "output_attentions": keep_weights or None,
        }  # fmt: skip
        if given := [name for name, value in replaced.items() if value is not None]:
            raise ValueError(f"{', '.join(given)} given with a layout, which says that itself")
        return layout
    batch, length = tokens.shape
    if position_ids is None:
        position_ids = count()
    if position_ids is None:
        past = past_key_values[0][0].shape[2] if past_key_values is not None else 0
        positions = torch.arange(past, past + length, device=tokens.device)
        position_ids = positions.expand(batch, length)
    mask = None
    if attention_mask is not None:
        mask = model.get_extended_attention_mask(attention_mask, (batch, length))
    heads = model.get_head_mask(head_mask, model.config.num_hidden_layers)
    return PaddedLayout(
        position_ids, mask, model.is_causal, heads, past_key_values, keep_weights, keep_cache
    )


def memory_for(
    model: Any,
    states: Tensor | None,
    mask: Tensor | None,
    *,
    layouts: tuple[Layout, Layout | None],
    head_mask: Tensor | None = None,
    past_key_values: Sequence[Sequence[Tensor]] | None = None,
    keep_weights: bool = False,
    keep_cache: bool = False,
) -> Memory | None:
    """How a decoder's tokens see an encoder's states; None without them.

    Args:
        model: the decoder.
        states: ``[B, S, H]``, or ``[T, H]`` if both are packed.
        mask: ``[B, S]`` or ``[B, L, S]`` over the states.
        layouts: the decoder's, and the encoder's unless it is padded.
        head_mask: ``[N]`` or ``[layers, N]``.
        past_key_values: of each layer four tensors, the last two the memory's.
        keep_weights: collect the attention weights.
        keep_cache: collect keys and values.

    Raises:
        ValueError: one of the two sides is packed and the other is not; packed ones with an
            argument that they replace.
    """
    if states is None:
        return None
    packed = [layout for layout in layouts if isinstance(layout, PackedLayout)]
    if len(packed) == 1:
        raise ValueError("decoder and encoder must both be packed, or neither")
    if packed:
        replaced = {"mask": mask, "head_mask": head_mask, "past_key_values": past_key_values}
        if given := [name for name, value in replaced.items() if value is not None]:
            raise ValueError(f"{', '.join(given)} over the encoder given with layouts")
        return PackedMemory(*packed)
    extended = None if mask is None else model.invert_attention_mask(mask)
    heads = model.get_head_mask(head_mask, model.config.num_hidden_layers)
    return PaddedMemory(extended, heads, past_key_values, keep_weights, keep_cache)


def as_causal(layout: Layout) -> Layout:
    """The same tokens, each of which sees only itself and those before it."""
    if isinstance(layout, PaddedLayout):
        return replace(layout, causal=True, weights=[], present=[])
    twin: Any = copy.copy(layout)
    twin.causal = True
    return cast(Layout, twin)


def weights_of(layout: Layout | Memory | None) -> tuple[Tensor, ...] | None:
    """The attention weights that a padded layout or memory collected; None if it did not."""
    if isinstance(layout, PaddedLayout | PaddedMemory):
        return tuple(layout.weights) or None
    return None


def cache_of(layout: Layout, memory: Memory | None = None) -> tuple[tuple[Tensor, ...], ...] | None:
    """What padded ones collected: for each layer keys and values, then the memory's; or None."""
    if not isinstance(layout, PaddedLayout) or not layout.present:
        return None
    if not isinstance(memory, PaddedMemory):
        return tuple(layout.present)
    return tuple((*own, *far) for own, far in zip(layout.present, memory.present, strict=True))
