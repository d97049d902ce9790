"""What tasks hand to the engine and get back: arrays, no text."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.core.messages import Array


class Want(enum.StrEnum):
    """Which output of the model a sequence is computed for; nothing else is sent back."""

    EMBEDDING = "embedding"
    """One pooled vector ``[dims]`` float32, under the key ``embedding``; not normalised."""
    HIDDEN = "last_hidden_state"
    """One vector per token ``[length, dims]`` float32."""
    LOGITS = "logits"
    """The head's outputs, float32: ``logits`` ``[labels]`` or ``[length, labels]``; for
    question answering ``start_logits`` and ``end_logits`` ``[length]``."""


@dataclass(frozen=True, slots=True)
class SequenceWork:
    """One tokenised text; batched with others, packed end to end.

    Attributes:
        input_ids: int32 ``[length]``, special tokens included, no padding.
        token_type_ids: int32 ``[length]``; None means zeros.
        want: what is sent back.
    """

    input_ids: Array
    want: Want
    token_type_ids: Array | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens the model computes on."""
        return int(self.input_ids.shape[0])


@dataclass(frozen=True, slots=True)
class TensorWork:
    """The forward's own arguments; computed as they are, on their own.

    Attributes:
        arrays: by argument name, first axis the batch.
        num_tokens: elements of the main input, for admission and metrics.
    """

    arrays: Mapping[str, Array] = field(default_factory=dict)
    num_tokens: int = 1


WorkItem = SequenceWork | TensorWork
WorkResult = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Pooling:
    """How token vectors become one vector, as sentence-transformers' ``Pooling`` names it.

    Attributes:
        modes: one or more of ``cls max mean mean_sqrt_len_tokens weightedmean lasttoken``;
            their vectors are concatenated in this order.
    """

    modes: tuple[str, ...]
