"""ELECTRA (Clark et al. 2020, arXiv:2003.10555) and its heads.

The generator fills masks, the discriminator (``TFElectraForPreTraining``) tells which tokens were
filled. Shape letters: B batch, L length, S keys, E embedding, H hidden, N heads, D head size,
V vocabulary. Arguments that a head does not explain are those of ``post_norm.Trunk.call``.

Source: transformers 4.19.2, ``modeling_tf_electra.py`` (names, outputs, losses).
"""

from typing import Any, ClassVar

import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.electra import ElectraConfig
from model_base.tensorflow import heads, layers, post_norm
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.embeddings import VocabularyHead
from model_base.tensorflow.inputs import keras_serializable, unpack_inputs
from model_base.tensorflow.layers import Tensor


@keras_serializable
class TFElectraMainLayer(post_norm.Trunk):
    """The trunk. An encoder, or a decoder if ``config.is_decoder``."""

    config_class: ClassVar[Any] = ElectraConfig

    def __init__(self, config: ElectraConfig, name: str = "electra") -> None:
        super().__init__(name)
        self.config = config
        size_in, size = config.embedding_size, config.hidden_size
        self.embeddings = post_norm.Embeddings(config, config.embedding_size)
        self.embeddings_project = None
        if size_in != size:
            self.embeddings_project = layers.dense(
                "embeddings_project", size_in, size, config.initializer_range
            )
        self.encoder = post_norm.Encoder(config)

    @override
    def embed(
        self, input_ids: Maybe, token_type_ids: Maybe, position_ids: Tensor, inputs_embeds: Maybe,
        training: bool,
    ) -> Tensor:  # fmt: skip
        hidden = super().embed(input_ids, token_type_ids, position_ids, inputs_embeds, training)
        return hidden if self.embeddings_project is None else self.embeddings_project(hidden)


class TFElectraPreTrainedModel(TFPreTrainedModel):
    """What all ELECTRA models share: configuration and names."""

    config_class: ClassVar[Any] = ElectraConfig
    base_model_prefix = "electra"
    can_be_pruned: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"generator_lm_head.weight",
    ]
    _keys_to_ignore_on_load_missing: list[str] | None = [r"dropout"]


class TFElectraModel(heads.EncoderOrDecoder, TFElectraPreTrainedModel):
    """The trunk as a model."""

    def __init__(self, config: ElectraConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.electra = TFElectraMainLayer(config)


class TFElectraForPreTraining(TFElectraPreTrainedModel):
    """The discriminator: which tokens are not those of the text."""

    def __init__(self, config: ElectraConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.electra = TFElectraMainLayer(config)
        size, spread = config.hidden_size, config.initializer_range
        self.discriminator_predictions = layers.Scope("discriminator_predictions", [
            layers.dense("dense", size, size, spread),
            layers.dense("dense_prediction", size, 1, spread),
        ])  # fmt: skip
        self.activation = layers.activation(config.hidden_act)

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L]``."""
        trunk = self.electra(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, training=training,
        )  # fmt: skip
        head = self.discriminator_predictions
        hidden = self.activation(head.dense(trunk.last_hidden_state))
        output = outputs.ElectraForPreTrainingOutput(
            logits=tf.squeeze(head.dense_prediction(hidden), axis=-1)
        )
        return forward.finish(output, self.config, return_dict, trunk)


class TFElectraMaskedLMHead(VocabularyHead):
    """Scores of the vocabulary: the words' own embeddings, and a bias."""

    def __init__(self, config: ElectraConfig, input_embeddings: layers.Embedding) -> None:
        super().__init__("generator_lm_head")
        self.input_embeddings = input_embeddings
        self.bias = self.variable("bias", (config.vocab_size,))

    @override
    def call(self, hidden: Tensor) -> Tensor:
        """``[B, L, E]`` → ``[B, L, V]``."""
        return tf.matmul(hidden, self.input_embeddings.table, transpose_b=True) + self.bias


class TFElectraForMaskedLM(heads.MaskedTokens, TFElectraPreTrainedModel):
    """The generator: masked tokens."""

    def __init__(self, config: ElectraConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.electra = TFElectraMainLayer(config)
        size = config.embedding_size
        self.generator_predictions = layers.Scope("generator_predictions", [
            layers.layer_norm("LayerNorm", size, config.layer_norm_eps),
            layers.dense("dense", config.hidden_size, size, config.initializer_range),
        ])  # fmt: skip
        self.generator_lm_head = TFElectraMaskedLMHead(config, self.get_input_embeddings())

    @override
    def get_lm_head(self) -> TFElectraMaskedLMHead:
        return self.generator_lm_head

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        head = self.generator_predictions
        hidden = head.LayerNorm(tf.nn.gelu(head.dense(trunk.last_hidden_state)))
        return self.generator_lm_head(hidden)


def dropout_of(config: ElectraConfig) -> float:
    """A classifier's rate: its own, or the hidden states'."""
    own = config.classifier_dropout
    return config.hidden_dropout_prob if own is None else own


class TFElectraForSequenceClassification(heads.SequenceClasses, TFElectraPreTrainedModel):
    """A class for each text, or a number, read at its first token."""

    def __init__(self, config: ElectraConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.electra = TFElectraMainLayer(config)
        size, rate, spread = config.hidden_size, dropout_of(config), config.initializer_range
        self.classifier = layers.Scope("classifier", [
            layers.DropoutDense("dense", size, size, rate, spread),
            layers.DropoutDense("out_proj", size, config.num_labels, rate, spread),
        ])  # fmt: skip

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        first = self.classifier.dense(trunk.last_hidden_state[:, 0], training=training)
        return self.classifier.out_proj(tf.nn.gelu(first), training=training)


class TFElectraForTokenClassification(heads.TokenClasses, TFElectraPreTrainedModel):
    """A class for each token."""

    def __init__(self, config: ElectraConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.electra = TFElectraMainLayer(config)
        self.classifier = layers.DropoutDense(
            "classifier", config.hidden_size, config.num_labels, dropout_of(config),
            config.initializer_range,
        )  # fmt: skip

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.classifier(trunk.last_hidden_state, training=training)


class TFElectraForMultipleChoice(heads.Chooser, TFElectraPreTrainedModel):
    """Which of several continuations."""

    def __init__(self, config: ElectraConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.electra = TFElectraMainLayer(config)
        size, spread = config.hidden_size, config.initializer_range
        summary = layers.dense("summary", size, size, spread)
        self.sequence_summary = layers.Scope("sequence_summary", [summary])
        self.activation = layers.activation(config.summary_activation)
        self.classifier = layers.DropoutDense(
            "classifier", size, 1, config.summary_last_dropout, spread
        )

    @override
    def score(self, trunk: Any, training: bool) -> Tensor:
        first = self.sequence_summary.summary(trunk.last_hidden_state[:, 0])
        return self.classifier(self.activation(first), training=training)


class TFElectraForQuestionAnswering(heads.SpanFinder, TFElectraPreTrainedModel):
    """Where an answer starts and ends."""

    def __init__(self, config: ElectraConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.electra = TFElectraMainLayer(config)
        self.qa_outputs = layers.dense(
            "qa_outputs", config.hidden_size, config.num_labels, config.initializer_range
        )
