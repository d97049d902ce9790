"""RoBERTa (Liu et al. 2019, arXiv:1907.11692) and its heads; XLM-RoBERTa and CamemBERT.

Shape letters: B batch, L length, H hidden, V vocabulary. Arguments that a head does not
explain are those of ``post_norm.Trunk.call``.

Source: transformers 4.19.2, ``modeling_tf_roberta.py`` (names, outputs, losses).
"""

from typing import Any, ClassVar

import tensorflow as tf
from typing_extensions import override

from model_base.configs.roberta import CamembertConfig, RobertaConfig, XLMRobertaConfig
from model_base.tensorflow import attention, heads, layers, post_norm
from model_base.tensorflow.arguments import Maybe
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.embeddings import VocabularyHead
from model_base.tensorflow.inputs import keras_serializable
from model_base.tensorflow.layers import Layer, Tensor


@keras_serializable
class TFRobertaMainLayer(post_norm.PooledTrunk):
    """The trunk. An encoder, or a decoder if ``config.is_decoder``.

    Args:
        config: the configuration.
        add_pooling_layer: whether ``pooler_output`` is computed.
        name: in checkpoints.
    """

    config_class: ClassVar[Any] = RobertaConfig

    def __init__(
        self, config: RobertaConfig, add_pooling_layer: bool = True, name: str = "roberta"
    ) -> None:
        super().__init__(name)
        self.config = config
        size, spread = config.hidden_size, config.initializer_range
        self.embeddings = post_norm.Embeddings(config, config.hidden_size)
        self.encoder = post_norm.Encoder(config)
        dense = [layers.dense("dense", size, size, spread)] if add_pooling_layer else None
        self.pooler = layers.Scope("pooler", dense) if dense else None

    @override
    def positions(self, input_ids: Maybe, tokens: Tensor, past: Any) -> Tensor:
        """Rows of the table; padding, where ids show it, is not counted and has its own."""
        padding = self.config.pad_token_id
        if input_ids is None:
            return attention.positions(tokens, past) + padding + 1
        is_text = tf.cast(tf.not_equal(input_ids, padding), tf.int32)
        return (tf.cumsum(is_text, axis=1) + attention.num_past(past)) * is_text + padding


class TFRobertaPreTrainedModel(TFPreTrainedModel):
    """What all RoBERTa models share: configuration, names, what is served."""

    config_class: ClassVar[Any] = RobertaConfig
    base_model_prefix = "roberta"
    can_be_pruned: ClassVar[bool] = True
    serving_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids"]


