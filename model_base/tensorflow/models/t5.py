"""T5 (Raffel et al. 2019, arXiv:1910.10683), encoder, decoder and both.

Shape letters: B batch, S tokens of the encoder, L tokens of the decoder, H hidden, N heads, D head
size, V vocabulary. Arguments that a model does not explain are those of ``TFT5Model.call``.

Source: transformers 4.19.2, ``modeling_tf_t5.py`` (names, outputs, losses).
"""

import copy
import math
from typing import Any, ClassVar

import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.t5 import T5Config
from model_base.tensorflow import encoder_decoder, layers, losses
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.attention import Layout, Memory, ScoreBias
from model_base.tensorflow.base import DUMMY_INPUTS, TFPreTrainedModel
from model_base.tensorflow.encoder_decoder import EncoderDecoder, Lent, WordScores
from model_base.tensorflow.inputs import keras_serializable, unpack_inputs
from model_base.tensorflow.layers import Layer, Tensor


def distance_bucket(distance: Tensor, is_decoder: bool, count: int, longest: int) -> Tensor:
    """The bucket of each distance, key minus query, int32 of any shape.

    Half of the buckets hold one small distance each, the others ever wider ranges up to
    ``longest``; an encoder has half of the buckets for each direction.
    """
    first = tf.zeros_like(distance)
    if is_decoder:
        distance = tf.maximum(-distance, 0)
    else:
        count //= 2
        first = tf.cast(distance > 0, tf.int32) * count
        distance = tf.abs(distance)
    exact = count // 2
    scale = (count - exact) / math.log(longest / exact)
    logs = tf.math.log(tf.cast(tf.maximum(distance, 1), tf.float32) / exact)
    far = exact + tf.cast(logs * scale, tf.int32)
    return first + tf.where(distance < exact, distance, tf.minimum(far, count - 1))


def linear(name: str, size_in: int, size_out: int, spread: float) -> Any:
    """A linear layer without bias."""
    return layers.dense(name, size_in, size_out, spread, bias=False)


class TFT5LayerNorm(Layer):
    """Scale by the root mean square: ``weight [H]``."""

    def __init__(self, name: str, config: T5Config) -> None:
        super().__init__(name)
        self.eps = config.layer_norm_epsilon
        self.weight = self.variable("weight", (config.d_model,), "ones")

    @override
    def call(self, hidden: Tensor) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``."""
        mean_square = tf.reduce_mean(tf.square(hidden), axis=-1, keepdims=True)
        return self.weight * hidden * tf.math.rsqrt(mean_square + self.eps)


class TFT5Attention(Layer):
    """Attention without scaling; the first of a stack holds the biases of distances."""

    def __init__(self, config: T5Config, name: str, has_relative_attention_bias: bool) -> None:
        super().__init__(name)
        self.config = config
        size, factor = config.d_model, config.initializer_factor
        inner = config.num_heads * config.d_kv
        self.q = linear("q", size, inner, factor * (size * config.d_kv) ** -0.5)
        self.k = linear("k", size, inner, factor * size**-0.5)
        self.v = linear("v", size, inner, factor * size**-0.5)
        self.o = linear("o", inner, size, factor * inner**-0.5)
        if has_relative_attention_bias:
            self.relative_attention_bias = layers.Embedding(
                "relative_attention_bias", config.relative_attention_num_buckets,
                config.num_heads, factor * size**-0.5,
            )  # fmt: skip

    @override
    def call(
        self, hidden: Tensor, layer: int, over: Layout | Memory, bias: ScoreBias | None = None
    ) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        query = layers.split_heads(self.q(hidden), self.config.d_kv)
        scoring: Any = {"scale": 1.0, "dropout_p": self.config.dropout_rate}
        if isinstance(over, Memory):
            return self.o(over.attend(layer, query, self._keys_and_values, **scoring))
        key, value = self._keys_and_values(hidden)
        return self.o(over.attend(layer, query, key, value, bias=bias, **scoring))

    def distance_bias(self) -> ScoreBias:
        """The bias ``[1, N, L, S]`` of every pair, computed by the first layer that asks."""
        known: list[Tensor] = []

        def bias(query: Tensor, key: Tensor, queries_L: Tensor, keys_S: Tensor) -> Tensor:
            if not known:
                known.append(self._distance_bias(queries_L, keys_S))
            return known[0]

        return bias

    def _distance_bias(self, queries_L: Tensor, keys_S: Tensor) -> Tensor:
        config = self.config
        buckets_LS = distance_bucket(
            keys_S - queries_L[:, None], config.is_decoder,
            config.relative_attention_num_buckets, config.relative_attention_max_distance,
        )  # fmt: skip
        return tf.transpose(self.relative_attention_bias(buckets_LS), (2, 0, 1))[None]

    def _keys_and_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        size = self.config.d_kv
        return layers.split_heads(self.k(states), size), layers.split_heads(self.v(states), size)


class TFT5FeedForward(Layer):
    """Two linear layers with an activation, gated (1.1) or not (1.0)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__("DenseReluDense")
        size, inner, factor = config.d_model, config.d_ff, config.initializer_factor
        for name in ("wi_0", "wi_1") if config.is_gated_act else ("wi",):
            setattr(self, name, linear(name, size, inner, factor * size**-0.5))
        self.wo = linear("wo", inner, size, factor * inner**-0.5)
        self.activation = layers.activation(config.dense_act_fn)
        self.is_gated, self.dropout_p = config.is_gated_act, config.dropout_rate

    @override
    def call(self, hidden: Tensor, training: bool = False) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``."""
        if self.is_gated:
            inner = self.activation(self.wi_0(hidden)) * self.wi_1(hidden)
        else:
            inner = self.activation(self.wi(hidden))
        return self.wo(layers.dropout(inner, self.dropout_p, training))


class TFT5Sublayer(Layer):
    """Normalise, compute, drop, add: the frame of attention and feed-forward."""

    def __init__(self, config: T5Config, number: int, inner: Layer) -> None:
        super().__init__(f"layer_._{number}")
        self.inner = inner
        self.layer_norm = TFT5LayerNorm("layer_norm", config)
        self.dropout_p = config.dropout_rate

    @override
    def call(self, hidden: Tensor, *given: Any, training: bool = False, **named: Any) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``; the other arguments are those of what computes."""
        update = self.inner(self.layer_norm(hidden), *given, **named)
        return hidden + layers.dropout(update, self.dropout_p, training)


