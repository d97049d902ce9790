"""OPT (Zhang et al. 2022, arXiv:2205.01068)."""

from typing import Any, ClassVar

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig

_FINAL_NORM_SINCE = (4, 20)
"""Before this version of Transformers the decoder ended without a LayerNorm."""


class OPTConfig(PretrainedConfig):
    """Hyperparameters of OPT; the defaults are those of the one with 125 million parameters.

    ``_remove_final_layer_norm`` None: whether the Transformers that wrote the configuration is
    older than 4.20, whose decoder had none.

    Source: transformers 4.19.2 and 4.57.3, ``configuration_opt.py``.
    """

    model_type: ClassVar[str] = "opt"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "activation_function": tuple(KINDS),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "OPTModel",
        "AutoModelForCausalLM": "OPTForCausalLM",
        "AutoModelForPreTraining": "OPTForCausalLM",
        "AutoModelForSequenceClassification": "OPTForSequenceClassification",
    }

    def __init__(
        self,
        vocab_size: int = 50272,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        ffn_dim: int = 3072,
        max_position_embeddings: int = 2048,
        do_layer_norm_before: bool = True,
        _remove_final_layer_norm: bool | None = None,
        word_embed_proj_dim: int | None = None,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        num_attention_heads: int = 12,
        activation_function: str = "relu",
        layerdrop: float = 0.0,
        init_std: float = 0.02,
        use_cache: bool = True,
        pad_token_id: int | None = 1,
        bos_token_id: int | None = 2,
        eos_token_id: int | None = 2,
        enable_bias: bool = True,
        layer_norm_elementwise_affine: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            **kwargs,
        )  # fmt: skip
        if _remove_final_layer_norm is None:
            _remove_final_layer_norm = _is_old(kwargs.get("transformers_version"))
        self._remove_final_layer_norm = _remove_final_layer_norm
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.ffn_dim = ffn_dim
        self.max_position_embeddings = max_position_embeddings
        self.do_layer_norm_before = do_layer_norm_before
        self.word_embed_proj_dim = (
            hidden_size if word_embed_proj_dim is None else word_embed_proj_dim
        )
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.num_attention_heads = num_attention_heads
        self.activation_function = activation_function
        self.layerdrop = layerdrop
        self.init_std = init_std
        self.use_cache = use_cache
        self.enable_bias = enable_bias
        self.layer_norm_elementwise_affine = layer_norm_elementwise_affine

    @property
    def has_final_layer_norm(self) -> bool:
        """Whether the decoder ends with a LayerNorm."""
        return self.do_layer_norm_before and not self._remove_final_layer_norm

    @override
    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "_remove_final_layer_norm": self._remove_final_layer_norm}


def _is_old(version: Any) -> bool:
    parts = str(version or "").split(".")[:2]
    numbers = tuple(int(part) for part in parts if part.isdecimal())
    return len(numbers) == 2 and numbers < _FINAL_NORM_SINCE
