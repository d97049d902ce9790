"""From token vectors to one vector a sequence.

Source: sentence-transformers 6.2, ``models.Pooling``. Computed in float32.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def pool(hidden_TH: Tensor, lengths: Sequence[int], modes: Sequence[str]) -> Tensor:
    """Pool packed token vectors.

    Args:
        hidden_TH: sequences end to end.
        lengths: tokens of each.
        modes: keys of ``POOLERS``; their vectors are concatenated in this order.

    Returns:
        float32 ``[B, len(modes) · H]``.
    """
    hidden_TH = hidden_TH.float()
    counts_B1 = torch.tensor(lengths, device=hidden_TH.device)[:, None]
    return torch.cat([POOLERS[mode](hidden_TH, counts_B1) for mode in modes], dim=1)


def _ends(counts_B1: Tensor) -> Tensor:
    return counts_B1[:, 0].cumsum(0)


def _sum(hidden_TH: Tensor, counts_B1: Tensor) -> Tensor:
    return torch.segment_reduce(hidden_TH, "sum", lengths=counts_B1[:, 0], axis=0)


def _weighted(hidden_TH: Tensor, counts_B1: Tensor) -> Tensor:
    """Later tokens weigh more: the n-th of a sequence counts n times."""
    counts = counts_B1[:, 0].tolist()
    weights_T = torch.cat([torch.arange(1, n + 1, device=hidden_TH.device) for n in counts])
    total_B1 = (counts_B1 * (counts_B1 + 1)) / 2
    return _sum(hidden_TH * weights_T[:, None], counts_B1) / total_B1


POOLERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": lambda hidden, counts: hidden[_ends(counts) - counts[:, 0]],
    "lasttoken": lambda hidden, counts: hidden[_ends(counts) - 1],
    "max": lambda hidden, counts: torch.segment_reduce(hidden, "max", lengths=counts[:, 0], axis=0),
    "mean": lambda hidden, counts: _sum(hidden, counts) / counts,
    "mean_sqrt_len_tokens": lambda hidden, counts: _sum(hidden, counts) / counts.sqrt(),
    "weightedmean": _weighted,
}
