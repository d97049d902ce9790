"""ModernBERT (Warner et al. 2024, arXiv:2412.13663)."""

from dataclasses import replace
from typing import Any, ClassVar

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.configs.bounds import check_fields
from model_base.configs.layer_types import FULL, SLIDING, check_layer_types
from model_base.configs.rotary import Rope, rope_of


class ModernBertConfig(PretrainedConfig):
    """Hyperparameters of ModernBERT; the defaults are those of ModernBERT-base.

    Without ``layer_types`` every layer whose number ``global_attn_every_n_layers`` divides sees
    all tokens, the others those at most ``local_attention // 2`` away.

    Source: transformers 4.57.3 and 5.23, ``configuration_modernbert.py``.
    """

    model_type: ClassVar[str] = "modernbert"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_activation": tuple(KINDS),
        "classifier_activation": tuple(KINDS),
        "classifier_pooling": ("cls", "mean"),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "ModernBertModel",
        "AutoModelForMaskedLM": "ModernBertForMaskedLM",
        "AutoModelForSequenceClassification": "ModernBertForSequenceClassification",
        "AutoModelForTokenClassification": "ModernBertForTokenClassification",
        "AutoModelForQuestionAnswering": "ModernBertForQuestionAnswering",
        "AutoModelForMultipleChoice": "ModernBertForMultipleChoice",
    }

    def __init__(
        self,
        vocab_size: int = 50368,
        hidden_size: int = 768,
        intermediate_size: int = 1152,
        num_hidden_layers: int = 22,
        num_attention_heads: int = 12,
        hidden_activation: str = "gelu",
        max_position_embeddings: int = 8192,
        initializer_range: float = 0.02,
        initializer_cutoff_factor: float = 2.0,
        norm_eps: float = 1e-5,
        norm_bias: bool = False,
        pad_token_id: int | None = 50283,
        eos_token_id: int | None = 50282,
        bos_token_id: int | None = 50281,
        cls_token_id: int | None = 50281,
        sep_token_id: int | None = 50282,
        global_rope_theta: float = 160000.0,
        attention_bias: bool = False,
        attention_dropout: float = 0.0,
        global_attn_every_n_layers: int = 3,
        local_attention: int = 128,
        local_rope_theta: float | None = 10000.0,
        embedding_dropout: float = 0.0,
        mlp_bias: bool = False,
        mlp_dropout: float = 0.0,
        decoder_bias: bool = True,
        classifier_pooling: str = "cls",
        classifier_dropout: float = 0.0,
        classifier_bias: bool = False,
        classifier_activation: str = "gelu",
        sparse_prediction: bool = False,
        sparse_pred_ignore_index: int = -100,
        layer_types: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pad_token_id=pad_token_id, eos_token_id=eos_token_id, bos_token_id=bos_token_id,
            sep_token_id=sep_token_id, **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.hidden_activation = hidden_activation
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.initializer_cutoff_factor = initializer_cutoff_factor
        self.norm_eps = norm_eps
        self.norm_bias = norm_bias
        self.cls_token_id = cls_token_id
        self.global_rope_theta = global_rope_theta
        self.attention_bias = attention_bias
        self.attention_dropout = attention_dropout
        self.global_attn_every_n_layers = global_attn_every_n_layers
        self.local_attention = local_attention
        self.local_rope_theta = local_rope_theta
        self.embedding_dropout = embedding_dropout
        self.mlp_bias = mlp_bias
        self.mlp_dropout = mlp_dropout
        self.decoder_bias = decoder_bias
        self.classifier_pooling = classifier_pooling
        self.classifier_dropout = classifier_dropout
        self.classifier_bias = classifier_bias
        self.classifier_activation = classifier_activation
        self.sparse_prediction = sparse_prediction
        self.sparse_pred_ignore_index = sparse_pred_ignore_index
        check_fields(vars(self))
        every = global_attn_every_n_layers
        if layer_types is None:
            layer_types = [SLIDING if i % every else FULL for i in range(num_hidden_layers)]
        self.layer_types = layer_types

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def window(self, layer: int) -> int | None:
        """How far a layer sees, in both directions; None means everything."""
        return None if self.layer_types[layer] == FULL else self.local_attention // 2

    def rope(self, layer_type: str) -> Rope:
        """The rotary embeddings of one type of layer.

        Raises:
            UnsupportedConfig: a kind that is not implemented; names it.
        """
        rope = rope_of(self, layer_type)
        stored = (getattr(self, "rope_parameters", None) or {}).get(layer_type) or {}
        if "rope_theta" in stored:
            return rope
        local = self.local_rope_theta
        theta = self.global_rope_theta if layer_type == FULL or local is None else local
        return replace(rope, theta=float(theta))

    @override
    def check_supported(self) -> None:
        super().check_supported()
        check_layer_types(self)
        for layer_type in set(self.layer_types):
            self.rope(layer_type)
