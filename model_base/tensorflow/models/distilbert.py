"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108) and its heads.

Shape letters: B batch, L length, S keys, H hidden, N heads, D head size, P positions, C classes,
V vocabulary. Arguments that a head does not explain are those of ``TFDistilBertMainLayer.call``.

Source: transformers 4.19.2, ``modeling_tf_distilbert.py`` (names, outputs, losses).
"""

from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.distilbert import DistilBertConfig
from model_base.tensorflow import attention, heads, layers, losses
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.attention import Layout
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.embeddings import VocabularyHead
from model_base.tensorflow.inputs import keras_serializable, unpack_inputs
from model_base.tensorflow.layers import Layer, Tensor

EPS = 1e-12
"""Of every LayerNorm."""


def sinusoids(num_positions: int, size: int) -> Any:
    """Fixed position embeddings ``[P, H]``, sines and cosines in turn (Vaswani et al. 2017)."""
    angles = np.arange(num_positions)[:, None] * 10000.0 ** (-np.arange(0, size, 2) / size)
    both = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return both.reshape(num_positions, size).astype(np.float32)


class TFEmbeddings(Layer):
    """Word and position embeddings, normalised."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__("embeddings")
        size, spread = config.dim, config.initializer_range
        self.word_embeddings = layers.Embedding(
            "word_embeddings", config.vocab_size, size, spread, table="weight"
        )
        self.position_embeddings = layers.Embedding(
            "position_embeddings", config.max_position_embeddings, size, spread
        )
        if config.sinusoidal_pos_embds:
            table = self.position_embeddings.table
            table.assign(sinusoids(*table.shape))
            table.trainable, table.start = False, None
        self.LayerNorm = layers.layer_norm("LayerNorm", size, EPS)
        self.dropout_p = config.dropout

    @override
    def call(self, input_ids: Maybe, inputs_embeds: Maybe, training: bool = False) -> Tensor:
        """``[B, L, H]`` of ids ``[B, L]``, or of embeddings ``[B, L, H]`` in their place."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        hidden = words + self.position_embeddings(attention.positions(words, None))
        return layers.dropout(self.LayerNorm(hidden), self.dropout_p, training)


class TFMultiHeadSelfAttention(Layer):
    """Projections into heads and back."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__("attention")
        self.size = forward.head_size(config.dim, config.n_heads)
        self.dropout_p = config.attention_dropout
        self.q_lin, self.k_lin, self.v_lin, self.out_lin = (
            layers.dense(name, config.dim, config.dim, config.initializer_range)
            for name in ("q_lin", "k_lin", "v_lin", "out_lin")
        )

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``."""
        query, key, value = (
            layers.split_heads(project(hidden), self.size)
            for project in (self.q_lin, self.k_lin, self.v_lin)
        )
        scoring = {"scale": self.size**-0.5, "dropout_p": self.dropout_p}
        return self.out_lin(layout.attend(layer, query, key, value, **scoring))


class TFTransformerBlock(Layer):
    """Attention and feed-forward; each ends in a residual and a LayerNorm."""

    def __init__(self, config: DistilBertConfig, name: str) -> None:
        super().__init__(name)
        size, inner, spread = config.dim, config.hidden_dim, config.initializer_range
        self.attention = TFMultiHeadSelfAttention(config)
        self.sa_layer_norm = layers.layer_norm("sa_layer_norm", size, EPS)
        self.ffn = layers.Scope("ffn", [
            layers.dense("lin1", size, inner, spread), layers.dense("lin2", inner, size, spread),
        ])  # fmt: skip
        self.activation = layers.activation(config.activation)
        self.output_layer_norm = layers.layer_norm("output_layer_norm", size, EPS)
        self.dropout_p = config.dropout

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout, training: bool = False) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        hidden = self.sa_layer_norm(self.attention(hidden, layer, layout) + hidden)
        inner = self.ffn.lin2(self.activation(self.ffn.lin1(hidden)))
        return self.output_layer_norm(layers.dropout(inner, self.dropout_p, training) + hidden)


class TFTransformer(Layer):
    """The layers, one after another."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__("transformer")
        self.layer = [TFTransformerBlock(config, f"layer_._{i}") for i in range(config.n_layers)]

    @override
    def call(self, hidden: Tensor, layout: Layout, training: bool = False) -> tuple[Tensor, ...]:
        """The states before each layer and after the last, ``[B, L, H]`` each."""
        states = [hidden]
        for number, layer in enumerate(self.layer):
            states.append(layer(states[-1], number, layout, training=training))
        return tuple(states)


