"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108)."""

from typing import Any, ClassVar

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig


class DistilBertConfig(PretrainedConfig):
    """Hyperparameters of DistilBERT; the defaults are those of distilbert-base-uncased.

    Source: transformers 4.19.2, ``configuration_distilbert.py``.
    """

    model_type: ClassVar[str] = "distilbert"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {"activation": tuple(KINDS)}
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "DistilBertModel",
        "AutoModelForMaskedLM": "DistilBertForMaskedLM",
        "AutoModelForSequenceClassification": "DistilBertForSequenceClassification",
        "AutoModelForTokenClassification": "DistilBertForTokenClassification",
        "AutoModelForQuestionAnswering": "DistilBertForQuestionAnswering",
        "AutoModelForMultipleChoice": "DistilBertForMultipleChoice",
        "AutoModelForPreTraining": "DistilBertForMaskedLM",
    }

    def __init__(
        self,
        vocab_size: int = 30522,
        max_position_embeddings: int = 512,
        sinusoidal_pos_embds: bool = False,
        n_layers: int = 6,
        n_heads: int = 12,
        dim: int = 768,
        hidden_dim: int = 3072,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation: str = "gelu",
        initializer_range: float = 0.02,
        qa_dropout: float = 0.1,
        seq_classif_dropout: float = 0.2,
        pad_token_id: int | None = 0,
        **kwargs: Any,
    ) -> None:
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.sinusoidal_pos_embds = sinusoidal_pos_embds
        self.n_layers = n_layers
        self.n_heads = n_heads
        self.dim = dim
        self.hidden_dim = hidden_dim
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.activation = activation
        self.initializer_range = initializer_range
        self.qa_dropout = qa_dropout
        self.seq_classif_dropout = seq_classif_dropout
        super().__init__(pad_token_id=pad_token_id, **kwargs)
