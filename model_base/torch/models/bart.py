"""BART (Lewis et al. 2019, arXiv:1910.13461), encoder, decoder and both, and its heads.

Shape letters: B batch, S tokens of the encoder, L tokens of the decoder, H hidden, V vocabulary.
``[…]`` stands for the axes of the tokens, which are the layout's. Arguments that a head does not
explain are those of ``BartModel.forward``.

Source: transformers 4.19.2, ``modeling_bart.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.bart import BartConfig
from model_base.torch import heads, layers, layouts
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.base import PreTrainedModel
from model_base.torch.encoder_decoder import EncoderDecoder
from model_base.torch.layouts import Layout, Memory
from model_base.torch.multi_head import MultiHeadAttention


class BartPositions(nn.Embedding):
    """Learned positions; the first two rows are not used."""

    offset = 2

    def __init__(self, count: int, size: int) -> None:
        super().__init__(count + self.offset, size)

    @override
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input + self.offset)


class BartLayer(nn.Module):
    """Attention, in a decoder attention over the encoder, feed-forward; each normalised."""

    def __init__(self, config: BartConfig, layer: int) -> None:
        super().__init__()
        size, is_decoder = config.d_model, config.is_decoder
        count = config.decoder_attention_heads if is_decoder else config.encoder_attention_heads
        inner = config.decoder_ffn_dim if is_decoder else config.encoder_ffn_dim
        self.self_attn = MultiHeadAttention(size, count, layer, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(size)
        if is_decoder:
            self.encoder_attn = MultiHeadAttention(size, count, layer, config.attention_dropout)
            self.encoder_attn_layer_norm = nn.LayerNorm(size)
        self.activation_fn = layers.Activation(config.activation_function)
        self.fc1 = nn.Linear(size, inner)
        self.fc2 = nn.Linear(inner, size)
        self.final_layer_norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.dropout)
        self.activation_dropout = nn.Dropout(config.activation_dropout)

    def forward(
        self, hidden: Tensor, layout: Layout, memory: Memory | None, states: Maybe
    ) -> Tensor:
        """``[…, H]`` → ``[…, H]``; the encoder's states are ``[B, S, H]``."""
        update = self.dropout(self.self_attn(hidden, layout))
        hidden = self.self_attn_layer_norm(hidden + update)
        if memory is not None and states is not None:
            update = self.dropout(self.encoder_attn.over(hidden, memory, states))
            hidden = self.encoder_attn_layer_norm(hidden + update)
        inner = self.activation_dropout(self.activation_fn(self.fc1(hidden)))
        return self.final_layer_norm(hidden + self.dropout(self.fc2(inner)))


class BartPreTrainedModel(PreTrainedModel):
    """What all BART models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = BartConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_missing: list[str] | None = [r"final_logits_bias"]
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"encoder\.version",
        r"decoder\.version",
    ]

    @override
    def _init_weights(self, module: nn.Module) -> None:
        layers.normal_init(module, self.config.init_std)

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        inputs = super().example_inputs(batch_size, sequence_length)
        if self.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = inputs["input_ids"]
        return inputs

    def shift_right(self, ids_BL: Tensor) -> Tensor:
        """What the decoder reads to predict ``ids_BL``, int64 ``[B, L]``."""
        config = self.config
        return layers.shift_right(ids_BL, config.decoder_start_token_id, config.pad_token_id)


class BartStack(BartPreTrainedModel):
    """The encoder, or the decoder if ``config.is_decoder``; the model it is in initialises it.

    Args:
        config: of this stack: ``num_hidden_layers`` and ``is_decoder`` are its own.
        embed_tokens: shared with the other stack.
    """

    def __init__(self, config: BartConfig, embed_tokens: nn.Embedding) -> None:
        super().__init__(config)
        size = config.d_model
        self.layerdrop = config.decoder_layerdrop if config.is_decoder else config.encoder_layerdrop
        self.embed_scale = size**0.5 if config.scale_embedding else 1.0
        self.embed_tokens = embed_tokens
        self.embed_positions = BartPositions(config.max_position_embeddings, size)
        count: int = self.config.num_hidden_layers
        self.layers = nn.ModuleList(BartLayer(config, i) for i in range(count))
        self.layernorm_embedding = nn.LayerNorm(size)
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embed_tokens

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.embed_tokens = value

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, cross_attn_head_mask: Maybe = None, past_key_values: Any = None,
        inputs_embeds: Maybe = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
        memory_layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, L]`` or ``[B, L, L]``; 1 keeps a token, 0 hides it.
            encoder_hidden_states: ``[B, S, H]``; of a decoder.
            encoder_attention_mask: ``[B, S]``.
            head_mask: ``[N]`` or ``[layers, N]``.
            cross_attn_head_mask: the same for attention over the encoder.
            past_key_values: for each layer own and encoder's keys and values.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``; not scaled.
            use_cache: return ``past_key_values``; a decoder's default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, positions, cache and head mask.
            memory_layout: the same for the encoder's.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        keep_weights = forward.chosen(output_attentions, config.output_attentions)
        keep_cache = config.is_decoder and forward.chosen(use_cache, config.use_cache)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, None, head_mask, past_key_values,
            keep_weights=keep_weights, keep_cache=keep_cache,
        )  # fmt: skip
        memory = layouts.memory_for(
            self, encoder_hidden_states, encoder_attention_mask, layouts=(layout, memory_layout),
            head_mask=cross_attn_head_mask, past_key_values=past_key_values,
            keep_weights=keep_weights, keep_cache=keep_cache,
        )  # fmt: skip
        words = inputs_embeds
        if words is None:
            words = self.embed_tokens(input_ids) * self.embed_scale
        embedded = self.layernorm_embedding(words + self.embed_positions(layout.positions))
        states = layers.run_layers(
            self.layers, self.dropout(embedded), layout, memory, encoder_hidden_states,
            recompute=self.gradient_checkpointing and self.training,
            skip_p=self.layerdrop if self.training else 0.0,
        )  # fmt: skip
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPastAndCrossAttentions(
            states[-1],
            layouts.cache_of(layout, memory),
            states if keep_states else None,
            layouts.weights_of(layout),
            layouts.weights_of(memory),
        )
        return forward.finish(output, config, return_dict)


def stack(config: BartConfig, embed_tokens: nn.Embedding, *, is_decoder: bool) -> BartStack:
    """The encoder or the decoder of a configuration."""
    config = copy.deepcopy(config)
    config.is_decoder, config.is_encoder_decoder = is_decoder, False
    config.num_hidden_layers = config.decoder_layers if is_decoder else config.encoder_layers
    return BartStack(config, embed_tokens)


def token_embedding(config: BartConfig) -> nn.Embedding:
    """The words' embeddings, which encoder and decoder share."""
    return nn.Embedding(config.vocab_size, config.d_model, config.pad_token_id)


