"""RoBERTa (Liu et al. 2019, arXiv:1907.11692), and the same model under other names.

XLM-RoBERTa is Conneau et al. 2019, arXiv:1911.02116; CamemBERT Martin et al. 2019,
arXiv:1911.03894.
"""

from typing import Any, ClassVar

from typing_extensions import override

from model_base.activations import KINDS
from model_base.configs.base import PretrainedConfig
from model_base.configs.bounds import MAX_SIZE, whole


def _heads(prefix: str) -> dict[str, str]:
    return {
        "AutoModel": f"{prefix}Model",
        "AutoModelForMaskedLM": f"{prefix}ForMaskedLM",
        "AutoModelForCausalLM": f"{prefix}ForCausalLM",
        "AutoModelForSequenceClassification": f"{prefix}ForSequenceClassification",
        "AutoModelForTokenClassification": f"{prefix}ForTokenClassification",
        "AutoModelForQuestionAnswering": f"{prefix}ForQuestionAnswering",
        "AutoModelForMultipleChoice": f"{prefix}ForMultipleChoice",
        "AutoModelForPreTraining": f"{prefix}ForMaskedLM",
    }


class RobertaConfig(PretrainedConfig):
    """Hyperparameters of RoBERTa.

    ``max_position_embeddings`` counts the rows of the table, of which those up to
    ``pad_token_id`` stand for no place in a text.

    Source: transformers 4.19.2, ``configuration_roberta.py``.
    """

    model_type: ClassVar[str] = "roberta"
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {
        "hidden_act": tuple(KINDS),
        "position_embedding_type": ("absolute", "relative_key", "relative_key_query"),
    }
    heads: ClassVar[dict[str, str]] = _heads("Roberta")

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
        pad_token_id: int = 1,
        bos_token_id: int | None = 0,
        eos_token_id: int | None = 2,
        position_embedding_type: str = "absolute",
        use_cache: bool = True,
        classifier_dropout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
            **kwargs,
        )  # fmt: skip
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

    @property
    @override
    def max_tokens(self) -> int:
        return int(self.max_position_embeddings - self.pad_token_id - 1)

    @property
    @override
    def id_limits(self) -> dict[str, int]:
        return {**super().id_limits, "position_ids": self.max_position_embeddings}

    @override
    def check_supported(self) -> None:
        super().check_supported()
        whole(0, self.vocab_size - 1).check("pad_token_id", self.pad_token_id)
        positions = whole(self.pad_token_id + 2, MAX_SIZE)
        positions.check("max_position_embeddings", self.max_position_embeddings)


class XLMRobertaConfig(RobertaConfig):
    """Hyperparameters of XLM-RoBERTa."""

    model_type: ClassVar[str] = "xlm-roberta"
    heads: ClassVar[dict[str, str]] = _heads("XLMRoberta")


class CamembertConfig(RobertaConfig):
    """Hyperparameters of CamemBERT."""

    model_type: ClassVar[str] = "camembert"
    heads: ClassVar[dict[str, str]] = _heads("Camembert")
