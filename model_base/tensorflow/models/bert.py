"""BERT (Devlin et al. 2018, arXiv:1810.04805) and its heads.

Shape letters: B batch, L length, S keys, H hidden, N heads, D head size, V vocabulary.
Arguments that a head does not explain are those of ``post_norm.Trunk.call``.

Source: transformers 4.19.2, ``modeling_tf_bert.py`` (names, outputs, losses).
"""

from typing import Any, ClassVar

import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.bert import BertConfig
from model_base.tensorflow import heads, layers, losses, post_norm
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.embeddings import VocabularyHead
from model_base.tensorflow.inputs import keras_serializable, unpack_inputs
from model_base.tensorflow.layers import Layer, Tensor


@keras_serializable
class TFBertMainLayer(post_norm.PooledTrunk):
    """The trunk. An encoder, or a decoder if ``config.is_decoder``.

    Args:
        config: the configuration.
        add_pooling_layer: whether ``pooler_output`` is computed.
        name: in checkpoints.
    """

    config_class: ClassVar[Any] = BertConfig

    def __init__(
        self, config: BertConfig, add_pooling_layer: bool = True, name: str = "bert"
    ) -> None:
        super().__init__(name)
        self.config = config
        size, spread = config.hidden_size, config.initializer_range
        self.embeddings = post_norm.Embeddings(config, config.hidden_size)
        self.encoder = post_norm.Encoder(config)
        dense = [layers.dense("dense", size, size, spread)] if add_pooling_layer else None
        self.pooler = layers.Scope("pooler", dense) if dense else None


class TFBertPreTrainedModel(TFPreTrainedModel):
    """What all BERT models share: configuration and names."""

    config_class: ClassVar[Any] = BertConfig
    base_model_prefix = "bert"
    can_be_pruned: ClassVar[bool] = True


class TFBertModel(heads.EncoderOrDecoder, TFBertPreTrainedModel):
    """The trunk as a model."""

    def __init__(self, config: BertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.bert = TFBertMainLayer(config)


class TFBertLMPredictionHead(VocabularyHead):
    """Scores of the vocabulary: a transformation, then the words' own embeddings, and a bias."""

    def __init__(self, config: BertConfig, input_embeddings: Layer) -> None:
        super().__init__("predictions")
        size, spread = config.hidden_size, config.initializer_range
        self.transform = layers.Scope("transform", [
            layers.dense("dense", size, size, spread),
            layers.layer_norm("LayerNorm", size, config.layer_norm_eps),
        ])  # fmt: skip
        self.activation = layers.activation(config.hidden_act)
        self.input_embeddings = input_embeddings
        self.bias = self.variable("bias", (config.vocab_size,))

    @override
    def call(self, hidden: Tensor) -> Tensor:
        """``[B, L, H]`` → ``[B, L, V]``."""
        hidden = self.transform.LayerNorm(self.activation(self.transform.dense(hidden)))
        words = self.input_embeddings.word_embeddings.table
        return tf.matmul(hidden, words, transpose_b=True) + self.bias


def token_head(config: BertConfig, input_embeddings: Layer) -> Layer:
    """The head under the name that checkpoints have for it."""
    return layers.Scope("mlm___cls", [TFBertLMPredictionHead(config, input_embeddings)])


class TFBertForPreTraining(TFBertPreTrainedModel):
    """Masked tokens and next sentence, as BERT was trained."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"cls.predictions.decoder",
    ]

    def __init__(self, config: BertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.bert = TFBertMainLayer(config)
        relation = layers.dense("seq_relationship", config.hidden_size, 2, config.initializer_range)
        self.nsp = layers.Scope("nsp___cls", [relation])
        self.mlm = token_head(config, self.bert.embeddings)

    @override
    def get_lm_head(self) -> Layer:
        return self.mlm.predictions

    def hf_compute_loss(self, labels: dict[str, Tensor], logits: Any) -> Tensor:
        """The sum of both mean losses, ``[1]``.

        Args:
            labels: ``labels`` of the tokens and ``next_sentence_label``.
            logits: of the tokens and of the relation.
        """
        tokens = losses.of_classes(labels["labels"], logits[0])
        relation = losses.of_classes(labels["next_sentence_label"], logits[1])
        return (tf.reduce_mean(tokens) + tf.reduce_mean(relation))[None]

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, labels: Maybe = None, next_sentence_label: Maybe = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]`` and ``[B, 2]``; a loss if both labels, ``[B, L]`` and ``[B]``."""
        trunk = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, training=training,
        )  # fmt: skip
        scores = self.mlm.predictions(trunk.last_hidden_state)
        relation_B2 = self.nsp.seq_relationship(trunk.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            both = {"labels": labels, "next_sentence_label": next_sentence_label}
            loss = self.hf_compute_loss(both, (scores, relation_B2))
        output = outputs.PreTrainingOutput(loss, scores, relation_B2)
        return forward.finish(output, self.config, return_dict, trunk)


class TFBertForMaskedLM(heads.MaskedTokens, TFBertPreTrainedModel):
    """Masked tokens."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"pooler",
        r"cls.seq_relationship",
        r"cls.predictions.decoder",
        r"nsp___cls",
    ]

    def __init__(self, config: BertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.bert = TFBertMainLayer(config, add_pooling_layer=False)
        self.mlm = token_head(config, self.bert.embeddings)

    @override
    def get_lm_head(self) -> Layer:
        return self.mlm.predictions

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.mlm.predictions(trunk.last_hidden_state)


class TFBertLMHeadModel(heads.NextTokenWithCrossAttention, TFBertPreTrainedModel):
    """The next token; for configurations with ``is_decoder``."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"pooler",
        r"cls.seq_relationship",
        r"cls.predictions.decoder",
        r"nsp___cls",
    ]

    def __init__(self, config: BertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.bert = TFBertMainLayer(config, add_pooling_layer=False)
        self.mlm = token_head(config, self.bert.embeddings)

    @override
    def get_lm_head(self) -> Layer:
        return self.mlm.predictions

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.mlm.predictions(trunk.last_hidden_state)


class TFBertForNextSentencePrediction(losses.TFNextSentencePredictionLoss, TFBertPreTrainedModel):
    """Whether the second sentence follows the first."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"mlm___cls",
        r"cls.predictions",
    ]

    def __init__(self, config: BertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.bert = TFBertMainLayer(config)
        relation = layers.dense("seq_relationship", config.hidden_size, 2, config.initializer_range)
        self.nsp = layers.Scope("nsp___cls", [relation])

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, next_sentence_label: Maybe = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, 2]``; labels ``[B]``."""
        trunk = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, training=training,
        )  # fmt: skip
        logits_B2, label = self.nsp.seq_relationship(trunk.pooler_output), next_sentence_label
        loss = None if label is None else self.hf_compute_loss(label, logits_B2)
        output = outputs.NextSentencePredictorOutput(loss, logits_B2)
        return forward.finish(output, self.config, return_dict, trunk)


