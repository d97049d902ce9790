"""The encoder layer of 2017 and 2018: normalised after each residual. BERT and its kin.

Shape letters: B batch, L length, S keys, E width of words, H hidden, N heads, D head size.

Source: transformers 4.19.2, ``modeling_tf_bert.py`` (names).
"""

from typing import Any

import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.tensorflow import attention, layers
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.attention import Layout, Memory
from model_base.tensorflow.layers import Layer, Tensor


class Embeddings(Layer):
    """Word, position and token-type embeddings, normalised.

    Args:
        config: the configuration.
        size: their width, E.
    """

    def __init__(self, config: Any, size: int) -> None:
        super().__init__("embeddings")
        spread = config.initializer_range
        self.word_embeddings = layers.Embedding(
            "word_embeddings", config.vocab_size, size, spread, table="weight"
        )
        self.position_embeddings = layers.Embedding(
            "position_embeddings", config.max_position_embeddings, size, spread
        )
        self.token_type_embeddings = layers.Embedding(
            "token_type_embeddings", config.type_vocab_size, size, spread
        )
        self.LayerNorm = layers.layer_norm("LayerNorm", size, config.layer_norm_eps)
        self.dropout_p = config.hidden_dropout_prob
        self.is_absolute = config.position_embedding_type == "absolute"

    @override
    def call(
        self, input_ids: Maybe, token_type_ids: Maybe, position_ids: Tensor, inputs_embeds: Maybe,
        training: bool = False,
    ) -> Tensor:  # fmt: skip
        """``[B, L, E]`` of ids ``[B, L]``, or of embeddings ``[B, L, E]`` in their place."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:
            hidden = words + self.token_type_embeddings.table[0]
        else:
            hidden = words + self.token_type_embeddings(token_type_ids)
        if self.is_absolute:
            hidden += self.position_embeddings(position_ids)
        return layers.dropout(self.LayerNorm(hidden), self.dropout_p, training)


class SelfAttention(Layer):
    """Projections and heads; over itself, or over an encoder's states."""

    def __init__(self, config: Any, position_embedding_type: str, num_heads: int) -> None:
        super().__init__("self")
        size, spread = config.hidden_size, config.initializer_range
        self.size = forward.head_size(size, config.num_attention_heads)
        self.query, self.key, self.value = (
            layers.dense(name, size, num_heads * self.size, spread)
            for name in ("query", "key", "value")
        )
        self.dropout_p = config.attention_probs_dropout_prob
        self.position_embedding_type = position_embedding_type
        if position_embedding_type != "absolute":
            rows = 2 * config.max_position_embeddings - 1
            self.distance_embedding = layers.Embedding(
                "distance_embedding", rows, self.size, spread
            )

    @override
    def call(self, hidden: Tensor, layer: int, over: Layout | Memory) -> Tensor:
        """``[B, L, H]`` → ``[B, L, N · D]``, the heads side by side."""
        query = layers.split_heads(self.query(hidden), self.size)
        scoring = {
            "scale": self.size**-0.5,
            "bias": None if self.position_embedding_type == "absolute" else self._distances,
            "dropout_p": self.dropout_p,
        }
        if isinstance(over, Memory):
            return over.attend(layer, query, self._keys_and_values, **scoring)
        return over.attend(layer, query, *self._keys_and_values(hidden), **scoring)

    def _keys_and_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        key, value = self.key(states), self.value(states)
        return layers.split_heads(key, self.size), layers.split_heads(value, self.size)

    def _distances(self, *tensors: Tensor) -> Tensor:
        with_keys = self.position_embedding_type == "relative_key_query"
        return attention.distance_scores(
            self.distance_embedding.table, *tensors, with_keys=with_keys
        )


class AddNorm(Layer):
    """Projection, dropout, residual, LayerNorm: the end of each half of a layer."""

    def __init__(self, config: Any, size_in: int) -> None:
        super().__init__("output")
        size = config.hidden_size
        self.dense = layers.dense("dense", size_in, size, config.initializer_range)
        self.LayerNorm = layers.layer_norm("LayerNorm", size, config.layer_norm_eps)
        self.dropout_p = config.hidden_dropout_prob

    @override
    def call(self, hidden: Tensor, residual: Tensor, training: bool = False) -> Tensor:
        """``[B, L, size_in]`` and ``[B, L, H]`` → ``[B, L, H]``."""
        dropped = layers.dropout(self.dense(hidden), self.dropout_p, training)
        return self.LayerNorm(dropped + residual)


