"""BERT (Devlin et al. 2018, arXiv:1810.04805)."""

from typing import Any, ClassVar

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig


class BertConfig(PretrainedConfig):
    """Hyperparameters of BERT; the defaults are those of bert-base-uncased.

    Source: transformers 4.19.2, ``configuration_bert.py``.
    """

    model_type: ClassVar[str] = "bert"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": tuple(KINDS),
        "position_embedding_type": ("absolute", "relative_key", "relative_key_query"),
    }
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "BertModel",
        "AutoModelForPreTraining": "BertForPreTraining",
        "AutoModelForMaskedLM": "BertForMaskedLM",
        "AutoModelForCausalLM": "BertLMHeadModel",
        "AutoModelForSequenceClassification": "BertForSequenceClassification",
        "AutoModelForTokenClassification": "BertForTokenClassification",
        "AutoModelForQuestionAnswering": "BertForQuestionAnswering",
        "AutoModelForNextSentencePrediction": "BertForNextSentencePrediction",
        "AutoModelForMultipleChoice": "BertForMultipleChoice",
    }

    def __init__(
        self,
        vocab_size: int = 30522,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int | None = 0,
        position_embedding_type: str = "absolute",
        use_cache: bool = True,
        classifier_dropout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.vocab_size = vocab_size
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
        self.position_embedding_type = position_embedding_type
        self.use_cache = use_cache
        self.classifier_dropout = classifier_dropout
