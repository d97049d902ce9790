"""Llama (Touvron et al. 2023, arXiv:2302.13971), versions 1 to 3."""

from typing import Any, ClassVar

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.configs.bounds import check_fields
from model_base.configs.rotary import rope_of


class LlamaConfig(PretrainedConfig):
    """Hyperparameters of Llama; the defaults are those of Llama 7B.

    Source: transformers 4.57.3, ``configuration_llama.py``.
    """

    model_type: ClassVar[str] = "llama"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": tuple(KINDS),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "LlamaModel",
        "AutoModelForCausalLM": "LlamaForCausalLM",
        "AutoModelForSequenceClassification": "LlamaForSequenceClassification",
    }

    def __init__(
        self,
        vocab_size: int = 32000,
        hidden_size: int = 4096,
        intermediate_size: int = 11008,
        num_hidden_layers: int = 32,
        num_attention_heads: int = 32,
        num_key_value_heads: int | None = None,
        hidden_act: str = "silu",
        max_position_embeddings: int = 2048,
        initializer_range: float = 0.02,
        rms_norm_eps: float = 1e-6,
        use_cache: bool = True,
        pad_token_id: int | None = None,
        bos_token_id: int | None = 1,
        eos_token_id: Any = 2,
        tie_word_embeddings: bool = False,
        rope_theta: float = 10000.0,
        rope_scaling: dict[str, Any] | None = None,
        attention_bias: bool = False,
        attention_dropout: float = 0.0,
        mlp_bias: bool = False,
        head_dim: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            tie_word_embeddings=tie_word_embeddings, **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = (
            num_attention_heads if num_key_value_heads is None else num_key_value_heads
        )
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.rms_norm_eps = rms_norm_eps
        self.use_cache = use_cache
        self.rope_theta = rope_theta
        self.rope_scaling = rope_scaling
        self.attention_bias = attention_bias
        self.attention_dropout = attention_dropout
        self.mlp_bias = mlp_bias
        check_fields(vars(self))
        self.head_dim = hidden_size // num_attention_heads if head_dim is None else head_dim

    @override
    def check_supported(self) -> None:
        super().check_supported()
        rope_of(self)