class BartModel(EncoderDecoder, BartPreTrainedModel):
    """Encoder and decoder; the hidden states of the decoder."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.shared = token_embedding(config)
        self.encoder = stack(config, self.shared, is_decoder=False)
        self.decoder = stack(config, self.shared, is_decoder=True)
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.shared

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.shared = self.encoder.embed_tokens = self.decoder.embed_tokens = value

    @override
    def decoder_text(
        self, input_ids: Maybe, layout: Layout | None, decoder_layout: Layout | None
    ) -> tuple[Maybe, Layout | None]:
        """The encoder's text, shifted, sequence by sequence."""
        if input_ids is None:
            raise ValueError("without input_ids the decoder needs decoder_input_ids")
        if layout is None:
            return self.shift_right(input_ids), decoder_layout
        shifted = input_ids.roll(1, dims=-1)
        shifted[layout.positions == 0] = self.config.decoder_start_token_id
        return shifted, decoder_layout or layouts.as_causal(layout)


class BartForConditionalGeneration(heads.TokenHead, BartPreTrainedModel):
    """Encoder, decoder, and the scores of the next token."""

    final_logits_bias: Tensor

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.model = BartModel(config)
        self.register_buffer("final_logits_bias", torch.zeros(1, config.vocab_size))
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    @override
    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> nn.Module:
        """As of every model; the scores' bias follows, with zeros."""
        embeddings = super().resize_token_embeddings(new_num_tokens)
        if new_num_tokens is not None:
            missing = new_num_tokens - self.final_logits_bias.shape[1]
            self.final_logits_bias = F.pad(self.final_logits_bias, (0, missing))
        return embeddings

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, encoder_outputs: Any = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None,
        decoder_inputs_embeds: Maybe = None, labels: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
        decoder_layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]``; labels int64 ``[B, L]``, -100 for none.

        Without ids for the decoder the labels make them.
        """
        if labels is not None:
            use_cache = False
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.shift_right(labels)
        trunk = self.model(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, head_mask,
            decoder_head_mask, cross_attn_head_mask, encoder_outputs, past_key_values,
            inputs_embeds, decoder_inputs_embeds, use_cache, output_attentions,
            output_hidden_states, True, layout, decoder_layout,
        )  # fmt: skip
        scores = self.lm_head(trunk.last_hidden_state) + self.final_logits_bias
        output = outputs.Seq2SeqLMOutput(layers.token_loss(scores, labels), scores)
        return forward.finish(output, self.config, return_dict, trunk)


class BartReader(BartPreTrainedModel):
    """What heads share whose decoder reads the same text as the encoder."""

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        return PreTrainedModel.example_inputs(self, batch_size, sequence_length)


class BartForSequenceClassification(BartReader):
    """A label for each text, or a number, read at the decoder's end token."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.model = BartModel(config)
        size, rate = config.d_model, config.classifier_dropout
        self.classification_head = layers.named(
            dense=layers.DropoutLinear(size, size, rate),
            tanh=nn.Tanh(),
            out_proj=layers.DropoutLinear(size, config.num_labels, rate),
        )
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, encoder_outputs: Any = None,
        inputs_embeds: Maybe = None, decoder_inputs_embeds: Maybe = None, labels: Maybe = None,
        use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, labels]``; labels as ``layers.sequence_loss`` takes them.

        A text without end token is read at its last column, with a layout at its last token.

        Raises:
            ValueError: no ``input_ids``, in which the end is looked for.
        """
        if input_ids is None:
            raise ValueError("a sequence classifier needs input_ids, to find the texts' ends")
        trunk = self.model(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, head_mask,
            decoder_head_mask, cross_attn_head_mask, encoder_outputs, None, inputs_embeds,
            decoder_inputs_embeds, use_cache if labels is None else False, output_attentions,
            output_hidden_states, True, layout,
        )  # fmt: skip
        hidden = trunk.last_hidden_state
        read = self._ends(hidden, input_ids) if layout is None else layout.last_tokens(hidden)
        logits = self.classification_head(read)
        loss = layers.sequence_loss(logits, labels, self.config)
        output = outputs.Seq2SeqSequenceClassifierOutput(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)

    def _ends(self, hidden_BLH: Tensor, ids_BL: Tensor) -> Tensor:
        """The states at the last end token, ``[B, H]``."""
        places_L = torch.arange(ids_BL.shape[1], device=ids_BL.device)
        ends_B = torch.where(ids_BL == self.config.eos_token_id, places_L, -1).amax(1)
        return hidden_BLH[torch.arange(len(ids_BL), device=ids_BL.device), ends_B]


class BartForQuestionAnswering(BartReader):
    """Where an answer starts and ends."""

    def __init__(self, config: BartConfig) -> None:
        config.num_labels = 2
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = BartModel(config)
        self.qa_outputs = nn.Linear(config.d_model, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, encoder_outputs: Any = None,
        start_positions: Maybe = None, end_positions: Maybe = None, inputs_embeds: Maybe = None,
        decoder_inputs_embeds: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L]`` of each token being the first and the last; positions int64 ``[B]``."""
        has_labels = start_positions is not None and end_positions is not None
        trunk = self.model(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, head_mask,
            decoder_head_mask, cross_attn_head_mask, encoder_outputs, None, inputs_embeds,
            decoder_inputs_embeds, False if has_labels else use_cache, output_attentions,
            output_hidden_states, True, layout,
        )  # fmt: skip
        starts, ends = self.qa_outputs(trunk.last_hidden_state).unbind(-1)
        loss = layers.span_loss(starts, ends, start_positions, end_positions)
        output = outputs.Seq2SeqQuestionAnsweringModelOutput(loss, starts, ends)
        return forward.finish(output, self.config, return_dict, trunk)