class TFT5Block(Layer):
    """Attention, in a decoder attention over the encoder, feed-forward."""

    def __init__(self, config: T5Config, number: int) -> None:
        super().__init__(f"block_._{number}")
        inner: list[Layer] = [TFT5Attention(config, "SelfAttention", number == 0)]
        if config.is_decoder:
            inner.append(TFT5Attention(config, "EncDecAttention", False))
        inner.append(TFT5FeedForward(config))
        self.layer = [TFT5Sublayer(config, place, part) for place, part in enumerate(inner)]

    @override
    def call(
        self, hidden: Tensor, layer: int, layout: Layout, bias: ScoreBias, memory: Memory | None,
        training: bool = False,
    ) -> Tensor:  # fmt: skip
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        hidden = self.layer[0](hidden, layer, layout, bias, training=training)
        if memory is not None:
            hidden = self.layer[1](hidden, layer, memory, training=training)
        return self.layer[-1](hidden, training=training)


@keras_serializable
class TFT5MainLayer(Layer):
    """The encoder, or the decoder if ``config.is_decoder``.

    Args:
        config: of this stack: ``num_layers`` and ``is_decoder`` are its own.
        embed_tokens: shared with the other stack; without it only ``inputs_embeds`` are read.
        name: in checkpoints.
    """

    config_class: ClassVar[Any] = T5Config

    def __init__(
        self, config: T5Config, embed_tokens: layers.Embedding | None = None, name: str = "encoder"
    ) -> None:
        super().__init__(name)
        self.config = config
        self.embed_tokens = None if embed_tokens is None else Lent(embed_tokens)
        self.block = [TFT5Block(config, number) for number in range(config.num_layers)]
        self.final_layer_norm = TFT5LayerNorm("final_layer_norm", config)

    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        inputs_embeds: Maybe = None, head_mask: Maybe = None, encoder_head_mask: Maybe = None,
        past_key_values: Any = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: integers ``[B, L]``.
            attention_mask: ``[B, L]`` or ``[B, L, L]``; 1 keeps a token, 0 hides it.
            encoder_hidden_states: ``[B, S, H]``; of a decoder.
            encoder_attention_mask: ``[B, S]``.
            inputs_embeds: ``[B, L, H]`` in place of ``input_ids``.
            head_mask: ``[N]`` or ``[layers, N]``.
            encoder_head_mask: the same for attention over the encoder.
            past_key_values: for each layer own and encoder's keys and values.
            use_cache: return ``past_key_values``; a decoder's default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; ids, but the layer
                has no embeddings.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        layout, memory = encoder_decoder.layouts_of(
            config, tokens, attention_mask, head_mask, encoder_hidden_states,
            encoder_attention_mask, encoder_head_mask, past_key_values, use_cache=use_cache,
            output_attentions=output_attentions, training=training,
        )  # fmt: skip
        words = self._embed(input_ids) if inputs_embeds is None else inputs_embeds
        bias = self.block[0].layer[0].inner.distance_bias()
        states = [layers.dropout(words, config.dropout_rate, training)]
        for number, block in enumerate(self.block):
            states.append(block(states[-1], number, layout, bias, memory, training=training))
        last = self.final_layer_norm(states[-1])
        states[-1] = layers.dropout(last, config.dropout_rate, training)
        return encoder_decoder.half_output(
            config, tuple(states), layout, memory, output_hidden_states, return_dict
        )

    def _embed(self, input_ids: Tensor) -> Tensor:
        if self.embed_tokens is None:
            raise ValueError("the layer has no embeddings of input_ids; give inputs_embeds")
        return self.embed_tokens.table(input_ids)


