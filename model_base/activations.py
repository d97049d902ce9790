"""Activation functions by the names that configurations use; each stack implements the kinds.

Source: transformers 4.19.2, ``activations.py`` (``ACT2FN``).
"""

from model_base.errors import UnsupportedConfig

KINDS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
    "mish": "mish",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "linear": "linear",
}


def activation_kind(name: str) -> str:
    """Return which function ``name`` means.

    Raises:
        UnsupportedConfig: the name is not in ``KINDS``.
    """
    try:
        return KINDS[name]
    except (KeyError, TypeError):
        raise UnsupportedConfig("hidden_act", name, ", ".join(KINDS)) from None
