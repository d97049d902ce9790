"""Raw tensors on their way to a model: which signature of it they are for, and what they cost."""

import math
from collections.abc import Mapping

import numpy as np

from service.core.errors import BadRequest
from service.core.messages import Array, ModelFacts, SignatureFacts, TensorFacts
from service.core.work import TensorWork

DEFAULT_SIGNATURE = "serving_default"
_VALUES_PER_TOKEN = 1024
"""How many values of a row of fixed shape cost about what a token does."""


def default_signature(signatures: Mapping[str, SignatureFacts]) -> str | None:
    """The signature that is meant when none is named; None if that is not clear."""
    if DEFAULT_SIGNATURE in signatures:
        return DEFAULT_SIGNATURE
    return next(iter(signatures)) if len(signatures) == 1 else None


def choose_signature(wanted: str | None, facts: ModelFacts) -> str:
    """Name of the signature; empty for a model that has none.

    Raises:
        BadRequest: it has no signature of that name, or several and none is named.
    """
    if not facts.signatures:
        if wanted in (None, DEFAULT_SIGNATURE):
            return ""
        raise BadRequest(f"signature is {wanted!r:.80}; accepted: none, this model has its forward")
    name = default_signature(facts.signatures) if wanted is None else wanted
    if name is None or name not in facts.signatures:
        seen = "not given" if wanted is None else repr(wanted)[:80]
        raise BadRequest(f"signature is {seen}; accepted: {', '.join(facts.signatures)}")
    return name


def signature_parts(
    name: str,
    signature: SignatureFacts,
    arrays: Mapping[str, Array],
    max_tokens: int,
    deadline_s: float = math.inf,
) -> list[TensorWork]:
    """The work of one call, in groups of rows if rows are independent of each other."""
    rows = {len(array) if array.ndim else None for array in arrays.values()}
    joins = signature.is_batched and len(rows) == 1
    work = TensorWork(arrays, signature_tokens(signature, arrays), name, joins, deadline_s)
    return work.parts(max_tokens) if joins else [work]


def signature_tokens(signature: SignatureFacts, arrays: Mapping[str, Array]) -> int:
    """What a call costs: elements along the axes of any length, or values by the thousand."""
    costs = [
        max(_variable_size(array, signature.inputs.get(name)), array.size // _VALUES_PER_TOKEN)
        for name, array in arrays.items()
    ]
    return max(costs, default=1) or 1


def _variable_size(array: Array, facts: TensorFacts | None) -> int:
    if facts is None or facts.shape is None or len(facts.shape) != array.ndim:
        return math.prod(array.shape[:2])
    return math.prod(
        n for n, wanted in zip(array.shape, facts.shape, strict=True) if wanted is None
    )


def plain_arrays(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Arrays for a model without signatures: of numbers, floats being float32.

    Raises:
        BadRequest: one is of texts, or has a finite number that float32 does not.
    """
    return {name: _plain(name, array) for name, array in arrays.items()}


def _plain(name: str, array: Array) -> Array:
    if array.dtype == object:
        raise BadRequest(f"inputs.{name}: got texts; expected integers, numbers or booleans")
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if (np.isinf(single) & np.isfinite(array)).any():
        raise BadRequest(f"inputs.{name}: has a number out of the range of float32")
    return single
