"""What raw tensors are refused for before the model computes on them."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from service.core.messages import Array
from service.worker.runners.base import InputRejected

_MASK = "attention_mask"
_LENGTH_SETTING = "limits.max_sequence_tokens"


@dataclass(frozen=True, slots=True)
class LengthLimits:
    """How long the sequences in raw tensors may be.

    Attributes:
        longest: tokens in a row, or frames of sound.
        is_set: whether a setting says so, as of a model that has no limit of its own. Its memory
            is bounded then: pairs of tokens in all rows.
        max_batch_tokens: budget of one forward.
        ids: arguments that hold ids.
        makes_ids: whether labels of several axes become a decoder's ids.
        sounds: of each argument that holds sound, the values of one frame and of each further one.
    """

    longest: int
    is_set: bool
    max_batch_tokens: int
    ids: Collection[str]
    makes_ids: bool = False
    sounds: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def check(self, arrays: Mapping[str, Array]) -> None:
        """Refuse rows of more tokens, or frames of sound, than there may be.

        Raises:
            InputRejected: naming the argument, its length and what is accepted.
        """
        setting = f" (setting {_LENGTH_SETTING})" if self.is_set else ""
        num_pairs = self.longest * max(self.longest, self.max_batch_tokens)
        for name, array in arrays.items():
            count, unit = self._length(name, array) if array.ndim else (0, "")
            if count > self.longest:
                raise InputRejected(
                    f"{name} has {count} {unit} in a row; accepted: up to {self.longest}{setting}"
                )
            if self.is_set and count and len(array) * count**2 > num_pairs:
                raise InputRejected(
                    f"{name} has {len(array)} rows of {count} {unit}, which the other tensors keep "
                    f"together; accepted: up to {num_pairs // count**2} of them{setting}"
                )

    def _length(self, name: str, array: Array) -> tuple[int, str]:
        """Length of the sequences in an array and what it counts; 0 for what is none."""
        if name in self.sounds:
            first, more = self.sounds[name]
            return 1 + (math.prod(array.shape[1:]) - first) // more, "frames"
        if name in self.ids or (self.makes_ids and name == "labels" and array.ndim > 1):
            return array.shape[-1], "tokens"
        if name.endswith("inputs_embeds") and array.ndim > 1:
            return array.shape[-2], "tokens"
        return 0, ""


def check_ids(arrays: Mapping[str, Array], limits: Mapping[str, int]) -> None:
    """Refuse ids that no embedding has, that are no integers, or that are not in rows.

    Args:
        arrays: by argument name.
        limits: valid ids of an argument are below it.

    Raises:
        InputRejected: naming the argument, what was seen and what is accepted.
    """
    for name, limit in limits.items():
        if (array := arrays.get(name)) is None:
            continue
        if array.dtype.kind not in "iu":
            raise InputRejected(f"{name} is of {array.dtype.name}; accepted: integers")
        if array.ndim < 2 and name.endswith("input_ids"):
            raise InputRejected(f"{name} is {list(array.shape)}; accepted: [rows, length]")
        if array.size and not 0 <= array.min() <= array.max() < limit:
            raise InputRejected(
                f"{name} has values from {array.min()} to {array.max()}; accepted: 0 to {limit - 1}"
            )


def check_masks(arrays: Mapping[str, Array]) -> None:
    """Refuse attention masks of other values than 0 and 1, or of another shape than their tokens.

    A mask is as its ids, ``[B, L]``, or has a row for each token, ``[B, L, L]`` (``[B, L, S]`` over
    an encoder's tokens). Masks of what has no ids (sound) are the model's to check.

    Raises:
        InputRejected: naming the mask, and what was seen and is accepted.
    """
    for name, mask in arrays.items():
        if not name.endswith(_MASK):
            continue
        if (others := mask[(mask != 0) & (mask != 1)]).size:
            raise InputRejected(f"{name} has the value {others.flat[0]}; accepted: 0 and 1")
        prefix = name.removesuffix(_MASK)
        tokens = _shape_of_tokens(arrays, prefix)
        rows = _shape_of_tokens(arrays, "") if prefix == "encoder_" else tokens
        if tokens and mask.shape not in (tokens, (*rows, tokens[-1])):
            raise InputRejected(
                f"{name} is {list(mask.shape)}; accepted: {list(tokens)}, as its tokens are"
            )


def _shape_of_tokens(arrays: Mapping[str, Array], prefix: str) -> tuple[int, ...]:
    """Shape of the tokens that a mask is for; empty if they are not given."""
    vectors = "encoder_hidden_states" if prefix == "encoder_" else f"{prefix}inputs_embeds"
    if (ids := arrays.get(f"{prefix}input_ids")) is not None:
        return tuple(ids.shape)
    return tuple(arrays[vectors].shape[:-1]) if vectors in arrays else ()


def misfit(arrays: Mapping[str, Array], error: Exception) -> InputRejected:
    """The refusal of tensors on which a model failed; in its words if they are ours."""
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
    why = f": {error}" if _is_ours(error) else ""
    return InputRejected(f"the tensors do not fit the model or each other: {shapes}{why}")


def _is_ours(error: Exception) -> bool:
    """Whether a model of ours raised it, and not its framework: its words are for the client."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals["__name__"].startswith("model_base.")
