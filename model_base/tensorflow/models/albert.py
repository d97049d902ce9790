"""ALBERT (Lan et al. 2019, arXiv:1909.11942) and its heads.

Shape letters: B batch, L length, S keys, E embedding, H hidden, N heads, D head size,
V vocabulary. Arguments that a head does not explain are those of ``TFAlbertMainLayer.call``.

Source: transformers 4.19.2, ``modeling_tf_albert.py`` (names, outputs, losses).
"""

from typing import Any, ClassVar

import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.albert import AlbertConfig
from model_base.tensorflow import attention, heads, layers, losses, post_norm
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.attention import Layout
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.embeddings import VocabularyHead
from model_base.tensorflow.inputs import keras_serializable, unpack_inputs
from model_base.tensorflow.layers import Layer, Tensor


class TFAlbertAttention(Layer):
    """Attention, projection, residual, LayerNorm; for every layer that shares it."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__("attention")
        size, spread = config.hidden_size, config.initializer_range
        self.size = forward.head_size(size, config.num_attention_heads)
        self.query, self.key, self.value, self.dense = (
            layers.dense(name, size, size, spread) for name in ("query", "key", "value", "dense")
        )
        self.LayerNorm = layers.layer_norm("LayerNorm", size, config.layer_norm_eps)
        self.hidden_dropout_p = config.hidden_dropout_prob
        self.dropout_p = config.attention_probs_dropout_prob
        self.position_embedding_type = config.position_embedding_type
        if config.position_embedding_type != "absolute":
            rows = 2 * config.max_position_embeddings - 1
            self.distance_embedding = layers.Embedding(
                "distance_embedding", rows, self.size, spread
            )

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout, training: bool = False) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        query, key, value = (
            layers.split_heads(project(hidden), self.size)
            for project in (self.query, self.key, self.value)
        )
        context = layout.attend(
            layer, query, key, value,
            scale=self.size**-0.5,
            bias=None if self.position_embedding_type == "absolute" else self._distances,
            dropout_p=self.dropout_p,
        )  # fmt: skip
        projected = layers.dropout(self.dense(context), self.hidden_dropout_p, training)
        return self.LayerNorm(hidden + projected)

    def _distances(self, *tensors: Tensor) -> Tensor:
        with_keys = self.position_embedding_type == "relative_key_query"
        return attention.distance_scores(
            self.distance_embedding.table, *tensors, with_keys=with_keys
        )


class TFAlbertLayer(Layer):
    """Attention and feed-forward."""

    def __init__(self, config: AlbertConfig, name: str) -> None:
        super().__init__(name)
        size, inner, spread = config.hidden_size, config.intermediate_size, config.initializer_range
        self.attention = TFAlbertAttention(config)
        self.ffn = layers.dense("ffn", size, inner, spread)
        self.activation = layers.activation(config.hidden_act)
        self.ffn_output = layers.dense("ffn_output", inner, size, spread)
        self.full_layer_layer_norm = layers.layer_norm(
            "full_layer_layer_norm", size, config.layer_norm_eps
        )
        self.dropout_p = config.hidden_dropout_prob

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout, training: bool = False) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        hidden = self.attention(hidden, layer, layout, training=training)
        inner = self.ffn_output(self.activation(self.ffn(hidden)))
        return self.full_layer_layer_norm(layers.dropout(inner, self.dropout_p, training) + hidden)


class TFAlbertLayerGroup(Layer):
    """One or several layers that are used as one."""

    def __init__(self, config: AlbertConfig, name: str) -> None:
        super().__init__(name)
        self.albert_layers = [
            TFAlbertLayer(config, f"albert_layers_._{i}") for i in range(config.inner_group_num)
        ]

    @override
    def call(self, hidden: Tensor, layer: int, layout: Layout, training: bool = False) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        for inner in self.albert_layers:
            hidden = inner(hidden, layer, layout, training=training)
        return hidden


class TFAlbertTransformer(Layer):
    """The layers, one after another, by the weights of their groups."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__("encoder")
        self.num_layers = config.num_hidden_layers
        self.embedding_hidden_mapping_in = layers.dense(
            "embedding_hidden_mapping_in", config.embedding_size, config.hidden_size,
            config.initializer_range,
        )  # fmt: skip
        self.albert_layer_groups = [
            TFAlbertLayerGroup(config, f"albert_layer_groups_._{i}")
            for i in range(config.num_hidden_groups)
        ]

    @override
    def call(self, embedded: Tensor, layout: Layout, training: bool = False) -> tuple[Tensor, ...]:
        """``[B, L, E]`` → the states before each layer and after the last, ``[B, L, H]`` each."""
        groups, states = self.albert_layer_groups, [self.embedding_hidden_mapping_in(embedded)]
        for number in range(self.num_layers):
            group = groups[number * len(groups) // self.num_layers]
            states.append(group(states[-1], number, layout, training=training))
        return tuple(states)


@keras_serializable
class TFAlbertMainLayer(Layer):
    """The trunk.

    Args:
        config: the configuration.
        add_pooling_layer: whether ``pooler_output`` is computed.
        name: in checkpoints.
    """

    config_class: ClassVar[Any] = AlbertConfig

    def __init__(
        self, config: AlbertConfig, add_pooling_layer: bool = True, name: str = "albert"
    ) -> None:
        super().__init__(name)
        self.config = config
        size, spread = config.hidden_size, config.initializer_range
        self.embeddings = post_norm.Embeddings(config, config.embedding_size)
        self.encoder = TFAlbertTransformer(config)
        self.pooler = layers.dense("pooler", size, size, spread) if add_pooling_layer else None

    def get_input_embeddings(self) -> layers.Embedding:
        """The words' embeddings."""
        return self.embeddings.word_embeddings

    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: integers ``[B, L]``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            token_type_ids: like ``input_ids``; None means zeros.
            position_ids: ``[B, L]``; None counts from 0.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[B, L, E]`` in place of ``input_ids``.
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
        if position_ids is None:
            position_ids = attention.positions(tokens, None)
        embedded = self.embeddings(
            input_ids, token_type_ids, position_ids, inputs_embeds, training=training
        )
        states = self.encoder(embedded, layout, training=training)
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPooling(
            states[-1],
            None if self.pooler is None else tf.tanh(self.pooler(states[-1][:, 0])),
            states if keep_states else None,
            layout.kept_weights,
        )
        return forward.finish(output, config, return_dict)


class TFAlbertPreTrainedModel(TFPreTrainedModel):
    """What all ALBERT models share: configuration and names."""

    config_class: ClassVar[Any] = AlbertConfig
    base_model_prefix = "albert"
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids"]


class TFAlbertModel(TFAlbertPreTrainedModel):
    """The trunk as a model."""

    def __init__(self, config: AlbertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.albert = TFAlbertMainLayer(config)

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states; the arguments are ``TFAlbertMainLayer.call``'s."""
        return self.albert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions, output_hidden_states, return_dict, training=training,
        )  # fmt: skip


class TFAlbertDecoderBias(Layer):
    """The bias of the vocabulary's scores under the second name that checkpoints have for it."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__("decoder")
        self.bias = self.variable("bias", (config.vocab_size,))


class TFAlbertMLMHead(VocabularyHead):
    """Scores of the vocabulary: a transformation, then the words' own embeddings, and a bias.

    The bias is stored twice. The second one counts; the first one is trained alike, because it is
    the one that PyTorch reads.
    """

    def __init__(self, config: AlbertConfig, input_embeddings: Layer) -> None:
        super().__init__("predictions")
        size, spread = config.embedding_size, config.initializer_range
        self.dense = layers.dense("dense", config.hidden_size, size, spread)
        self.activation = layers.activation(config.hidden_act)
        self.LayerNorm = layers.layer_norm("LayerNorm", size, config.layer_norm_eps)
        self.input_embeddings = input_embeddings
        self.bias = self.variable("bias", (config.vocab_size,))
        self.biases = TFAlbertDecoderBias(config)

    @property
    def decoder_bias(self) -> Any:
        """The second of the two biases."""
        return self.biases.bias

    @override
    def get_bias(self) -> dict[str, Any]:
        return {"bias": self.bias, "decoder_bias": self.decoder_bias}

    @override
    def set_bias(self, value: dict[str, Tensor]) -> None:
        for name, values in value.items():
            layer = self.biases if name == "decoder_bias" else self
            layers.replace(layer, "bias", tf.convert_to_tensor(values))

    @override
    def call(self, hidden: Tensor) -> Tensor:
        """``[B, L, H]`` → ``[B, L, V]``."""
        hidden = self.LayerNorm(self.activation(self.dense(hidden)))
        words, first = self.input_embeddings.word_embeddings.table, tf.convert_to_tensor(self.bias)
        zeros = first - tf.stop_gradient(first)
        return tf.matmul(hidden, words, transpose_b=True) + self.decoder_bias + zeros


def classifier(config: AlbertConfig, num_labels: int) -> Layer:
    """With dropout before it: at its own rate, or the hidden states'."""
    rate = config.classifier_dropout_prob
    rate = config.hidden_dropout_prob if rate is None else rate
    return layers.DropoutDense(
        "classifier", config.hidden_size, num_labels, rate, config.initializer_range
    )


class TFAlbertForPreTraining(TFAlbertPreTrainedModel):
    """Masked tokens and the order of two sentences, as ALBERT was trained."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"predictions.decoder.weight",
    ]

    def __init__(self, config: AlbertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.albert = TFAlbertMainLayer(config)
        self.predictions = TFAlbertMLMHead(config, self.albert.embeddings)
        order = classifier(config, config.num_labels)
        self.sop_classifier = layers.Scope("sop_classifier", [order])

    @override
    def get_lm_head(self) -> TFAlbertMLMHead:
        return self.predictions

    def hf_compute_loss(self, labels: dict[str, Tensor], logits: Any) -> Tensor:
        """The sum of both mean losses, ``[1]``.

        Args:
            labels: ``labels`` of the tokens and ``sentence_order_label``.
            logits: of the tokens and of the order.
        """
        tokens = losses.of_classes(labels["labels"], logits[0])
        order = losses.of_classes(labels["sentence_order_label"], logits[1])
        return (tf.reduce_mean(tokens) + tf.reduce_mean(order))[None]

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, labels: Maybe = None, sentence_order_label: Maybe = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]`` and ``[B, 2]``; a loss if both labels, ``[B, L]`` and ``[B]``."""
        trunk = self.albert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions, output_hidden_states, return_dict=True, training=training,
        )  # fmt: skip
        scores = self.predictions(trunk.last_hidden_state)
        order_B2 = self.sop_classifier.classifier(trunk.pooler_output, training=training)
        loss = None
        if labels is not None and sentence_order_label is not None:
            both = {"labels": labels, "sentence_order_label": sentence_order_label}
            loss = self.hf_compute_loss(both, (scores, order_B2))
        output = outputs.AlbertForPreTrainingOutput(loss, scores, order_B2)
        return forward.finish(output, self.config, return_dict, trunk)