class BartDecoder(nn.Module):
    """The decoder alone, under its name in the whole model."""

    def __init__(self, config: BartConfig) -> None:
        super().__init__()
        shared = token_embedding(config)
        self.decoder = stack(config, shared, is_decoder=True)
        self.shared = shared  # what files call the embeddings that hold them once

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As ``BartStack.forward``."""
        return self.decoder(*args, **kwargs)


class BartForCausalLM(heads.TokenHead, BartPreTrainedModel):
    """The decoder alone, and the scores of the next token."""

    def __init__(self, config: BartConfig) -> None:
        config = copy.deepcopy(config)
        config.is_decoder, config.is_encoder_decoder = True, False
        super().__init__(config)
        self.model = BartDecoder(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.model.shared

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.model.shared = self.model.decoder.embed_tokens = value

    def get_decoder(self) -> Any:
        """The decoder."""
        return self.model.decoder

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, cross_attn_head_mask: Maybe = None, past_key_values: Any = None,
        inputs_embeds: Maybe = None, labels: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, V]``; arguments as ``BartStack.forward``.

        Labels int64 ``[B, L]`` are what follows each token: they are not shifted here.
        """
        trunk = self.model(
            input_ids, attention_mask, encoder_hidden_states, encoder_attention_mask, head_mask,
            cross_attn_head_mask, past_key_values, inputs_embeds, use_cache, output_attentions,
            output_hidden_states, True, layout,
        )  # fmt: skip
        scores = self.lm_head(trunk.last_hidden_state)
        output = outputs.CausalLMOutputWithCrossAttentions(
            layers.token_loss(scores, labels), scores
        )
        return forward.finish(output, self.config, return_dict, trunk)
