"""GPT-2 (Radford et al. 2019) and its heads.

Shape letters: B batch, C choices, L length, S keys, H hidden, N heads, D head size, V vocabulary.
Arguments that a head does not explain are those of ``TFGPT2MainLayer.call``.

Source: transformers 4.19.2, ``modeling_tf_gpt2.py`` (names, outputs, losses).
"""

from typing import Any, ClassVar

import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.gpt2 import GPT2Config
from model_base.errors import UnsupportedConfig
from model_base.tensorflow import attention, layers, losses
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.attention import Layout, Memory
from model_base.tensorflow.base import TFPreTrainedModel
from model_base.tensorflow.inputs import keras_serializable, unpack_inputs
from model_base.tensorflow.layers import Layer, Tensor


class Conv1D(Layer):
    """A linear layer as GPT-2 stores it: ``weight [in, out]``, ``bias [1, out]``."""

    def __init__(self, name: str, size_in: int, size_out: int, spread: float) -> None:
        super().__init__(name)
        self.weight = self.variable("weight", (size_in, size_out), layers.Normal(stddev=spread))
        self.bias = self.variable("bias", (1, size_out))

    @override
    def call(self, hidden_BLI: Tensor) -> Tensor:
        """``[B, L, in]`` → ``[B, L, out]``."""
        return tf.einsum("bli,io->blo", hidden_BLI, self.weight) + self.bias


class TFAttention(Layer):
    """Queries, keys and values of one projection; over an encoder's states keys and values."""

    def __init__(self, config: GPT2Config, name: str, is_cross_attention: bool = False) -> None:
        super().__init__(name)
        size, spread = config.n_embd, config.initializer_range
        self.config, self.size = config, forward.head_size(size, config.n_head)
        if is_cross_attention:
            self.c_attn = Conv1D("c_attn", size, 2 * size, spread)
            self.q_attn = Conv1D("q_attn", size, size, spread)
        else:
            self.c_attn = Conv1D("c_attn", size, 3 * size, spread)
        self.c_proj = Conv1D("c_proj", size, size, spread)

    @override
    def call(
        self, hidden: Tensor, layer: int, over: Layout | Memory, training: bool = False
    ) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        config = self.config
        scale = self.size**-0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            scale /= layer + 1
        scoring: Any = {"scale": scale, "dropout_p": config.attn_pdrop}
        if isinstance(over, Memory):
            (query,) = self._heads(self.q_attn(hidden), 1)
            context = over.attend(layer, query, self._keys_and_values, **scoring)
        else:
            context = over.attend(layer, *self._heads(self.c_attn(hidden), 3), **scoring)
        return layers.dropout(self.c_proj(context), config.resid_pdrop, training)

    def _keys_and_values(self, states: Tensor) -> Any:
        return self._heads(self.c_attn(states), 2)

    def _heads(self, hidden: Tensor, count: int) -> Any:
        parts = tf.split(hidden, count, axis=-1)
        return tuple(layers.split_heads(part, self.size) for part in parts)


class TFBlock(Layer):
    """Attention, cross-attention if the model has it, feed-forward; each of normalised states."""

    def __init__(self, config: GPT2Config, name: str) -> None:
        super().__init__(name)
        size, eps, spread = config.n_embd, config.layer_norm_epsilon, config.initializer_range
        self.ln_1 = layers.layer_norm("ln_1", size, eps)
        self.attn = TFAttention(config, "attn")
        self.ln_2 = layers.layer_norm("ln_2", size, eps)
        if config.add_cross_attention:
            self.crossattention = TFAttention(config, "crossattention", is_cross_attention=True)
            self.ln_cross_attn = layers.layer_norm("ln_cross_attn", size, eps)
        inner = config.n_inner or 4 * size
        self.mlp = layers.Scope(
            "mlp", [Conv1D("c_fc", size, inner, spread), Conv1D("c_proj", inner, size, spread)]
        )
        self.activation = layers.activation(config.activation_function)
        self.dropout_p = config.resid_pdrop

    @override
    def call(
        self, hidden: Tensor, layer: int, layout: Layout, memory: Memory | None,
        training: bool = False,
    ) -> Tensor:  # fmt: skip
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        hidden += self.attn(self.ln_1(hidden), layer, layout, training=training)
        if memory is not None:
            normed = self.ln_cross_attn(hidden)
            hidden += self.crossattention(normed, layer, memory, training=training)
        inner = self.activation(self.mlp.c_fc(self.ln_2(hidden)))
        return hidden + layers.dropout(self.mlp.c_proj(inner), self.dropout_p, training)


