"""From the token vectors of one sequence to one vector, without a framework.

Source: sentence-transformers 6.2, ``models.Pooling``. Computed in float32.
"""

from collections.abc import Callable, Sequence

import numpy as np

from service.core.messages import Array


def pool_row(hidden_LH: Array, modes: Sequence[str]) -> Array:
    """Pool one sequence's token vectors.

    Args:
        hidden_LH: float32, no padding among them.
        modes: keys of ``POOLERS``; their vectors are concatenated in this order.

    Returns:
        float32 ``[len(modes) · H]``.
    """
    return np.concatenate([POOLERS[mode](hidden_LH) for mode in modes])


def _weighted(hidden_LH: Array) -> Array:
    """Later tokens weigh more: the n-th counts n times."""
    weights_L = np.arange(1, len(hidden_LH) + 1, dtype=np.float32)
    weighted: Array = weights_L @ hidden_LH / weights_L.sum()
    return weighted


POOLERS: dict[str, Callable[[Array], Array]] = {
    "cls": lambda hidden: hidden[0],
    "lasttoken": lambda hidden: hidden[-1],
    "max": lambda hidden: hidden.max(axis=0),
    "mean": lambda hidden: hidden.mean(axis=0),
    "mean_sqrt_len_tokens": lambda hidden: hidden.sum(axis=0) / np.float32(len(hidden) ** 0.5),
    "weightedmean": _weighted,
}
