"""A small configuration of every architecture: what the contract suite runs over."""

from collections.abc import Callable
from typing import Any

from model_base import BertConfig, LlamaConfig, T5Config

_TEXT: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "num_labels": 3,
}

SMALL: dict[type, Callable[..., Any]] = {
    BertConfig: lambda **fields: BertConfig(**_TEXT | fields),
    LlamaConfig: lambda **fields: LlamaConfig(
        **_TEXT | {"num_key_value_heads": 2, "pad_token_id": 0} | fields
    ),
    T5Config: lambda **fields: T5Config(
        **{
            "vocab_size": 61, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2,
            "num_heads": 4, "relative_attention_num_buckets": 8, "num_labels": 3,
            "decoder_start_token_id": 0,
        }
        | fields
    ),
}  # fmt: skip
"""By configuration class; keyword arguments override fields."""
