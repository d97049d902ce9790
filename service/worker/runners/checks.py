"""What raw tensors are refused for before the model computes on them."""

from collections.abc import Mapping

from service.core.messages import Array
from service.worker.runners.base import InputRejected

_MASK = "attention_mask"


def check_ids(arrays: Mapping[str, Array], limits: Mapping[str, int]) -> None:
    """Refuse ids that no embedding has.

    Args:
        arrays: by argument name.
        limits: valid ids of an argument are below it.

    Raises:
        InputRejected: naming the argument, the values seen and those accepted.
    """
    for name, limit in limits.items():
        array = arrays.get(name)
        if array is not None and array.size and not 0 <= array.min() <= array.max() < limit:
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
