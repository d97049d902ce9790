"""BART (Lewis et al. 2019, arXiv:1910.13461), encoder, decoder and both, and its head.

Shape letters: B batch, S tokens of the encoder, L tokens of the decoder, H hidden, V vocabulary.
Arguments that a model does not explain are those of ``TFBartMainLayer.call``.

Source: transformers 4.19.2, ``modeling_tf_bart.py`` (names, outputs, losses).
"""

import copy
from typing import Any, ClassVar

import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.bart import BartConfig
from model_base.errors import UnsupportedConfig
from model_base.tensorflow import attention, encoder_decoder, layers, losses
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.attention import Layout, Memory
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.encoder_decoder import EncoderDecoder, Lent
from model_base.tensorflow.inputs import keras_serializable, unpack_inputs
from model_base.tensorflow.layers import Layer, Tensor
from model_base.tensorflow.multi_head import MultiHeadAttention

POSITION_OFFSET = 2
"""The first rows of the table of positions are not used."""


class TFBartLayer(Layer):
    """Attention, in a decoder attention over the encoder, feed-forward; each normalised."""

    def __init__(self, config: BartConfig, number: int) -> None:
        super().__init__(f"layers.{number}")
        self.config = config
        size, spread, is_decoder = config.d_model, config.init_std, config.is_decoder
        count = config.decoder_attention_heads if is_decoder else config.encoder_attention_heads
        inner = config.decoder_ffn_dim if is_decoder else config.encoder_ffn_dim
        self.self_attn, self.self_attn_layer_norm = _attention(config, "self_attn", count)
        if is_decoder:
            self.encoder_attn, self.encoder_attn_layer_norm = _attention(
                config, "encoder_attn", count
            )
        self.activation = layers.activation(config.activation_function)
        self.fc1 = layers.dense("fc1", size, inner, spread)
        self.fc2 = layers.dense("fc2", inner, size, spread)
        self.final_layer_norm = _norm("final_layer_norm", size)

    @override
    def call(
        self, hidden: Tensor, layer: int, layout: Layout, memory: Memory | None,
        training: bool = False,
    ) -> Tensor:  # fmt: skip
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        config = self.config
        update = layers.dropout(self.self_attn(hidden, layer, layout), config.dropout, training)
        hidden = self.self_attn_layer_norm(hidden + update)
        if memory is not None:
            update = self.encoder_attn(hidden, layer, memory)
            update = layers.dropout(update, config.dropout, training)
            hidden = self.encoder_attn_layer_norm(hidden + update)
        inner = self.activation(self.fc1(hidden))
        update = self.fc2(layers.dropout(inner, config.activation_dropout, training))
        return self.final_layer_norm(hidden + layers.dropout(update, config.dropout, training))


def _attention(config: BartConfig, name: str, count: int) -> tuple[MultiHeadAttention, Any]:
    size = config.d_model
    heads = MultiHeadAttention(name, size, count, config.attention_dropout, config.init_std)
    return heads, _norm(f"{name}_layer_norm", size)


def _norm(name: str, size: int) -> Any:
    return layers.layer_norm(name, size, 1e-5)


