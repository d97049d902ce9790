"""Rotary position embeddings (Su et al. 2021, arXiv:2104.09864) and their ways to longer contexts.

Nothing here is stored: angles are computed from positions in each forward, in float32.

Shape letters: D rotated values of a head. ``[…]`` are the axes of the tokens.

Source: transformers 4.57.3, ``modeling_rope_utils.py`` (read as behaviour).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from model_base.configs.rotary import Rope
from model_base.torch.layouts import Layout

Angles = tuple[Tensor, Tensor]
"""Cosines and sines, each ``[…, 1, D]``: the same for every head."""


def angles(rope: Rope, layout: Layout, dtype: torch.dtype) -> Angles:
    """Cosines and sines of a layout's tokens, in ``dtype``."""
    positions = layout.positions
    frequencies, scale = _KINDS[rope.kind](rope, layout)
    half = positions[..., None].float() * frequencies.to(positions.device)
    full = torch.cat([half, half], dim=-1)[..., None, :]
    return (full.cos() * scale).to(dtype), (full.sin() * scale).to(dtype)


def rotate(heads: Tensor, angles: Angles) -> Tensor:
    """Rotate the first D values of heads ``[…, N, size]``; the others stay."""
    cos, sin = angles
    size = cos.shape[-1]
    turned, rest = heads[..., :size], heads[..., size:]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos + torch.cat([-second, first], dim=-1) * sin
    return turned if not rest.shape[-1] else torch.cat([turned, rest], dim=-1)


def _frequencies(theta: float | Tensor, size: int) -> Tensor:
    device = theta.device if isinstance(theta, Tensor) else "cpu"
    steps = torch.arange(0, size, 2, dtype=torch.float32, device=device) / size
    return 1.0 / theta**steps


def _default(rope: Rope, layout: Layout) -> tuple[Tensor, float]:
    return _frequencies(rope.theta, rope.size), 1.0


def _linear(rope: Rope, layout: Layout) -> tuple[Tensor, float]:
    return _frequencies(rope.theta, rope.size) / rope.options["factor"], 1.0


def _dynamic(rope: Rope, layout: Layout) -> tuple[Tensor, float]:
    """NTK-aware: the base grows with the sequence, once that is longer than trained for."""
    factor = rope.options["factor"]
    lengths = layout.lengths.clamp(min=rope.num_positions).float()
    growth = factor * lengths / rope.num_positions - (factor - 1)
    theta = rope.theta * growth ** (rope.size / (rope.size - 2))
    return _frequencies(theta[..., None], rope.size), 1.0


def _yarn(rope: Rope, layout: Layout) -> tuple[Tensor, float]:
    """Peng et al. 2023, arXiv:2309.00071."""
    options, size = rope.options, rope.size
    before = options.get("original_max_position_embeddings") or rope.num_positions
    factor = options.get("factor") or rope.num_positions / before

    def dimension(rotations: float) -> float:
        turns = before / (rotations * 2 * math.pi)
        return size * math.log(turns) / (2 * math.log(rope.theta))

    low, high = (dimension(options.get(n) or d) for n, d in (("beta_fast", 32), ("beta_slow", 1)))
    if options.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    places = torch.arange(size // 2, dtype=torch.float32, device="cpu")
    ramp = ((places - low) / max(high - low, 0.001)).clamp(0, 1)
    plain = _frequencies(rope.theta, size)
    return plain / factor * ramp + plain * (1 - ramp), _yarn_scale(rope, factor)


def _yarn_scale(rope: Rope, factor: float) -> float:
    options = rope.options
    if options.get("attention_factor") is not None:
        return float(options["attention_factor"])

    def growth(scale: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0

    if options.get("mscale") and options.get("mscale_all_dim"):
        return growth(options["mscale"]) / growth(options["mscale_all_dim"])
    return growth(1.0)


def _longrope(rope: Rope, layout: Layout) -> tuple[Tensor, float]:
    """Ding et al. 2024, arXiv:2402.13753: a factor for each frequency, from the config."""
    options = rope.options
    before = options.get("original_max_position_embeddings") or rope.num_positions
    factor = rope.num_positions / before
    if before == rope.num_positions:
        factor = options.get("factor") or 1.0
    is_long = (layout.lengths > before)[..., None]
    long, short = (
        torch.tensor(options[f"{name}_factor"], device=is_long.device) for name in ("long", "short")
    )
    scale = options.get("attention_factor")
    if scale is None:
        scale = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(before))
    plain = _frequencies(rope.theta, rope.size).to(is_long.device)
    return plain / torch.where(is_long, long, short), float(scale)


def _llama3(rope: Rope, layout: Layout) -> tuple[Tensor, float]:
    """Slow frequencies are divided by the factor, fast ones kept, those between mixed."""
    options = rope.options
    before, factor = options["original_max_position_embeddings"], options["factor"]
    low, high = options["low_freq_factor"], options["high_freq_factor"]
    plain = _frequencies(rope.theta, rope.size)
    share = ((before * plain / (2 * math.pi) - low) / (high - low)).clamp(0, 1)
    return plain / factor * (1 - share) + plain * share, 1.0


_KINDS: dict[str, Callable[[Rope, Layout], tuple[Tensor, float]]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "yarn": _yarn,
    "longrope": _longrope,
    "llama3": _llama3,
}
