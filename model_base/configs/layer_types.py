"""Which layers of a decoder see all earlier tokens, and which only those nearby.

Configurations name each layer's type in ``layer_types``; ``sliding_window`` counts the tokens
that a windowed layer sees, its own included.
"""

from typing import Any

from model_base.errors import UnsupportedConfig

FULL, SLIDING = "full_attention", "sliding_attention"


def window_of(config: Any, layer: int) -> int | None:
    """How far back a layer sees; None means to the start."""
    if config.layer_types[layer] == FULL or config.sliding_window is None:
        return None
    return int(config.sliding_window) - 1


def check_layer_types(config: Any) -> None:
    """Refuse types that are not implemented.

    Raises:
        UnsupportedConfig: an unknown type, or fewer types than layers.
    """
    types = config.layer_types
    if len(types) < config.num_hidden_layers or not set(types) <= {FULL, SLIDING}:
        wanted = f"{config.num_hidden_layers} of {FULL!r} or {SLIDING!r}"
        raise UnsupportedConfig("layer_types", types, wanted)