class TFBartStack(Layer):
    """The encoder, or the decoder if ``config.is_decoder``.

    Args:
        config: of this stack: ``num_hidden_layers`` and ``is_decoder`` are its own.
        embed_tokens: shared with the other stack.
        name: in checkpoints.
    """

    def __init__(self, config: BartConfig, embed_tokens: layers.Embedding, name: str) -> None:
        super().__init__(name)
        size, spread = config.d_model, config.init_std
        self.config, self.embed_tokens = config, Lent(embed_tokens)
        self.layerdrop = config.decoder_layerdrop if config.is_decoder else config.encoder_layerdrop
        self.embed_scale = size**0.5 if config.scale_embedding else 1.0
        rows = config.max_position_embeddings + POSITION_OFFSET
        self.embed_positions = layers.Embedding(
            "embed_positions", rows, size, spread, table="weight"
        )
        self.layers = [TFBartLayer(config, number) for number in range(config.num_hidden_layers)]
        self.layernorm_embedding = _norm("layernorm_embedding", size)

    @override
    def call(
        self, input_ids: Maybe = None, inputs_embeds: Maybe = None, attention_mask: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, cross_attn_head_mask: Maybe = None, past_key_values: Any = None,
        use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: integers ``[B, L]``.
            inputs_embeds: ``[B, L, H]`` in place of ``input_ids``; not scaled.
            attention_mask: ``[B, L]`` or ``[B, L, L]``; 1 keeps a token, 0 hides it.
            encoder_hidden_states: ``[B, S, H]``; of a decoder.
            encoder_attention_mask: ``[B, S]``.
            head_mask: ``[N]`` or ``[layers, N]``.
            cross_attn_head_mask: the same for attention over the encoder.
            past_key_values: for each layer own and encoder's keys and values.
            use_cache: return ``past_key_values``; a decoder's default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        layout, memory = encoder_decoder.layouts_of(
            config, tokens, attention_mask, head_mask, encoder_hidden_states,
            encoder_attention_mask, cross_attn_head_mask, past_key_values, use_cache=use_cache,
            output_attentions=output_attentions, training=training,
        )  # fmt: skip
        words = inputs_embeds
        if words is None:
            words = self.embed_tokens.table(input_ids) * self.embed_scale
        places = attention.positions(tokens, past_key_values) + POSITION_OFFSET
        hidden = self.layernorm_embedding(words + self.embed_positions(places))
        states = [layers.dropout(hidden, config.dropout, training)]
        for number, layer in enumerate(self.layers):
            hidden = layer(states[-1], number, layout, memory, training=training)
            if training and self.layerdrop:
                hidden = tf.where(tf.random.uniform(()) < self.layerdrop, states[-1], hidden)
            states.append(hidden)
        return encoder_decoder.half_output(
            config, tuple(states), layout, memory, output_hidden_states, return_dict
        )


def stack(config: BartConfig, embed_tokens: layers.Embedding, *, is_decoder: bool) -> TFBartStack:
    """The encoder or the decoder of a configuration."""
    config = copy.deepcopy(config)
    config.is_decoder, config.is_encoder_decoder = is_decoder, False
    config.num_hidden_layers = config.decoder_layers if is_decoder else config.encoder_layers
    return TFBartStack(config, embed_tokens, "decoder" if is_decoder else "encoder")


@keras_serializable
class TFBartMainLayer(Layer):
    """The trunk: encoder and decoder.

    Args:
        config: the configuration.
        name: in checkpoints.
    """

    config_class: ClassVar[Any] = BartConfig

    def __init__(self, config: BartConfig, name: str = "model") -> None:
        super().__init__(name)
        self.config = config
        self.shared = layers.Embedding(
            "shared", config.vocab_size, config.d_model, config.init_std, table="weight"
        )
        self.shared.checkpoint_path = "model.shared/"
        self.encoder = stack(config, self.shared, is_decoder=False)
        self.decoder = stack(config, self.shared, is_decoder=True)

    def get_input_embeddings(self) -> layers.Embedding:
        """The words' embeddings."""
        return self.shared

    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, encoder_outputs: Any = None,
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
            decoder_input_ids: integers ``[B, L]``; with the others named so, the decoder's. None
                without ``decoder_inputs_embeds``: the encoder's text, shifted, and no cache.
            decoder_attention_mask: ``[B, L]``.
            head_mask: of the encoder.
            decoder_head_mask: of the decoder.
            cross_attn_head_mask: of the decoder's attention over the encoder.
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
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            if input_ids is None:
                raise ValueError("without input_ids the decoder needs decoder_input_ids")
            decoder_input_ids, use_cache = shift_right(self.config, input_ids), False
        encoder_inputs = {
            "input_ids": input_ids, "attention_mask": _numbers(attention_mask),
            "inputs_embeds": inputs_embeds, "head_mask": head_mask,
        }  # fmt: skip
        decoder_inputs = {
            "input_ids": decoder_input_ids, "attention_mask": _numbers(decoder_attention_mask),
            "inputs_embeds": decoder_inputs_embeds, "head_mask": decoder_head_mask,
            "cross_attn_head_mask": cross_attn_head_mask, "past_key_values": past_key_values,
            "use_cache": use_cache,
        }  # fmt: skip
        output = encoder_decoder.run_halves(
            self.encoder, self.decoder, encoder_outputs, encoder_inputs, decoder_inputs,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            training=training,
        )  # fmt: skip
        return forward.finish(output, self.config, return_dict)


def shift_right(config: BartConfig, ids_BL: Tensor) -> Tensor:
    """What the decoder reads to predict ``ids_BL``, integers ``[B, L]``."""
    start, padding = config.decoder_start_token_id, config.pad_token_id
    return encoder_decoder.shift_right(ids_BL, start, padding)