def classifier(config: BertConfig, num_labels: int) -> Layer:
    """With dropout before it: at its own rate, or the hidden states'."""
    rate = config.classifier_dropout
    rate = config.hidden_dropout_prob if rate is None else rate
    return layers.DropoutDense(
        "classifier", config.hidden_size, num_labels, rate, config.initializer_range
    )


class TFBertForSequenceClassification(heads.SequenceClasses, TFBertPreTrainedModel):
    """A class for each text, or a number."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"mlm___cls",
        r"nsp___cls",
        r"cls.predictions",
        r"cls.seq_relationship",
    ]

    def __init__(self, config: BertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.bert = TFBertMainLayer(config)
        self.classifier = classifier(config, config.num_labels)

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.classifier(trunk.pooler_output, training=training)


class TFBertForTokenClassification(heads.TokenClasses, TFBertPreTrainedModel):
    """A class for each token."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"pooler",
        r"mlm___cls",
        r"nsp___cls",
        r"cls.predictions",
        r"cls.seq_relationship",
    ]

    def __init__(self, config: BertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.bert = TFBertMainLayer(config, add_pooling_layer=False)
        self.classifier = classifier(config, config.num_labels)

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.classifier(trunk.last_hidden_state, training=training)


class TFBertForMultipleChoice(heads.Chooser, TFBertPreTrainedModel):
    """Which of several continuations."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"mlm___cls",
        r"nsp___cls",
        r"cls.predictions",
        r"cls.seq_relationship",
    ]

    def __init__(self, config: BertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.bert = TFBertMainLayer(config)
        self.classifier = classifier(config, 1)

    @override
    def score(self, trunk: Any, training: bool) -> Tensor:
        return self.classifier(trunk.pooler_output, training=training)


class TFBertForQuestionAnswering(heads.SpanFinder, TFBertPreTrainedModel):
    """Where an answer starts and ends."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"pooler",
        r"mlm___cls",
        r"nsp___cls",
        r"cls.predictions",
        r"cls.seq_relationship",
    ]

    def __init__(self, config: BertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.bert = TFBertMainLayer(config, add_pooling_layer=False)
        self.qa_outputs = layers.dense(
            "qa_outputs", config.hidden_size, config.num_labels, config.initializer_range
        )
