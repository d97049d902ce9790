"""ViT (Dosovitskiy et al. 2020, arXiv:2010.11929)."""

from typing import Any, ClassVar

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig


class ViTConfig(PretrainedConfig):
    """Hyperparameters of ViT; the defaults are those of vit-base-patch16-224.

    ``image_size`` and ``patch_size`` are one number, or height and width.

    Source: transformers 4.19.2 and 4.57.3 (the pooler's fields), ``configuration_vit.py``.
    """

    model_type: ClassVar[str] = "vit"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": tuple(KINDS),
        "pooler_act": tuple(KINDS),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "ViTModel",
        "AutoModelForImageClassification": "ViTForImageClassification",
        "AutoModelForMaskedImageModeling": "ViTForMaskedImageModeling",
    }

    def __init__(
        self,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.0,
        attention_probs_dropout_prob: float = 0.0,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        image_size: Any = 224,
        patch_size: Any = 16,
        num_channels: int = 3,
        qkv_bias: bool = True,
        encoder_stride: int = 16,
        pooler_output_size: int | None = None,
        pooler_act: str = "tanh",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_channels = num_channels
        self.qkv_bias = qkv_bias
        self.encoder_stride = encoder_stride
        self.pooler_output_size = hidden_size if pooler_output_size is None else pooler_output_size
        self.pooler_act = pooler_act