class TFRobertaModel(heads.EncoderOrDecoder, TFRobertaPreTrainedModel):
    """The trunk as a model."""

    def __init__(self, config: RobertaConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.roberta = TFRobertaMainLayer(config)


class TFRobertaLMHead(VocabularyHead):
    """Scores of the vocabulary: a transformation, then the words' own embeddings, and a bias."""

    def __init__(self, config: RobertaConfig, input_embeddings: Layer) -> None:
        super().__init__("lm_head")
        size, spread = config.hidden_size, config.initializer_range
        self.dense = layers.dense("dense", size, size, spread)
        self.layer_norm = layers.layer_norm("layer_norm", size, config.layer_norm_eps)
        self.input_embeddings = input_embeddings
        self.bias = self.variable("bias", (config.vocab_size,))

    @override
    def call(self, hidden: Tensor) -> Tensor:
        """``[B, L, H]`` → ``[B, L, V]``."""
        hidden = self.layer_norm(tf.nn.gelu(self.dense(hidden)))
        words = self.input_embeddings.word_embeddings.table
        return tf.matmul(hidden, words, transpose_b=True) + self.bias


class TFRobertaTokenPredictor(TFRobertaPreTrainedModel):
    """What the models with a vocabulary head share: the trunk and the head."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"pooler",
        r"lm_head.decoder",
    ]

    def __init__(self, config: RobertaConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.roberta = TFRobertaMainLayer(config, add_pooling_layer=False)
        self.lm_head = TFRobertaLMHead(config, self.roberta.embeddings)

    @override
    def get_lm_head(self) -> TFRobertaLMHead:
        return self.lm_head


class TFRobertaForMaskedLM(heads.MaskedTokens, TFRobertaTokenPredictor):
    """Masked tokens."""

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.lm_head(trunk.last_hidden_state)


class TFRobertaForCausalLM(heads.NextTokenWithCrossAttention, TFRobertaTokenPredictor):
    """The next token; for configurations with ``is_decoder``."""

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.lm_head(trunk.last_hidden_state)


def dropout_of(config: RobertaConfig) -> float:
    """A classifier's rate: its own, or the hidden states'."""
    own = config.classifier_dropout
    return config.hidden_dropout_prob if own is None else own


class TFRobertaForSequenceClassification(heads.SequenceClasses, TFRobertaPreTrainedModel):
    """A class for each text, or a number, read at its first token."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids", r"pooler", r"lm_head"]

    def __init__(self, config: RobertaConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.roberta = TFRobertaMainLayer(config, add_pooling_layer=False)
        size, rate, spread = config.hidden_size, dropout_of(config), config.initializer_range
        self.classifier = layers.Scope("classifier", [
            layers.DropoutDense("dense", size, size, rate, spread),
            layers.DropoutDense("out_proj", size, config.num_labels, rate, spread),
        ])  # fmt: skip

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        first = self.classifier.dense(trunk.last_hidden_state[:, 0], training=training)
        return self.classifier.out_proj(tf.tanh(first), training=training)


class TFRobertaForTokenClassification(heads.TokenClasses, TFRobertaPreTrainedModel):
    """A class for each token."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids", r"pooler", r"lm_head"]
    _keys_to_ignore_on_load_missing: list[str] | None = [r"dropout"]

    def __init__(self, config: RobertaConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.roberta = TFRobertaMainLayer(config, add_pooling_layer=False)
        self.classifier = layers.DropoutDense(
            "classifier", config.hidden_size, config.num_labels, dropout_of(config),
            config.initializer_range,
        )  # fmt: skip

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.classifier(trunk.last_hidden_state, training=training)


class TFRobertaForMultipleChoice(heads.Chooser, TFRobertaPreTrainedModel):
    """Which of several continuations."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids", r"lm_head"]
    _keys_to_ignore_on_load_missing: list[str] | None = [r"dropout"]

    def __init__(self, config: RobertaConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.roberta = TFRobertaMainLayer(config)
        self.classifier = layers.DropoutDense(
            "classifier", config.hidden_size, 1, config.hidden_dropout_prob,
            config.initializer_range,
        )  # fmt: skip

    @property
    @override
    def input_signature(self) -> dict[str, Any]:
        served = super().input_signature
        return {name: served[name] for name in self.serving_inputs}

    @override
    def score(self, trunk: Any, training: bool) -> Tensor:
        return self.classifier(trunk.pooler_output, training=training)


class TFRobertaForQuestionAnswering(heads.SpanFinder, TFRobertaPreTrainedModel):
    """Where an answer starts and ends."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids", r"pooler", r"lm_head"]

    def __init__(self, config: RobertaConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.roberta = TFRobertaMainLayer(config, add_pooling_layer=False)
        self.qa_outputs = layers.dense(
            "qa_outputs", config.hidden_size, config.num_labels, config.initializer_range
        )


class TFXLMRobertaModel(TFRobertaModel):
    """XLM-RoBERTa: the trunk as a model."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class TFXLMRobertaForMaskedLM(TFRobertaForMaskedLM):
    """XLM-RoBERTa: masked tokens."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class TFXLMRobertaForCausalLM(TFRobertaForCausalLM):
    """XLM-RoBERTa: the next token; for configurations with ``is_decoder``."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class TFXLMRobertaForSequenceClassification(TFRobertaForSequenceClassification):
    """XLM-RoBERTa: a class for each text, or a number."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class TFXLMRobertaForTokenClassification(TFRobertaForTokenClassification):
    """XLM-RoBERTa: a class for each token."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class TFXLMRobertaForMultipleChoice(TFRobertaForMultipleChoice):
    """XLM-RoBERTa: which of several continuations."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class TFXLMRobertaForQuestionAnswering(TFRobertaForQuestionAnswering):
    """XLM-RoBERTa: where an answer starts and ends."""

    config_class: ClassVar[Any] = XLMRobertaConfig


class TFCamembertModel(TFRobertaModel):
    """CamemBERT: the trunk as a model."""

    config_class: ClassVar[Any] = CamembertConfig


class TFCamembertForMaskedLM(TFRobertaForMaskedLM):
    """CamemBERT: masked tokens."""

    config_class: ClassVar[Any] = CamembertConfig


class TFCamembertForCausalLM(TFRobertaForCausalLM):
    """CamemBERT: the next token; for configurations with ``is_decoder``."""

    config_class: ClassVar[Any] = CamembertConfig


class TFCamembertForSequenceClassification(TFRobertaForSequenceClassification):
    """CamemBERT: a class for each text, or a number."""

    config_class: ClassVar[Any] = CamembertConfig


class TFCamembertForTokenClassification(TFRobertaForTokenClassification):
    """CamemBERT: a class for each token."""

    config_class: ClassVar[Any] = CamembertConfig


class TFCamembertForMultipleChoice(TFRobertaForMultipleChoice):
    """CamemBERT: which of several continuations."""

    config_class: ClassVar[Any] = CamembertConfig


class TFCamembertForQuestionAnswering(TFRobertaForQuestionAnswering):
    """CamemBERT: where an answer starts and ends."""

    config_class: ClassVar[Any] = CamembertConfig