def encoder(config: T5Config, embed_tokens: layers.Embedding) -> TFT5MainLayer:
    """The encoder of a configuration."""
    config = copy.deepcopy(config)
    config.is_decoder, config.use_cache, config.is_encoder_decoder = False, False, False
    return TFT5MainLayer(config, embed_tokens=embed_tokens, name="encoder")


def decoder(config: T5Config, embed_tokens: layers.Embedding) -> TFT5MainLayer:
    """The decoder of a configuration."""
    config = copy.deepcopy(config)
    config.is_decoder, config.is_encoder_decoder = True, False
    config.num_layers = config.num_decoder_layers
    return TFT5MainLayer(config, embed_tokens=embed_tokens, name="decoder")


class TFT5PreTrainedModel(TFPreTrainedModel):
    """What all T5 models share: configuration, names, the words' embeddings."""

    config_class: ClassVar[Any] = T5Config
    base_model_prefix = "transformer"
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"decoder\Wblock[\W_0]+layer[\W_1]+EncDecAttention\Wrelative_attention_bias",
        r"(encoder|decoder)\.embed_tokens\.weight",  # PyTorch files hold the shared table again
    ]

    encoder: Any
    decoder: Any

    def __init__(self, config: T5Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.shared = layers.Embedding(
            "shared", config.vocab_size, config.d_model, config.initializer_factor, table="weight"
        )

    @override
    def get_input_embeddings(self) -> layers.Embedding:
        return self.shared

    def get_encoder(self) -> TFT5MainLayer:
        """The encoder."""
        half: TFT5MainLayer = self.encoder
        return half

    def get_decoder(self) -> TFT5MainLayer:
        """The decoder."""
        half: TFT5MainLayer = self.decoder
        return half


class TFT5Model(EncoderDecoder, TFT5PreTrainedModel):
    """Encoder and decoder; the hidden states of the decoder."""

    def __init__(self, config: T5Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.encoder = encoder(config, self.shared)
        self.decoder = decoder(config, self.shared)

    @property
    @override
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Inputs for one forward: int32 ``[3, 5]``; the ids are the decoder's mask, too."""
        inputs = super().dummy_inputs
        return {**inputs, "decoder_attention_mask": tf.constant(DUMMY_INPUTS, tf.int32)}

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None, encoder_outputs: Any = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None,
        decoder_inputs_embeds: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states ``[B, L, H]`` of the decoder.

        Args:
            input_ids: integers ``[B, S]``; this and all others that are not named after the
                decoder are the encoder's.
            attention_mask: ``[B, S]``; for both halves.
            decoder_input_ids: integers ``[B, L]``; with the others named so, the decoder's.
            decoder_attention_mask: ``[B, L]``.
            head_mask: of the encoder, and of the decoder's attention over it.
            decoder_head_mask: of the decoder.
            encoder_outputs: what the encoder returned before, in place of its inputs.
            past_key_values: of the decoder.
            inputs_embeds: ``[B, S, H]``.
            decoder_inputs_embeds: ``[B, L, H]``.
            use_cache: return ``past_key_values``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.

        Raises:
            ValueError: nothing to read for one of the halves.
        """
        output = self._halves(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, head_mask,
            decoder_head_mask, encoder_outputs, past_key_values, inputs_embeds,
            decoder_inputs_embeds, use_cache, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, training=training,
        )  # fmt: skip
        return forward.finish(output, self.config, return_dict)

    def _halves(
        self, input_ids: Maybe, attention_mask: Maybe, decoder_input_ids: Maybe,
        decoder_attention_mask: Maybe, head_mask: Maybe, decoder_head_mask: Maybe,
        encoder_outputs: Any, past_key_values: Any, inputs_embeds: Maybe,
        decoder_inputs_embeds: Maybe, use_cache: Flag, **asked: Any,
    ) -> outputs.Seq2SeqModelOutput:  # fmt: skip
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            raise ValueError("decoder_input_ids is missing: the decoder has nothing to read")
        encoder_inputs = {
            "input_ids": input_ids, "attention_mask": attention_mask,
            "inputs_embeds": inputs_embeds, "head_mask": head_mask,
        }  # fmt: skip
        decoder_inputs = {
            "input_ids": decoder_input_ids, "attention_mask": decoder_attention_mask,
            "inputs_embeds": decoder_inputs_embeds, "head_mask": decoder_head_mask,
            "encoder_head_mask": head_mask, "past_key_values": past_key_values,
            "use_cache": use_cache,
        }  # fmt: skip
        return encoder_decoder.run_halves(
            self.encoder, self.decoder, encoder_outputs, encoder_inputs, decoder_inputs, **asked
        )


class TFT5ForConditionalGeneration(losses.TFCausalLanguageModelingLoss, TFT5Model):
    """Encoder, decoder, and the scores of the next token."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        *(TFT5PreTrainedModel._keys_to_ignore_on_load_unexpected or ()),
        r"lm_head\.weight",  # the shared table again, unless the model has one of its own
    ]

    def __init__(self, config: T5Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        if not config.tie_word_embeddings:
            spread = config.initializer_factor * config.d_model**-0.5
            self.lm_head = WordScores("lm_head", config.d_model, config.vocab_size, spread)

    @override
    def get_output_embeddings(self) -> Any:
        """The words' embeddings, or what scores have of their own, ``[V, H]``."""
        return self.shared if self.config.tie_word_embeddings else self.lm_head.table

    @override
    def set_output_embeddings(self, value: Any) -> None:
        """Replace what makes scores of words by a table ``[V, H]``, or that of another layer."""
        if self.config.tie_word_embeddings:
            self.set_input_embeddings(value)
        else:
            self.lm_head.set_table(value)

    @override
    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> Any:
        """As of every model; scores that have a table of their own follow, with zeros."""
        weight = super().resize_token_embeddings(new_num_tokens)
        if not self.config.tie_word_embeddings:
            self.lm_head.resize(self.config.vocab_size)
        return weight

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None, encoder_outputs: Any = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None,
        decoder_inputs_embeds: Maybe = None, labels: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]``; labels ``[B, L]``, -100 for none.

        Without ids for the decoder the labels make them.
        """
        config = self.config
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = encoder_decoder.shift_right(
                labels, config.decoder_start_token_id, config.pad_token_id
            )
        trunk = self._halves(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, head_mask,
            decoder_head_mask, encoder_outputs, past_key_values, inputs_embeds,
            decoder_inputs_embeds, use_cache, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, training=training,
        )  # fmt: skip
        scores = self._scores(trunk.last_hidden_state)
        loss = None if labels is None else self.hf_compute_loss(labels, scores)
        output = outputs.Seq2SeqLMOutput(loss, scores)
        return forward.finish(output, config, return_dict, trunk)

    def _scores(self, hidden: Tensor) -> Tensor:
        """``[B, L, H]`` → ``[B, L, V]``."""
        config = self.config
        if forward.chosen(config.scale_decoder_outputs, config.tie_word_embeddings):
            hidden *= config.d_model**-0.5
        if config.tie_word_embeddings:
            return tf.einsum("blh,vh->blv", hidden, self.shared.table)
        return self.lm_head(hidden)


class TFT5EncoderModel(TFT5PreTrainedModel):
    """The encoder alone."""

    serving_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")

    def __init__(self, config: T5Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.encoder = encoder(config, self.shared)

    @override
    def get_decoder(self) -> TFT5MainLayer:
        """There is none.

        Raises:
            AttributeError: always.
        """
        raise AttributeError("TFT5EncoderModel has no decoder")

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states ``[B, S, H]``; the arguments are ``TFT5MainLayer.call``'s."""
        return self.encoder(
            input_ids, attention_mask, inputs_embeds=inputs_embeds, head_mask=head_mask,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=return_dict, training=training,
        )  # fmt: skip
