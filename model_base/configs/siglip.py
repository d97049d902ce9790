"""SigLIP (Zhai et al. 2023, arXiv:2303.15343), its text half, its image half and both."""

from typing import Any, ClassVar, Self

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig, fields_of
from model_base.configs.bounds import check_square


class SiglipTextConfig(PretrainedConfig):
    """Hyperparameters of the text half; the defaults are those of siglip-base-patch16-224.

    Source: transformers 4.57.3, ``configuration_siglip.py``.
    """

    model_type: ClassVar[str] = "siglip_text_model"
    pads_embedding: ClassVar[bool] = False
    base_config_key: ClassVar[str] = "text_config"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {"hidden_act": tuple(KINDS)}
    heads: ClassVar[dict[str, str]] = {"AutoModel": "SiglipTextModel"}

    def __init__(
        self,
        vocab_size: int = 32000,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        max_position_embeddings: int = 64,
        hidden_act: str = "gelu_pytorch_tanh",
        layer_norm_eps: float = 1e-6,
        attention_dropout: float = 0.0,
        pad_token_id: int | None = 1,
        bos_token_id: int | None = 49406,
        eos_token_id: int | None = 49407,
        projection_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.attention_dropout = attention_dropout
        self.projection_size = hidden_size if projection_size is None else projection_size


class SiglipVisionConfig(PretrainedConfig):
    """Hyperparameters of the image half; the defaults are those of siglip-base-patch16-224.

    Source: transformers 4.57.3, ``configuration_siglip.py``.
    """

    model_type: ClassVar[str] = "siglip_vision_model"
    base_config_key: ClassVar[str] = "vision_config"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {"hidden_act": tuple(KINDS)}
    heads: ClassVar[dict[str, str]] = {"AutoModel": "SiglipVisionModel"}

    def __init__(
        self,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        num_channels: int = 3,
        image_size: int = 224,
        patch_size: int = 16,
        hidden_act: str = "gelu_pytorch_tanh",
        layer_norm_eps: float = 1e-6,
        attention_dropout: float = 0.0,
        vision_use_head: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_channels = num_channels
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.attention_dropout = attention_dropout
        self.vision_use_head = vision_use_head

    @override
    def check_supported(self) -> None:
        super().check_supported()
        check_square(self)


class SiglipConfig(PretrainedConfig):
    """Both halves.

    Args:
        text_config: fields of the text half, or its configuration.
        vision_config: the same for the image half.
        kwargs: other fields.

    Source: transformers 4.57.3, ``configuration_siglip.py``.
    """

    model_type: ClassVar[str] = "siglip"
    is_composition: ClassVar[bool] = True
    heads: ClassVar[dict[str, str]] = {
        "AutoModelForZeroShotImageClassification": "SiglipModel",
        "AutoModel": "SiglipModel",
        "AutoModelForImageClassification": "SiglipForImageClassification",
    }

    def __init__(self, text_config: Any = None, vision_config: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text_config = SiglipTextConfig(**fields_of("text_config", text_config))
        self.vision_config = SiglipVisionConfig(**fields_of("vision_config", vision_config))

    @property
    @override
    def max_tokens(self) -> int:
        return self.text_config.max_tokens

    @property
    @override
    def id_limits(self) -> dict[str, int]:
        return self.text_config.id_limits

    @classmethod
    def from_text_vision_configs(
        cls, text_config: SiglipTextConfig, vision_config: SiglipVisionConfig, **kwargs: Any
    ) -> Self:
        """A configuration of two halves."""
        return cls(text_config, vision_config, **kwargs)