@keras_serializable
class TFDistilBertMainLayer(Layer):
    """The trunk."""

    config_class: ClassVar[Any] = DistilBertConfig

    def __init__(self, config: DistilBertConfig, name: str = "distilbert") -> None:
        super().__init__(name)
        self.config = config
        self.embeddings = TFEmbeddings(config)
        self.transformer = TFTransformer(config)

    def get_input_embeddings(self) -> layers.Embedding:
        """The words' embeddings."""
        return self.embeddings.word_embeddings

    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: integers ``[B, L]``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[B, L, H]`` in place of ``input_ids``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        layout = attention.layout_for(
            config, tokens, attention_mask, head_mask,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
            training=training,
        )  # fmt: skip
        embedded = self.embeddings(input_ids, inputs_embeds, training=training)
        states = self.transformer(embedded, layout, training=training)
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutput(
            states[-1], states if keep_states else None, layout.kept_weights
        )
        return forward.finish(output, config, return_dict)


class TFDistilBertPreTrainedModel(TFPreTrainedModel):
    """What all DistilBERT models share: configuration, names, what is served."""

    config_class: ClassVar[Any] = DistilBertConfig
    base_model_prefix = "distilbert"
    serving_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")


class TFDistilBertModel(TFDistilBertPreTrainedModel):
    """The trunk as a model."""

    def __init__(self, config: DistilBertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.distilbert = TFDistilBertMainLayer(config)

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states; the arguments are ``TFDistilBertMainLayer.call``'s."""
        return self.distilbert(
            input_ids, attention_mask, head_mask, inputs_embeds, output_attentions,
            output_hidden_states, return_dict, training=training,
        )  # fmt: skip


class TFDistilBertLabeller(TFDistilBertPreTrainedModel):
    """A head whose call takes ``labels`` and nothing else of its own."""

    hf_compute_loss: Any
    output_class: ClassVar[Any]

    def __init__(self, config: DistilBertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.distilbert = TFDistilBertMainLayer(config)

    def logits(self, hidden: Tensor, training: bool) -> Tensor:
        """Logits from the hidden states ``[B, L, H]``; each subclass has its own."""
        raise NotImplementedError

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, labels: Maybe = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits, and a loss if there are labels; their shapes are the subclass's."""
        trunk = self.distilbert(
            input_ids, attention_mask, head_mask, inputs_embeds, output_attentions,
            output_hidden_states, return_dict=True, training=training,
        )  # fmt: skip
        logits = self.logits(trunk.last_hidden_state, training)
        loss = None if labels is None else self.hf_compute_loss(labels, logits)
        return forward.finish(self.output_class(loss, logits), self.config, return_dict, trunk)


class TFDistilBertLMHead(VocabularyHead):
    """Scores of the vocabulary: the words' own embeddings, and a bias."""

    def __init__(self, config: DistilBertConfig, input_embeddings: layers.Embedding) -> None:
        super().__init__("vocab_projector")
        self.input_embeddings = input_embeddings
        self.bias = self.variable("bias", (config.vocab_size,))

    @override
    def call(self, hidden: Tensor) -> Tensor:
        """``[B, L, H]`` → ``[B, L, V]``."""
        return tf.matmul(hidden, self.input_embeddings.table, transpose_b=True) + self.bias


class TFDistilBertForMaskedLM(losses.TFMaskedLanguageModelingLoss, TFDistilBertLabeller):
    """Masked tokens: logits ``[B, L, V]``, labels ``[B, L]``, -100 for none."""

    output_class: ClassVar[Any] = outputs.MaskedLMOutput
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"vocab_projector.weight"]

    def __init__(self, config: DistilBertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        size, spread = config.dim, config.initializer_range
        self.vocab_transform = layers.dense("vocab_transform", size, size, spread)
        self.activation = layers.activation(config.activation)
        self.vocab_layer_norm = layers.layer_norm("vocab_layer_norm", size, EPS)
        self.vocab_projector = TFDistilBertLMHead(config, self.get_input_embeddings())

    @override
    def get_lm_head(self) -> TFDistilBertLMHead:
        return self.vocab_projector

    @override
    def logits(self, hidden: Tensor, training: bool) -> Tensor:
        hidden = self.vocab_layer_norm(self.activation(self.vocab_transform(hidden)))
        return self.vocab_projector(hidden)


class TFDistilBertForSequenceClassification(
    losses.TFSequenceClassificationLoss, TFDistilBertLabeller
):
    """A class for each text, or a number: logits ``[B, C]``, labels ``[B]``."""

    output_class: ClassVar[Any] = outputs.SequenceClassifierOutput

    def __init__(self, config: DistilBertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        size, spread = config.dim, config.initializer_range
        self.pre_classifier = layers.dense("pre_classifier", size, size, spread)
        self.classifier = layers.DropoutDense(
            "classifier", size, config.num_labels, config.seq_classif_dropout, spread
        )

    @override
    def logits(self, hidden: Tensor, training: bool) -> Tensor:
        pooled = tf.nn.relu(self.pre_classifier(hidden[:, 0]))
        return self.classifier(pooled, training=training)


class TFDistilBertForTokenClassification(losses.TFTokenClassificationLoss, TFDistilBertLabeller):
    """A class for each token: logits ``[B, L, C]``, labels ``[B, L]``, -100 for none."""

    output_class: ClassVar[Any] = outputs.TokenClassifierOutput

    def __init__(self, config: DistilBertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.classifier = layers.DropoutDense(
            "classifier", config.dim, config.num_labels, config.dropout, config.initializer_range
        )

    @override
    def logits(self, hidden: Tensor, training: bool) -> Tensor:
        return self.classifier(hidden, training=training)


class TFDistilBertForMultipleChoice(heads.Chooser, TFDistilBertPreTrainedModel):
    """Which of several continuations; inputs are ``[B, choices, L]``."""

    def __init__(self, config: DistilBertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.distilbert = TFDistilBertMainLayer(config)
        size, spread = config.dim, config.initializer_range
        self.pre_classifier = layers.dense("pre_classifier", size, size, spread)
        self.classifier = layers.DropoutDense(
            "classifier", size, 1, config.seq_classif_dropout, spread
        )

    @property
    @override
    def input_signature(self) -> dict[str, Any]:
        served = super().input_signature
        return {name: served[name] for name in self.serving_inputs}

    @override
    def score(self, trunk: Any, training: bool) -> Tensor:
        pooled = tf.nn.relu(self.pre_classifier(trunk.last_hidden_state[:, 0]))
        return self.classifier(pooled, training=training)

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, labels: Maybe = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, choices]``; labels ``[B]``."""
        ids, mask, embeds = (
            None if tensor is None else layers.flat_rows(tensor)
            for tensor in (input_ids, attention_mask, inputs_embeds)
        )
        trunk = self.distilbert(
            ids, mask, head_mask, embeds, output_attentions, output_hidden_states,
            return_dict=True, training=training,
        )  # fmt: skip
        choices = tf.shape(forward.tokens_of(input_ids, inputs_embeds))[1]
        logits_BC = tf.reshape(self.score(trunk, training), (-1, choices))
        loss = None if labels is None else self.hf_compute_loss(labels, logits_BC)
        output = outputs.MultipleChoiceModelOutput(loss, logits_BC)
        return forward.finish(output, self.config, return_dict, trunk)


class TFDistilBertForQuestionAnswering(losses.TFQuestionAnsweringLoss, TFDistilBertPreTrainedModel):
    """Where an answer starts and ends."""

    def __init__(self, config: DistilBertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.distilbert = TFDistilBertMainLayer(config)
        self.qa_outputs = layers.DropoutDense(
            "qa_outputs", config.dim, config.num_labels, config.qa_dropout,
            config.initializer_range,
        )  # fmt: skip

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
        start_positions: Maybe = None, end_positions: Maybe = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L]`` of each token being the first and the last; positions ``[B]``."""
        trunk = self.distilbert(
            input_ids, attention_mask, head_mask, inputs_embeds, output_attentions,
            output_hidden_states, return_dict=True, training=training,
        )  # fmt: skip
        scores = self.qa_outputs(trunk.last_hidden_state, training=training)
        starts, ends = tf.unstack(scores, axis=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            labels = {"start_position": start_positions, "end_position": end_positions}
            loss = self.hf_compute_loss(labels, (starts, ends))
        output = outputs.QuestionAnsweringModelOutput(loss, starts, ends)
        return forward.finish(output, self.config, return_dict, trunk)
