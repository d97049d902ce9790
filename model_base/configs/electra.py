"""ELECTRA (Clark et al. 2020, arXiv:2003.10555)."""

from typing import Any, ClassVar

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig


class ElectraConfig(PretrainedConfig):
    """Hyperparameters of ELECTRA; the defaults are those of electra-small-discriminator.

    Source: transformers 4.19.2, ``configuration_electra.py``.
    """

    model_type: ClassVar[str] = "electra"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": tuple(KINDS),
        "position_embedding_type": ("absolute", "relative_key", "relative_key_query"),
        "summary_type": ("first",),
        "summary_use_proj": (True,),
        "summary_activation": tuple(KINDS),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "ElectraModel",
        "AutoModelForMaskedLM": "ElectraForMaskedLM",
        "AutoModelForCausalLM": "ElectraForCausalLM",
        "AutoModelForSequenceClassification": "ElectraForSequenceClassification",
        "AutoModelForTokenClassification": "ElectraForTokenClassification",
        "AutoModelForQuestionAnswering": "ElectraForQuestionAnswering",
        "AutoModelForMultipleChoice": "ElectraForMultipleChoice",
        "AutoModelForPreTraining": "ElectraForPreTraining",
    }
    tasks: ClassVar[dict[str, str]] = {"AutoModelForPreTraining": "replaced-token-detection"}

    def __init__(
        self,
        vocab_size: int = 30522,
        embedding_size: int = 128,
        hidden_size: int = 256,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 4,
        intermediate_size: int = 1024,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        summary_type: str = "first",
        summary_use_proj: bool = True,
        summary_activation: str = "gelu",
        summary_last_dropout: float = 0.1,
        pad_token_id: int | None = 0,
        position_embedding_type: str = "absolute",
        use_cache: bool = True,
        classifier_dropout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.summary_type = summary_type
        self.summary_use_proj = summary_use_proj
        self.summary_activation = summary_activation
        self.summary_last_dropout = summary_last_dropout
        self.position_embedding_type = position_embedding_type
        self.use_cache = use_cache
        self.classifier_dropout = classifier_dropout