@keras_serializable
class TFGPT2MainLayer(Layer):
    """The trunk: a decoder.

    Args:
        config: the configuration.
        name: in checkpoints.
    """

    config_class: ClassVar[Any] = GPT2Config

    def __init__(self, config: GPT2Config, name: str = "transformer") -> None:
        super().__init__(name)
        self.config = config
        size, spread = config.n_embd, config.initializer_range
        self.wte = layers.Embedding("wte", config.vocab_size, size, spread, table="weight")
        self.wpe = layers.Embedding("wpe", config.n_positions, size, spread)
        self.h = [TFBlock(config, f"h_._{i}") for i in range(config.n_layer)]
        self.ln_f = layers.layer_norm("ln_f", size, config.layer_norm_epsilon)

    def get_input_embeddings(self) -> layers.Embedding:
        """The words' embeddings."""
        return self.wte

    @override
    def call(
        self, input_ids: Maybe = None, past: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, encoder_hidden_states: Maybe = None,
        encoder_attention_mask: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Compute hidden states; the last of ``hidden_states`` is normalised, as the output is.

        Args:
            input_ids: integers ``[B, L]``.
            past: for each layer keys and values in one tensor ``[2, B, N, S, D]``, what
                ``past_key_values`` of an earlier output holds.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            token_type_ids: like ``input_ids``, and of the same embeddings.
            position_ids: ``[B, L]``; None counts from the length of the cache.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[B, L, H]`` in place of ``input_ids``.
            encoder_hidden_states: ``[B, S, H]`` for cross-attention.
            encoder_attention_mask: ``[B, S]``.
            use_cache: return ``past_key_values``; the default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            training: whether dropout is on.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; states of an
                encoder without cross-attention.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        forward.check_cross_attention(config, encoder_hidden_states)
        keep_weights = forward.chosen(output_attentions, config.output_attentions)
        layout = attention.layout_for(
            config, tokens, attention_mask, head_mask, past, causal=True,
            keep_weights=keep_weights, keep_cache=forward.chosen(use_cache, config.use_cache),
            training=training,
        )  # fmt: skip
        memory = attention.memory_for(
            encoder_hidden_states, encoder_attention_mask, heads=layout.head_mask,
            keep_weights=keep_weights, training=training,
        )  # fmt: skip
        if position_ids is None:
            position_ids = attention.positions(tokens, past)
        hidden = self._embed(input_ids, token_type_ids, position_ids, inputs_embeds)
        states = [layers.dropout(hidden, config.embd_pdrop, training)]
        for number, block in enumerate(self.h):
            states.append(block(states[-1], number, layout, memory, training=training))
        states[-1] = self.ln_f(states[-1])
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPastAndCrossAttentions(
            states[-1],
            tuple(tf.stack(pair) for pair in layout.cache) if layout.keep_cache else None,
            tuple(states) if keep_states else None,
            layout.kept_weights,
            None if memory is None else memory.layout.kept_weights,
        )
        return forward.finish(output, config, return_dict)

    def _embed(
        self, input_ids: Maybe, token_type_ids: Maybe, position_ids: Tensor, inputs_embeds: Maybe
    ) -> Tensor:
        words = self.wte(input_ids) if inputs_embeds is None else inputs_embeds
        hidden = words + self.wpe(position_ids)
        return hidden if token_type_ids is None else hidden + self.wte(token_type_ids)


class TFGPT2PreTrainedModel(TFPreTrainedModel):
    """What all GPT-2 models share: configuration and names."""

    config_class: ClassVar[Any] = GPT2Config
    base_model_prefix = "transformer"
    serving_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"h.\d+.attn.(masked_)?bias$",
        r"h.\d+.crossattention.(masked_)?bias$",
    ]


