"""A small configuration of every architecture: what the contract suite runs over."""

from collections.abc import Callable
from typing import Any

from model_base import (
    AlbertConfig,
    BartConfig,
    BertConfig,
    CamembertConfig,
    CLIPConfig,
    CLIPTextConfig,
    CLIPVisionConfig,
    DistilBertConfig,
    ElectraConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    OPTConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    SiglipConfig,
    SiglipTextConfig,
    SiglipVisionConfig,
    T5Config,
    ViTConfig,
    Wav2Vec2Config,
    WhisperConfig,
    XLMRobertaConfig,
)

_TEXT: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "num_labels": 3,
}

_IMAGE: dict[str, Any] = {"image_size": 12, "patch_size": 4}
_CLIP_TEXT: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1}

SMALL: dict[type, Callable[..., Any]] = {
    AlbertConfig: lambda **fields: AlbertConfig(
        **_TEXT
        | {"embedding_size": 24, "num_hidden_layers": 4, "num_hidden_groups": 2}
        | fields
    ),
    BartConfig: lambda **fields: BartConfig(
        **{
            "vocab_size": 61, "d_model": 32, "max_position_embeddings": 40, "num_labels": 3,
            "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 48,
            "decoder_layers": 3, "decoder_attention_heads": 2, "decoder_ffn_dim": 40,
        }
        | fields
    ),
    BertConfig: lambda **fields: BertConfig(**_TEXT | fields),
    DistilBertConfig: lambda **fields: DistilBertConfig(
        **{
            "vocab_size": 61, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48,
            "max_position_embeddings": 40, "num_labels": 3,
        }
        | fields
    ),
    ElectraConfig: lambda **fields: ElectraConfig(**_TEXT | {"embedding_size": 24} | fields),
    Gemma2Config: lambda **fields: Gemma2Config(
        **_TEXT
        | {
            "num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 12,
            "sliding_window": 4,
        }
        | fields
    ),
    Gemma3TextConfig: lambda **fields: Gemma3TextConfig(
        **_TEXT
        | {
            "num_key_value_heads": 2, "head_dim": 8, "query_pre_attn_scalar": 12,
            "sliding_window": 4, "sliding_window_pattern": 2,
        }
        | fields
    ),
    GPT2Config: lambda **fields: GPT2Config(
        **{
            "vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40,
            "num_labels": 3, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
        }
        | fields
    ),
    CamembertConfig: lambda **fields: CamembertConfig(**_TEXT | fields),
    GPTNeoXConfig: lambda **fields: GPTNeoXConfig(
        **_TEXT | {"rotary_pct": 0.5, "pad_token_id": 0} | fields
    ),
    LlamaConfig: lambda **fields: LlamaConfig(
        **_TEXT | {"num_key_value_heads": 2, "pad_token_id": 0} | fields
    ),
    MistralConfig: lambda **fields: MistralConfig(
        **_TEXT | {"num_key_value_heads": 2, "pad_token_id": 0, "sliding_window": 4} | fields
    ),
    ModernBertConfig: lambda **fields: ModernBertConfig(
        **_TEXT
        | {
            "num_hidden_layers": 3, "local_attention": 4, "classifier_pooling": "mean",
            "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 1, "cls_token_id": 1,
            "sep_token_id": 2,
        }
        | fields
    ),
    OPTConfig: lambda **fields: OPTConfig(
        **{"ffn_dim": 48, "word_embed_proj_dim": 24}
        | {name: value for name, value in _TEXT.items() if name != "intermediate_size"}
        | fields
    ),
    Qwen2Config: lambda **fields: Qwen2Config(
        **_TEXT
        | {
            "num_key_value_heads": 2, "pad_token_id": 0, "use_sliding_window": True,
            "sliding_window": 4, "max_window_layers": 1,
        }
        | fields
    ),
    Qwen3Config: lambda **fields: Qwen3Config(
        **_TEXT
        | {
            "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0, "use_sliding_window": True,
            "sliding_window": 4, "max_window_layers": 1,
        }
        | fields
    ),
    RobertaConfig: lambda **fields: RobertaConfig(**_TEXT | fields),
    T5Config: lambda **fields: T5Config(
        **{
            "vocab_size": 61, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2,
            "num_heads": 4, "relative_attention_num_buckets": 8, "num_labels": 3,
            "decoder_start_token_id": 0,
        }
        | fields
    ),
    ViTConfig: lambda **fields: ViTConfig(
        **_TEXT | _IMAGE | {"encoder_stride": 4} | fields
    ),
    CLIPTextConfig: lambda **fields: CLIPTextConfig(**_TEXT | _CLIP_TEXT | fields),
    CLIPVisionConfig: lambda **fields: CLIPVisionConfig(**_TEXT | _IMAGE | fields),
    CLIPConfig: lambda **fields: CLIPConfig(
        _TEXT | _CLIP_TEXT, _TEXT | _IMAGE, projection_dim=20, **fields
    ),
    XLMRobertaConfig: lambda **fields: XLMRobertaConfig(**_TEXT | fields),
    SiglipTextConfig: lambda **fields: SiglipTextConfig(
        **_TEXT | {"projection_size": 28} | fields
    ),
    SiglipVisionConfig: lambda **fields: SiglipVisionConfig(**_TEXT | _IMAGE | fields),
    SiglipConfig: lambda **fields: SiglipConfig(_TEXT, _TEXT | _IMAGE, **fields),
    Wav2Vec2Config: lambda **fields: Wav2Vec2Config(
        **_TEXT
        | {
            "conv_dim": [16, 16], "conv_stride": [3, 2], "conv_kernel": [4, 3],
            "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
            "classifier_proj_size": 24,
        }
        | fields
    ),
    WhisperConfig: lambda **fields: WhisperConfig(
        **{
            "vocab_size": 61, "d_model": 32, "num_mel_bins": 8, "num_labels": 3,
            "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 48,
            "decoder_layers": 3, "decoder_attention_heads": 2, "decoder_ffn_dim": 40,
            "max_source_positions": 10, "max_target_positions": 40, "classifier_proj_size": 24,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
        }
        | fields
    ),
}  # fmt: skip
"""By configuration class; keyword arguments override fields."""
