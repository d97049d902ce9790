"""What tasks hand to the engine and get back: arrays, no text."""

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

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
    """The forward's own arguments, or some rows of them; computed on their own.

    Attributes:
        arrays: by argument name, first axis the batch.
        num_tokens: elements of the main input, for admission and metrics.
        signature: of a SavedModel; empty for a model that has none.
        joins: whether one forward may compute it with others that are like it in all but rows.
        deadline_s: ``time.monotonic`` after which nobody waits for the answer.
    """

    arrays: Mapping[str, Array] = field(default_factory=dict)
    num_tokens: int = 1
    signature: str = ""
    joins: bool = False
    deadline_s: float = math.inf

    def is_like(self, other: "TensorWork") -> bool:
        """Whether signature, names, dtypes and every axis but the first are the same."""
        return self.signature == other.signature and self._form == other._form

    @property
    def _form(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {name: (array.dtype.str, array.shape[1:]) for name, array in self.arrays.items()}

    def parts(self, max_tokens: int) -> "list[TensorWork]":
        """The rows of the batch in groups of at most ``max_tokens`` (one row at the least).

        Between two parts other requests get their turn, and a cancelled one stops. Arrays that
        are not all ``[rows, ...]`` (labels, head masks) stay together.
        """
        least = 1 if self.joins else 2
        if any(array.ndim < least for array in self.arrays.values()):
            return [self]
        rows = {len(array) for array in self.arrays.values()}
        if len(rows) != 1:
            return [self]
        count = max(rows.pop(), 1)
        per_row = -(-self.num_tokens // count)
        step = max(1, max_tokens // max(per_row, 1))
        if step >= count:
            return [self]
        return [
            replace(
                self,
                arrays={name: array[start : start + step] for name, array in self.arrays.items()},
                num_tokens=per_row * min(step, count - start),
            )
            for start in range(0, count, step)
        ]


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


def join_parts(results: Sequence[WorkResult]) -> dict[str, Array]:
    """The outputs of all parts of a raw batch, row after row."""
    if len(results) == 1:
        return dict(results[0])
    return {name: np.concatenate([result[name] for result in results]) for name in results[0]}
