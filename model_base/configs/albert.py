"""ALBERT (Lan et al. 2019, arXiv:1909.11942)."""

from typing import Any, ClassVar

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.conversion.rules import Rule, Same


class AlbertConfig(PretrainedConfig):
    """Hyperparameters of ALBERT; the defaults are those of albert-xxlarge-v2.

    The ``num_hidden_layers`` use ``num_hidden_groups`` groups of weights one after another, each
    for as many layers; a group is ``inner_group_num`` layers deep.

    Source: transformers 4.19.2, ``configuration_albert.py``.
    """

    model_type: ClassVar[str] = "albert"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": tuple(KINDS),
        "position_embedding_type": ("absolute", "relative_key", "relative_key_query"),
    }
    weight_rules: ClassVar[tuple[Rule, ...]] = (
        Same("predictions.bias", "predictions.decoder.bias"),
    )
    heads: ClassVar[dict[str, str]] = {
        "AutoModel": "AlbertModel",
        "AutoModelForPreTraining": "AlbertForPreTraining",
        "AutoModelForMaskedLM": "AlbertForMaskedLM",
        "AutoModelForSequenceClassification": "AlbertForSequenceClassification",
        "AutoModelForTokenClassification": "AlbertForTokenClassification",
        "AutoModelForQuestionAnswering": "AlbertForQuestionAnswering",
        "AutoModelForMultipleChoice": "AlbertForMultipleChoice",
    }

    def __init__(
        self,
        vocab_size: int = 30000,
        embedding_size: int = 128,
        hidden_size: int = 4096,
        num_hidden_layers: int = 12,
        num_hidden_groups: int = 1,
        num_attention_heads: int = 64,
        intermediate_size: int = 16384,
        inner_group_num: int = 1,
        hidden_act: str = "gelu_new",
        hidden_dropout_prob: float = 0,
        attention_probs_dropout_prob: float = 0,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        classifier_dropout_prob: float = 0.1,
        position_embedding_type: str = "absolute",
        pad_token_id: int | None = 0,
        bos_token_id: int | None = 2,
        eos_token_id: int | None = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            **kwargs,
        )  # fmt: skip
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_hidden_groups = num_hidden_groups
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.inner_group_num = inner_group_num
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.classifier_dropout_prob = classifier_dropout_prob
        self.position_embedding_type = position_embedding_type
