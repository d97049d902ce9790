"""CLIP (Radford et al. 2021, arXiv:2103.00020), its text half, its image half and both."""

from typing import Any, ClassVar, Self

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig, fields_of
from model_base.configs.bounds import check_square
from model_base.conversion.rules import Rule, Scalar

_RULES: tuple[Rule, ...] = (Scalar("logit_scale"),)


class CLIPTextConfig(PretrainedConfig):
    """Hyperparameters of the text half; the defaults are those of clip-vit-base-patch32.

    ``eos_token_id`` 2 is what 4.19.2 wrote for every model; the end of a text is then its largest
    id.

    Source: transformers 4.19.2, ``configuration_clip.py``.
    """

    model_type: ClassVar[str] = "clip_text_model"
    pads_embedding: ClassVar[bool] = False
    base_config_key: ClassVar[str] = "text_config"
    weight_rules: ClassVar[tuple[Rule, ...]] = _RULES
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {"hidden_act": tuple(KINDS)}
    heads: ClassVar[dict[str, str]] = {"AutoModel": "CLIPTextModel"}

    def __init__(
        self,
        vocab_size: int = 49408,
        hidden_size: int = 512,
        intermediate_size: int = 2048,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 8,
        max_position_embeddings: int = 77,
        hidden_act: str = "quick_gelu",
        layer_norm_eps: float = 1e-5,
        attention_dropout: float = 0.0,
        initializer_range: float = 0.02,
        initializer_factor: float = 1.0,
        pad_token_id: int | None = 1,
        bos_token_id: int | None = 0,
        eos_token_id: int | None = 2,
        projection_dim: int = 512,
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
        self.initializer_range = initializer_range
        self.initializer_factor = initializer_factor
        self.projection_dim = projection_dim


class CLIPVisionConfig(PretrainedConfig):
    """Hyperparameters of the image half; the defaults are those of clip-vit-base-patch32.

    Source: transformers 4.19.2, ``configuration_clip.py``.
    """

    model_type: ClassVar[str] = "clip_vision_model"
    base_config_key: ClassVar[str] = "vision_config"
    weight_rules: ClassVar[tuple[Rule, ...]] = _RULES
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {"hidden_act": tuple(KINDS)}
    heads: ClassVar[dict[str, str]] = {"AutoModel": "CLIPVisionModel"}

    def __init__(
        self,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        image_size: int = 224,
        patch_size: int = 32,
        hidden_act: str = "quick_gelu",
        layer_norm_eps: float = 1e-5,
        attention_dropout: float = 0.0,
        initializer_range: float = 0.02,
        initializer_factor: float = 1.0,
        num_channels: int = 3,
        projection_dim: int = 512,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range
        self.initializer_factor = initializer_factor
        self.num_channels = num_channels
        self.projection_dim = projection_dim

    @override
    def check_supported(self) -> None:
        super().check_supported()
        check_square(self)


class CLIPConfig(PretrainedConfig):
    """Both halves, and the size of the space in which they meet.

    Args:
        text_config: fields of the text half, or its configuration.
        vision_config: the same for the image half.
        projection_dim: width of the common space.
        logit_scale_init_value: how the logarithm of the scores' scale starts.
        kwargs: other fields; ``text_config_dict`` and ``vision_config_dict``, which 4.19.2 wrote
            and read, replace the two above.

    Source: transformers 4.19.2 and 4.57.3, ``configuration_clip.py``.
    """

    model_type: ClassVar[str] = "clip"
    is_composition: ClassVar[bool] = True
    weight_rules: ClassVar[tuple[Rule, ...]] = _RULES
    heads: ClassVar[dict[str, str]] = {
        "AutoModelForZeroShotImageClassification": "CLIPModel",
        "AutoModel": "CLIPModel",
    }

    def __init__(
        self,
        text_config: Any = None,
        vision_config: Any = None,
        projection_dim: int = 512,
        logit_scale_init_value: float = 2.6592,
        **kwargs: Any,
    ) -> None:
        text = kwargs.pop("text_config_dict", None) or text_config
        vision = kwargs.pop("vision_config_dict", None) or vision_config
        super().__init__(**kwargs)
        self.text_config = CLIPTextConfig(**fields_of("text_config", text))
        self.vision_config = CLIPVisionConfig(**fields_of("vision_config", vision))
        self.projection_dim = projection_dim
        self.logit_scale_init_value = logit_scale_init_value

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
        cls, text_config: CLIPTextConfig, vision_config: CLIPVisionConfig, **kwargs: Any
    ) -> Self:
        """A configuration of two halves."""
        return cls(text_config, vision_config, **kwargs)
