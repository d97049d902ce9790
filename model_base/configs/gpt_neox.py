"""GPT-NeoX (Black et al. 2022, arXiv:2204.06745), and Pythia."""

from typing import Any, ClassVar

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.configs.rotary import rope_of


class GPTNeoXConfig(PretrainedConfig):
    """Hyperparameters of GPT-NeoX; the defaults are those of GPT-NeoX-20B.

    ``rotary_pct`` is the part of each head that is rotated, ``rotary_emb_base`` the base of the
    wavelengths; both may be stored under the names that other architectures use.

    Source: transformers 4.57.3, ``configuration_gpt_neox.py``.
    """

    model_type: ClassVar[str] = "gpt_neox"
    pads_embedding: ClassVar[bool] = False
    attribute_map: ClassVar[dict[str, str]] = {
        "partial_rotary_factor": "rotary_pct",
        "rope_theta": "rotary_emb_base",
    }
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": tuple(KINDS),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "GPTNeoXModel",
        "AutoModelForCausalLM": "GPTNeoXForCausalLM",
        "AutoModelForSequenceClassification": "GPTNeoXForSequenceClassification",
    }

    def __init__(
        self,
        vocab_size: int = 50432,
        hidden_size: int = 6144,
        num_hidden_layers: int = 44,
        num_attention_heads: int = 64,
        intermediate_size: int = 24576,
        hidden_act: str = "gelu",
        rotary_pct: float = 0.25,
        rotary_emb_base: float = 10000,
        attention_dropout: float = 0.0,
        hidden_dropout: float = 0.0,
        max_position_embeddings: int = 2048,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-5,
        use_cache: bool = True,
        bos_token_id: int | None = 0,
        eos_token_id: int | None = 2,
        tie_word_embeddings: bool = False,
        use_parallel_residual: bool = True,
        rope_scaling: dict[str, Any] | None = None,
        attention_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        self.rotary_pct = rotary_pct
        self.rotary_emb_base = rotary_emb_base
        super().__init__(
            bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            tie_word_embeddings=tie_word_embeddings, **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.attention_dropout = attention_dropout
        self.hidden_dropout = hidden_dropout
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.use_cache = use_cache
        self.use_parallel_residual = use_parallel_residual
        self.rope_scaling = rope_scaling
        self.attention_bias = attention_bias

    @property
    def head_dim(self) -> int:
        """Size of one head."""
        return self.hidden_size // self.num_attention_heads

    @override
    def check_supported(self) -> None:
        super().check_supported()
        rope_of(self)