class Attention(Layer):
    """Attention with its output projection."""

    def __init__(
        self, config: Any, name: str, position_embedding_type: str, num_pruned: int = 0
    ) -> None:
        super().__init__(name)
        num_heads = config.num_attention_heads - num_pruned
        self.self = SelfAttention(config, position_embedding_type, num_heads)
        self.output_layer = AddNorm(config, num_heads * self.self.size)

    @override
    def call(
        self, hidden: Tensor, layer: int, over: Layout | Memory, training: bool = False
    ) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``."""
        return self.output_layer(self.self(hidden, layer, over), hidden, training=training)


class PostNormLayer(Layer):
    """Attention, cross-attention if the model has it, feed-forward."""

    def __init__(self, config: Any, layer: int) -> None:
        super().__init__(f"layer_._{layer}")
        size, inner = config.hidden_size, config.intermediate_size
        num_pruned = len(set(config.pruned_heads.get(layer, ())))
        kind = config.position_embedding_type
        self.attention = Attention(config, "attention", kind, num_pruned)
        if config.add_cross_attention:
            self.crossattention = Attention(config, "crossattention", "absolute")
        inner_dense = layers.dense("dense", size, inner, config.initializer_range)
        self.intermediate = layers.Scope("intermediate", [inner_dense])
        self.activation = layers.activation(config.hidden_act)
        self.output_layer = AddNorm(config, inner)

    @override
    def call(
        self,
        hidden: Tensor,
        layer: int,
        layout: Layout,
        memory: Memory | None,
        training: bool = False,
    ) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        hidden = self.attention(hidden, layer, layout, training=training)
        if memory is not None:
            hidden = self.crossattention(hidden, layer, memory, training=training)
        inner = self.activation(self.intermediate.dense(hidden))
        return self.output_layer(inner, hidden, training=training)


class Encoder(Layer):
    """The layers, one after another."""

    def __init__(self, config: Any) -> None:
        super().__init__("encoder")
        self.layer = [PostNormLayer(config, number) for number in range(config.num_hidden_layers)]

    @override
    def call(
        self, hidden: Tensor, layout: Layout, memory: Memory | None = None, training: bool = False
    ) -> tuple[Tensor, ...]:
        """The states before each layer and after the last, ``[B, L, H]`` each."""
        states = [hidden]
        for number, layer in enumerate(self.layer):
            states.append(layer(states[-1], number, layout, memory, training=training))
        return tuple(states)


class Trunk(Layer):
    """Embeddings and encoder, as a layer. An encoder, or a decoder if ``config.is_decoder``.

    Attributes:
        config: the configuration.
        embeddings: has ``word_embeddings``, and is called with ids, token types, positions and
            embeddings in place of the ids.
        encoder: the layers.
    """

    config: Any
    embeddings: Any
    encoder: Encoder

    def get_input_embeddings(self) -> layers.Embedding:
        """The words' embeddings."""
        found: layers.Embedding = self.embeddings.word_embeddings
        return found

    def positions(self, input_ids: Maybe, tokens: Tensor, past: Any) -> Tensor:
        """Numbers of tokens ``[B, L]`` that come without: from the length of the cache on."""
        return attention.positions(tokens, past)

    def embed(
        self, input_ids: Maybe, token_type_ids: Maybe, position_ids: Tensor, inputs_embeds: Maybe,
        training: bool,
    ) -> Tensor:  # fmt: skip
        """``[B, L, H]``: what the first layer reads."""
        return self.embeddings(
            input_ids, token_type_ids, position_ids, inputs_embeds, training=training
        )

    def output(
        self, states: tuple[Tensor, ...], layout: Layout, memory: Memory | None, keep_states: bool
    ) -> outputs.ModelOutput:
        """What is returned of the states before each layer and after the last."""
        return outputs.BaseModelOutputWithPastAndCrossAttentions(
            states[-1],
            attention.cache_of(layout, memory),
            states if keep_states else None,
            layout.kept_weights,
            None if memory is None else memory.layout.kept_weights,
        )

    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        past_key_values: Any = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: integers ``[B, L]``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            token_type_ids: like ``input_ids``; None means zeros.
            position_ids: ``[B, L]``; None counts, as ``positions`` says.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[B, L, E]`` in place of ``input_ids``, as wide as the words.
            encoder_hidden_states: ``[B, S, H]`` for cross-attention.
            encoder_attention_mask: ``[B, S]``.
            past_key_values: for each layer keys and values ``[B, N, S, D]``.
            use_cache: return ``past_key_values``; a decoder's default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; an encoder's
                states, but ``config.add_cross_attention`` is not set.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        forward.check_cross_attention(config, encoder_hidden_states)
        kept = {
            "keep_weights": forward.chosen(output_attentions, config.output_attentions),
            "keep_cache": config.is_decoder and forward.chosen(use_cache, config.use_cache),
            "training": training,
        }
        layout = attention.layout_for(
            config, tokens, attention_mask, head_mask, past_key_values, causal=config.is_decoder,
            **kept,
        )  # fmt: skip
        memory = attention.memory_for(
            encoder_hidden_states, encoder_attention_mask, past_key_values, layout.head_mask, **kept
        )
        if position_ids is None:
            position_ids = self.positions(input_ids, tokens, past_key_values)
        embedded = self.embed(input_ids, token_type_ids, position_ids, inputs_embeds, training)
        states = self.encoder(embedded, layout, memory, training=training)
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        return forward.finish(self.output(states, layout, memory, keep_states), config, return_dict)


class PooledTrunk(Trunk):
    """With a ``pooler`` whose ``dense`` reads each text's first token, or None in its place."""

    pooler: Any

    @override
    def output(
        self, states: tuple[Tensor, ...], layout: Layout, memory: Memory | None, keep_states: bool
    ) -> outputs.ModelOutput:
        return outputs.BaseModelOutputWithPoolingAndCrossAttentions(
            states[-1],
            None if self.pooler is None else tf.tanh(self.pooler.dense(states[-1][:, 0])),
            hidden_states=states if keep_states else None,
            past_key_values=attention.cache_of(layout, memory),
            attentions=layout.kept_weights,
            cross_attentions=None if memory is None else memory.layout.kept_weights,
        )