class TFGPT2Model(TFGPT2PreTrainedModel):
    """The trunk as a model."""

    def __init__(self, config: GPT2Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.transformer = TFGPT2MainLayer(config)

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, past: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, encoder_hidden_states: Maybe = None,
        encoder_attention_mask: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states; the arguments are ``TFGPT2MainLayer.call``'s."""
        return self.transformer(
            input_ids, past, attention_mask, token_type_ids, position_ids, head_mask,
            inputs_embeds, encoder_hidden_states, encoder_attention_mask, use_cache,
            output_attentions, output_hidden_states, return_dict, training=training,
        )  # fmt: skip


class TFGPT2TokenScorer(TFGPT2PreTrainedModel):
    """What heads share that score the next token by the words' own embeddings.

    Raises:
        UnsupportedConfig: the scores are to have a table of their own.
    """

    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        *(TFGPT2PreTrainedModel._keys_to_ignore_on_load_unexpected or ()),
        r"lm_head\.weight",  # PyTorch files hold the words' embeddings twice
    ]

    def __init__(self, config: GPT2Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        if not config.tie_word_embeddings:
            raise UnsupportedConfig("tie_word_embeddings", False, "True")
        self.transformer = TFGPT2MainLayer(config)

    @override
    def get_output_embeddings(self) -> layers.Embedding:
        return self.get_input_embeddings()

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.set_input_embeddings(value)

    def scores(self, hidden: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, V]``."""
        return tf.einsum("...h,vh->...v", hidden, self.transformer.wte.table)


class TFGPT2LMHeadModel(losses.TFCausalLanguageModelingLoss, TFGPT2TokenScorer):
    """The next token."""

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, past: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, encoder_hidden_states: Maybe = None,
        encoder_attention_mask: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, labels: Maybe = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]``; labels ``[B, L]`` are the ids, shifted here, -100 for none."""
        trunk = self.transformer(
            input_ids, past, attention_mask, token_type_ids, position_ids, head_mask,
            inputs_embeds, encoder_hidden_states, encoder_attention_mask, use_cache,
            output_attentions, output_hidden_states, return_dict=True, training=training,
        )  # fmt: skip
        scores = self.scores(trunk.last_hidden_state)
        loss = None if labels is None else self.hf_compute_loss(labels[:, 1:], scores[:, :-1])
        output = outputs.CausalLMOutputWithCrossAttentions(loss, scores)
        return forward.finish(output, self.config, return_dict, trunk)


class TFGPT2DoubleHeadsModel(TFGPT2TokenScorer):
    """The next token, and which of several texts; for inputs ``[B, C, L]``."""

    @property
    @override
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Two choices for each of two texts: int32 ``[2, 2, 3]``."""
        return {"input_ids": tf.constant([[[7, 6, 1], [1, 2, 3]], [[5, 4, 3], [2, 1, 7]]])}

    def __init__(self, config: GPT2Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.multiple_choice_head = layers.SequenceSummary(
            config, config.initializer_range, name="multiple_choice_head"
        )

    @property
    @override
    def input_signature(self) -> dict[str, Any]:
        """Texts of several choices, and which token of each is read."""
        shapes = {"input_ids": 3, "attention_mask": 3, "mc_token_ids": 2}
        return {
            name: tf.TensorSpec([None] * rank, tf.int32, name=name) for name, rank in shapes.items()
        }

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, past: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, mc_token_ids: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, C, L, V]`` and ``[B, C]``.

        ``mc_token_ids`` ``[B, C]`` says which token of each text is read (None: the last).
        """
        shape = tf.shape(forward.tokens_of(input_ids, inputs_embeds))
        rows = [
            None if tensor is None else layers.flat_rows(tensor)
            for tensor in (attention_mask, token_type_ids, position_ids)
        ]
        trunk = self.transformer(
            None if input_ids is None else layers.flat_rows(input_ids), past, *rows, head_mask,
            None if inputs_embeds is None else layers.flat_rows(inputs_embeds),
            use_cache=use_cache, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, return_dict=True, training=training,
        )  # fmt: skip
        hidden = trunk.last_hidden_state
        hidden_BCLH = tf.reshape(hidden, tf.concat((shape, [hidden.shape[-1]]), axis=0))
        hidden_BCLH.set_shape((None, None, None, hidden.shape[-1]))
        choice_BC = self.multiple_choice_head(hidden_BCLH, mc_token_ids, training=training)[..., 0]
        output = outputs.GPT2DoubleHeadsModelOutput(
            logits=self.scores(hidden_BCLH), mc_logits=choice_BC
        )
        return forward.finish(output, self.config, return_dict, trunk)


class TFGPT2ForSequenceClassification(losses.TFSequenceClassificationLoss, TFGPT2PreTrainedModel):
    """A class for each text, or a number, read at its last token."""

    def __init__(self, config: GPT2Config, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        self.transformer = TFGPT2MainLayer(config)
        self.score = layers.dense(
            "score", config.n_embd, config.num_labels, config.initializer_range, bias=False
        )

    @unpack_inputs
    @override
    def call(
        self, input_ids: Maybe = None, past: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, labels: Maybe = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, classes]``; labels ``[B]``.

        Raises:
            ValueError: perhaps several texts, and no padding id to tell where they end.
        """
        trunk = self.transformer(
            input_ids, past, attention_mask, token_type_ids, position_ids, head_mask,
            inputs_embeds, use_cache=use_cache, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, return_dict=True, training=training,
        )  # fmt: skip
        logits = self._at_last_token(self.score(trunk.last_hidden_state), input_ids)
        loss = None if labels is None else self.hf_compute_loss(labels, logits)
        output = outputs.SequenceClassifierOutputWithPast(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)

    def _at_last_token(self, logits_BLC: Tensor, input_ids: Maybe) -> Tensor:
        """``[B, C]`` at the last id of each text that is not padding."""
        padding = self.config.pad_token_id
        if padding is None and logits_BLC.shape[0] != 1:
            raise ValueError("a batch of several sequences needs config.pad_token_id")
        if padding is None or input_ids is None:
            return logits_BLC[:, -1]
        seen_BL = tf.cast(tf.not_equal(input_ids, padding), tf.int32)
        last_B = tf.argmax(tf.range(tf.shape(input_ids)[1]) * seen_BL, axis=1)
        return tf.gather(logits_BLC, last_B, batch_dims=1)
