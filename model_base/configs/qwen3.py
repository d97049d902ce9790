"""Qwen3 (Yang et al. 2025, arXiv:2505.09388), dense."""

from typing import Any, ClassVar

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.configs.bounds import check_fields
from model_base.configs.layer_types import FULL, SLIDING, check_layer_types
from model_base.configs.rotary import rope_of


class Qwen3Config(PretrainedConfig):
    """Hyperparameters of Qwen3; the defaults are those of Transformers.

    Without ``layer_types`` the layers from ``max_window_layers`` on see ``sliding_window`` tokens,
    if ``use_sliding_window``.

    Source: transformers 4.57.3, ``configuration_qwen3.py``.
    """

    model_type: ClassVar[str] = "qwen3"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": tuple(KINDS),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "Qwen3Model",
        "AutoModelForCausalLM": "Qwen3ForCausalLM",
        "AutoModelForSequenceClassification": "Qwen3ForSequenceClassification",
        "AutoModelForTokenClassification": "Qwen3ForTokenClassification",
    }

    def __init__(
        self,
        vocab_size: int = 151936,
        hidden_size: int = 4096,
        intermediate_size: int = 22016,
        num_hidden_layers: int = 32,
        num_attention_heads: int = 32,
        num_key_value_heads: int | None = 32,
        head_dim: int | None = 128,
        hidden_act: str = "silu",
        max_position_embeddings: int = 32768,
        initializer_range: float = 0.02,
        rms_norm_eps: float = 1e-6,
        use_cache: bool = True,
        tie_word_embeddings: bool = False,
        rope_theta: float = 10000.0,
        rope_scaling: dict[str, Any] | None = None,
        attention_bias: bool = False,
        use_sliding_window: bool = False,
        sliding_window: int | None = 4096,
        max_window_layers: int = 28,
        layer_types: list[str] | None = None,
        attention_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = (
            num_attention_heads if num_key_value_heads is None else num_key_value_heads
        )
        check_fields(vars(self))
        self.head_dim = hidden_size // num_attention_heads if head_dim is None else head_dim
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self.attention_bias = attention_bias
        self.use_sliding_window = use_sliding_window
        self.sliding_window = sliding_window
        self.max_window_layers = max_window_layers
        check_fields(vars(self))
        self.sliding_window = sliding_window if use_sliding_window else None
        if layer_types is None:
            layer_types = [
                FULL if self.sliding_window is None or layer < max_window_layers else SLIDING
                for layer in range(num_hidden_layers)
            ]
        self.layer_types = layer_types
        self.attention_dropout = attention_dropout

    @override
    def check_supported(self) -> None:
        super().check_supported()
        check_layer_types(self)
        rope_of(self)