def _numbers(mask: Maybe) -> Maybe:
    """A mask of booleans as one of integers."""
    return None if mask is None else tf.cast(mask, tf.int32)


class TFBartPretrainedModel(EncoderDecoder, TFPreTrainedModel):
    """What all BART models share: configuration, names, inputs."""

    config_class: ClassVar[Any] = BartConfig
    base_model_prefix = "model"
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"(encoder|decoder).embed_tokens.weight",  # PyTorch files hold the shared table again
    ]

    def __init__(self, config: BartConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.model = TFBartMainLayer(config)

    @property
    @override
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Inputs for one forward: int32 ``[3, 5]``, and a mask of what is not padding."""
        inputs = super().dummy_inputs
        return {**inputs, "attention_mask": tf.not_equal(inputs["input_ids"], 1)}

    def get_encoder(self) -> TFBartStack:
        """The encoder."""
        return self.model.encoder

    def get_decoder(self) -> TFBartStack:
        """The decoder."""
        return self.model.decoder


class TFBartModel(TFBartPretrainedModel):
    """The trunk as a model."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        *(TFBartPretrainedModel._keys_to_ignore_on_load_unexpected or ()),
        r"final_logits_bias",  # in h5 files it is outside all layers
    ]

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, encoder_outputs: Any = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None,
        decoder_inputs_embeds: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states; the arguments are ``TFBartMainLayer.call``'s."""
        return self.model(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, head_mask,
            decoder_head_mask, cross_attn_head_mask, encoder_outputs, past_key_values,
            inputs_embeds, decoder_inputs_embeds, use_cache, output_attentions,
            output_hidden_states, return_dict, training=training,
        )  # fmt: skip


class TFBartForConditionalGeneration(losses.TFCausalLanguageModelingLoss, TFBartPretrainedModel):
    """Encoder, decoder, and the scores of the next token."""

    _keys_to_ignore_on_load_missing: list[str] | None = [r"final_logits_bias"]
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        *(TFBartPretrainedModel._keys_to_ignore_on_load_unexpected or ()),
        r"lm_head\.weight",  # the shared table again
    ]

    def __init__(self, config: BartConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        if not config.tie_word_embeddings:
            raise UnsupportedConfig("tie_word_embeddings", False, "True")
        self.final_logits_bias = self.add_weight(
            name="final_logits_bias", shape=(1, config.vocab_size), initializer="zeros",
            trainable=False,
        )  # fmt: skip

    @override
    def get_bias(self) -> dict[str, Any]:
        return {"final_logits_bias": self.final_logits_bias}

    @override
    def set_bias(self, value: dict[str, Tensor]) -> None:
        """Replace the bias of the scores, ``[1, V]``; training does not change it."""
        values = tf.convert_to_tensor(value["final_logits_bias"])
        layers.replace(self, "final_logits_bias", values)
        self.final_logits_bias.trainable = False

    @override
    def get_output_embeddings(self) -> layers.Embedding:
        return self.get_input_embeddings()

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.set_input_embeddings(value)

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, encoder_outputs: Any = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None,
        decoder_inputs_embeds: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, labels: Maybe = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]``; labels ``[B, L]``, -100 or padding for none.

        Without ids for the decoder the labels make them; with labels there is no cache.
        """
        if labels is not None:
            labels, use_cache = self._without_padding(labels), False
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = shift_right(self.config, labels)
        trunk = self.model(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, head_mask,
            decoder_head_mask, cross_attn_head_mask, encoder_outputs, past_key_values,
            inputs_embeds, decoder_inputs_embeds, use_cache, output_attentions,
            output_hidden_states, return_dict=True, training=training,
        )  # fmt: skip
        words_VH = self.model.shared.table
        scores = tf.einsum("blh,vh->blv", trunk.last_hidden_state, words_VH)
        scores += self.final_logits_bias
        loss = None if labels is None else self.hf_compute_loss(labels, scores)
        output = outputs.Seq2SeqLMOutput(loss, scores)
        return forward.finish(output, self.config, return_dict, trunk)

    def _without_padding(self, labels_BL: Tensor) -> Tensor:
        labels_BL = tf.convert_to_tensor(labels_BL)
        nothing = tf.cast(losses.IGNORED, labels_BL.dtype)
        return tf.where(tf.equal(labels_BL, self.config.pad_token_id), nothing, labels_BL)
