"""Gemma 3, text only (Gemma Team 2025, arXiv:2503.19786)."""

from typing import Any, ClassVar

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.configs.bounds import check_fields
from model_base.configs.layer_types import FULL, SLIDING, check_layer_types
from model_base.configs.rotary import Rope, rope_of


class Gemma3TextConfig(PretrainedConfig):
    """Hyperparameters of Gemma 3's text model; the defaults are those of Transformers.

    Without ``layer_types`` every sixth layer (or ``sliding_window_pattern``) sees all earlier
    tokens, the others ``sliding_window`` of them. The latter turn by ``rope_local_base_freq``.

    Source: transformers 4.57.3, ``configuration_gemma3.py``.
    """

    model_type: ClassVar[str] = "gemma3_text"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_activation": tuple(KINDS),
        "use_bidirectional_attention": (None, False),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "Gemma3TextModel",
        "AutoModelForCausalLM": "Gemma3ForCausalLM",
        "AutoModelForSequenceClassification": "Gemma3TextForSequenceClassification",
    }

    def __init__(
        self,
        vocab_size: int = 262208,
        hidden_size: int = 2304,
        intermediate_size: int = 9216,
        num_hidden_layers: int = 26,
        num_attention_heads: int = 8,
        num_key_value_heads: int = 4,
        head_dim: int = 256,
        hidden_activation: str = "gelu_pytorch_tanh",
        max_position_embeddings: int = 131072,
        initializer_range: float = 0.02,
        rms_norm_eps: float = 1e-6,
        use_cache: bool = True,
        pad_token_id: int | None = 0,
        eos_token_id: Any = 1,
        bos_token_id: int | None = 2,
        tie_word_embeddings: bool = True,
        rope_theta: float = 1000000.0,
        attention_bias: bool = False,
        attention_dropout: float = 0.0,
        query_pre_attn_scalar: float = 256,
        sliding_window: int | None = 4096,
        layer_types: list[str] | None = None,
        final_logit_softcapping: float | None = None,
        attn_logit_softcapping: float | None = None,
        rope_scaling: dict[str, Any] | None = None,
        rope_local_base_freq: float = 10000.0,
        **kwargs: Any,
    ) -> None:
        pattern = kwargs.pop("sliding_window_pattern", 6)
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            tie_word_embeddings=tie_word_embeddings, **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.head_dim = head_dim
        self.hidden_activation = hidden_activation
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.rope_theta = rope_theta
        self.attention_bias = attention_bias
        self.attention_dropout = attention_dropout
        self.query_pre_attn_scalar = query_pre_attn_scalar
        self.sliding_window = sliding_window
        check_fields(vars(self) | {"sliding_window_pattern": pattern})
        if layer_types is None:
            layer_types = [
                SLIDING if (layer + 1) % pattern else FULL for layer in range(num_hidden_layers)
            ]
        self.layer_types = layer_types
        self.final_logit_softcapping = final_logit_softcapping
        self.attn_logit_softcapping = attn_logit_softcapping
        self.rope_scaling = rope_scaling
        self.rope_local_base_freq = rope_local_base_freq

    def rope(self, layer_type: str) -> Rope:
        """The rotary embeddings of one type of layer."""
        if layer_type == FULL or layer_type in (getattr(self, "rope_parameters", None) or {}):
            return rope_of(self, layer_type)
        theta = float(self.rope_local_base_freq)
        return Rope("default", theta, self.head_dim, self.max_position_embeddings)

    @override
    def check_supported(self) -> None:
        super().check_supported()
        check_layer_types(self)
        for layer_type in set(self.layer_types):
            self.rope(layer_type)