class TFAlbertForMaskedLM(heads.MaskedTokens, TFAlbertPreTrainedModel):
    """Masked tokens."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"pooler",
        r"predictions.decoder.weight",
    ]

    def __init__(self, config: AlbertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.albert = TFAlbertMainLayer(config, add_pooling_layer=False)
        self.predictions = TFAlbertMLMHead(config, self.albert.embeddings)

    @override
    def get_lm_head(self) -> TFAlbertMLMHead:
        return self.predictions

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.predictions(trunk.last_hidden_state)


class TFAlbertForSequenceClassification(heads.SequenceClasses, TFAlbertPreTrainedModel):
    """A class for each text, or a number."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids", r"predictions"]
    _keys_to_ignore_on_load_missing: list[str] | None = [r"dropout"]

    def __init__(self, config: AlbertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.albert = TFAlbertMainLayer(config)
        self.classifier = classifier(config, config.num_labels)

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.classifier(trunk.pooler_output, training=training)


class TFAlbertForTokenClassification(heads.TokenClasses, TFAlbertPreTrainedModel):
    """A class for each token."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"pooler",
        r"predictions",
    ]
    _keys_to_ignore_on_load_missing: list[str] | None = [r"dropout"]

    def __init__(self, config: AlbertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.albert = TFAlbertMainLayer(config, add_pooling_layer=False)
        self.classifier = classifier(config, config.num_labels)

    @override
    def logits(self, trunk: Any, training: bool) -> Tensor:
        return self.classifier(trunk.last_hidden_state, training=training)


class TFAlbertForMultipleChoice(heads.Chooser, TFAlbertPreTrainedModel):
    """Which of several continuations."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"pooler",
        r"predictions",
    ]
    _keys_to_ignore_on_load_missing: list[str] | None = [r"dropout"]

    def __init__(self, config: AlbertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.albert = TFAlbertMainLayer(config)
        self.classifier = classifier(config, 1)

    @override
    def score(self, trunk: Any, training: bool) -> Tensor:
        return self.classifier(trunk.pooler_output, training=training)


class TFAlbertForQuestionAnswering(heads.SpanFinder, TFAlbertPreTrainedModel):
    """Where an answer starts and ends."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"position_ids",
        r"pooler",
        r"predictions",
    ]

    def __init__(self, config: AlbertConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.albert = TFAlbertMainLayer(config, add_pooling_layer=False)
        self.qa_outputs = layers.dense(
            "qa_outputs", config.hidden_size, config.num_labels, config.initializer_range
        )
