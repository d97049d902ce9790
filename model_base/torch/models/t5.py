"""T5 (Raffel et al. 2019, arXiv:1910.10683), encoder, decoder and both.

Shape letters: B batch, S tokens of the encoder, L tokens of the decoder, H hidden, N heads, D head
size, V vocabulary. ``[…]`` stands for the axes of the tokens, which are the layout's.

Source: transformers 4.19.2, ``modeling_t5.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

import copy
import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.t5 import T5Config
from model_base.torch import heads, layers, layouts
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.attention import ScoreBias, Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.encoder_decoder import EncoderDecoder, HasEncoder
from model_base.torch.layouts import Layout, Memory


def distance_bucket(distance: Tensor, is_decoder: bool, count: int, longest: int) -> Tensor:
    """The bucket of each distance, key minus query, int64 of any shape.

    Half of the buckets hold one small distance each, the others ever wider ranges up to
    ``longest``; an encoder has half of the buckets for each direction.
    """
    first = torch.zeros_like(distance)
    if is_decoder:
        distance = (-distance).clamp(min=0)
    else:
        count //= 2
        first = (distance > 0) * count
        distance = distance.abs()
    exact = count // 2
    scale = (count - exact) / math.log(longest / exact)
    far = exact + ((distance.float().clamp(min=1) / exact).log() * scale).to(torch.int64)
    return first + torch.where(distance < exact, distance, far.clamp(max=count - 1))


class T5Attention(nn.Module):
    """Attention without scaling; the first of a stack holds the biases of distances."""

    def __init__(self, config: T5Config, layer: int, has_relative_attention_bias: bool) -> None:
        super().__init__()
        self.config, self.layer = config, layer
        inner = config.num_heads * config.d_kv
        self.q = nn.Linear(config.d_model, inner, bias=False)
        self.k = nn.Linear(config.d_model, inner, bias=False)
        self.v = nn.Linear(config.d_model, inner, bias=False)
        self.o = nn.Linear(inner, config.d_model, bias=False)
        if has_relative_attention_bias:
            self.relative_attention_bias = nn.Embedding(
                config.relative_attention_num_buckets, config.num_heads
            )

    def forward(self, hidden: Tensor, layout: Layout, bias: ScoreBias) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        query, key, value = (self._heads(project(hidden)) for project in (self.q, self.k, self.v))
        return self.o(layout.attend(self.layer, query, key, value, self._scoring(bias)).flatten(-2))

    def over(self, hidden: Tensor, memory: Memory, states: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, H]``, over an encoder's states."""
        key, value = memory.recall(
            self.layer, lambda: (self._heads(self.k(states)), self._heads(self.v(states)))
        )
        query = self._heads(self.q(hidden))
        return self.o(memory.attend(self.layer, query, key, value, self._scoring()).flatten(-2))

    def distance_bias(self) -> ScoreBias:
        """The bias ``[1, N, L, S]`` of every pair; without gradients once for each size."""
        known: dict[tuple[int, int], Tensor] = {}

        def bias(query: Tensor, key: Tensor, queries_L: Tensor, keys_S: Tensor) -> Tensor:
            if torch.is_grad_enabled():
                return self._distance_bias(queries_L, keys_S)
            size = len(queries_L), len(keys_S)
            if size not in known:
                known[size] = self._distance_bias(queries_L, keys_S)
            return known[size]

        return bias

    def _distance_bias(self, queries_L: Tensor, keys_S: Tensor) -> Tensor:
        config = self.config
        table: Any = self.relative_attention_bias
        buckets_LS = distance_bucket(
            keys_S - queries_L[:, None], config.is_decoder,
            config.relative_attention_num_buckets, config.relative_attention_max_distance,
        )  # fmt: skip
        return table(buckets_LS).permute(2, 0, 1)[None]

    def _heads(self, hidden: Tensor) -> Tensor:
        return layers.split_heads(hidden, self.config.d_kv)

    def _scoring(self, bias: ScoreBias | None = None) -> Scoring:
        dropout_p = self.config.dropout_rate if self.training else 0.0
        return Scoring(1.0, bias=bias, dropout_p=dropout_p)


class T5FeedForward(nn.Module):
    """Two linear layers with an activation, gated (1.1) or not (1.0)."""

    wi: nn.Module
    wi_0: nn.Module
    wi_1: nn.Module

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        names = ("wi_0", "wi_1") if config.is_gated_act else ("wi",)
        for name in names:
            setattr(self, name, nn.Linear(config.d_model, config.d_ff, bias=False))
        self.wo = nn.Linear(config.d_ff, config.d_model, bias=False)
        self.dropout = nn.Dropout(config.dropout_rate)
        self.act = layers.Activation(config.dense_act_fn)
        self.is_gated = config.is_gated_act

    def forward(self, hidden: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        if self.is_gated:
            inner = self.act(self.wi_0(hidden)) * self.wi_1(hidden)
        else:
            inner = self.act(self.wi(hidden))
        return self.wo(self.dropout(inner))


class T5Sublayer(nn.Module):
    """Normalise, compute, drop, add: the frame of attention and feed-forward."""

    def __init__(self, config: T5Config, name: str, module: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, module)
        self.layer_norm = layers.RMSNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)

    @property
    def inner(self) -> Any:
        """The module that computes."""
        return getattr(self, self.name)

    def add(self, hidden: Tensor, update: Tensor) -> Tensor:
        """The sum; float16 is kept finite."""
        return layers.finite(hidden + self.dropout(update))


class T5Block(nn.Module):
    """Attention, in a decoder attention over the encoder, feed-forward."""

    def __init__(self, config: T5Config, layer: int) -> None:
        super().__init__()
        parts = [T5Sublayer(config, "SelfAttention", T5Attention(config, layer, layer == 0))]
        if config.is_decoder:
            parts.append(T5Sublayer(config, "EncDecAttention", T5Attention(config, layer, False)))
        parts.append(T5Sublayer(config, "DenseReluDense", T5FeedForward(config)))
        self.layer = nn.ModuleList(parts)

    def forward(
        self, hidden: Tensor, layout: Layout, bias: ScoreBias, memory: Memory | None, states: Maybe
    ) -> Tensor:
        """``[…, H]`` → ``[…, H]``; the encoder's states are ``[B, S, H]``."""
        own: Any = self.layer[0]
        hidden = own.add(hidden, own.inner(own.layer_norm(hidden), layout, bias))
        if memory is not None and states is not None:
            far: Any = self.layer[1]
            hidden = far.add(hidden, far.inner.over(far.layer_norm(hidden), memory, states))
        last: Any = self.layer[-1]
        return last.add(hidden, last.inner(last.layer_norm(hidden)))


class T5PreTrainedModel(PreTrainedModel):
    """What all T5 models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = T5Config
    base_model_prefix = "transformer"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_missing: list[str] | None = [
        r"encoder\.embed_tokens\.weight", r"decoder\.embed_tokens\.weight", r"lm_head\.weight",
    ]  # fmt: skip
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight",
    ]

    shared: nn.Embedding
    encoder: Any

    @override
    def _init_weights(self, module: nn.Module) -> None:
        config, factor = self.config, self.config.initializer_factor
        if isinstance(module, nn.Embedding):
            module.weight.data.normal_(0.0, factor)
        elif isinstance(module, T5Attention):
            module.q.weight.data.normal_(0.0, factor * (config.d_model * config.d_kv) ** -0.5)
            for linear in (module.k, module.v):
                linear.weight.data.normal_(0.0, factor * config.d_model**-0.5)
            inner = config.num_heads * config.d_kv
            module.o.weight.data.normal_(0.0, factor * inner**-0.5)
            if hasattr(module, "relative_attention_bias"):
                module.relative_attention_bias.weight.data.normal_(
                    0.0, factor * config.d_model**-0.5
                )
        elif isinstance(module, T5FeedForward):
            for child in module.children():
                if isinstance(child, nn.Linear):
                    child.weight.data.normal_(0.0, factor * child.in_features**-0.5)

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.shared

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.shared = value
        for stack in (self.encoder, getattr(self, "decoder", None)):
            if stack is not None:
                stack.set_input_embeddings(value)

    @override
    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        inputs = super().example_inputs(batch_size, sequence_length)
        if self.config.is_encoder_decoder and hasattr(self, "decoder"):
            inputs["decoder_input_ids"] = inputs["input_ids"]
        return inputs

    def shift_right(self, labels: Tensor) -> Tensor:
        """What the decoder reads to predict ``labels``, int64 ``[B, L]``."""
        config = self.config
        return layers.shift_right(labels, config.decoder_start_token_id, config.pad_token_id)


class T5Stack(T5PreTrainedModel):
    """The encoder, or the decoder if ``config.is_decoder``; the model it is in initialises it.

    Args:
        config: of this stack: ``num_layers`` and ``is_decoder`` are its own.
        embed_tokens: shared with the other stack.
    """

    def __init__(self, config: T5Config, embed_tokens: nn.Embedding) -> None:
        super().__init__(config)
        self.embed_tokens = embed_tokens
        self.block: Any = nn.ModuleList(T5Block(config, i) for i in range(config.num_layers))
        self.final_layer_norm = layers.RMSNorm(config.d_model, config.layer_norm_epsilon)
        self.dropout = nn.Dropout(config.dropout_rate)
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
        inputs_embeds: Maybe = None, head_mask: Maybe = None, cross_attn_head_mask: Maybe = None,
        past_key_values: Any = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
        memory_layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, L]`` or ``[B, L, L]``; 1 keeps a token, 0 hides it.
            encoder_hidden_states: ``[B, S, H]``; of a decoder.
            encoder_attention_mask: ``[B, S]``.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``.
            head_mask: ``[N]`` or ``[layers, N]``.
            cross_attn_head_mask: the same for attention over the encoder.
            past_key_values: for each layer own and encoder's keys and values.
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
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        states = layers.run_layers(
            self.block, self.dropout(embedded), layout,
            self.block[0].layer[0].SelfAttention.distance_bias(), memory, encoder_hidden_states,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        states = (*states[:-1], self.dropout(self.final_layer_norm(states[-1])))
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPastAndCrossAttentions(
            states[-1],
            layouts.cache_of(layout, memory),
            states if keep_states else None,
            layouts.weights_of(layout),
            layouts.weights_of(memory),
        )
        return forward.finish(output, config, return_dict)


def encoder(config: T5Config, embed_tokens: nn.Embedding) -> T5Stack:
    """The encoder of a configuration."""
    config = copy.deepcopy(config)
    config.is_decoder, config.use_cache, config.is_encoder_decoder = False, False, False
    return T5Stack(config, embed_tokens)


def decoder(config: T5Config, embed_tokens: nn.Embedding) -> T5Stack:
    """The decoder of a configuration."""
    config = copy.deepcopy(config)
    config.is_decoder, config.is_encoder_decoder = True, False
    config.num_layers = config.num_decoder_layers
    return T5Stack(config, embed_tokens)


class T5EncoderDecoder(EncoderDecoder, T5PreTrainedModel):
    """Encoder and decoder, before their weights are initialised."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = encoder(config, self.shared)
        self.decoder = decoder(config, self.shared)


class T5Model(T5EncoderDecoder):
    """Encoder and decoder; the hidden states of the decoder."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.post_init()


class T5ForConditionalGeneration(heads.TokenHead, T5EncoderDecoder):
    """Encoder, decoder, and the scores of the next token."""

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    @override
    def forward(  # type: ignore[override]  # labels stand where 4.19 has them
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
        """Logits ``[B, L, V]``; arguments as ``T5Model.forward``, and labels int64 ``[B, L]``.

        A label of -100 does not count. Without ids for the decoder the labels make them.
        """
        if labels is not None and decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids = self.shift_right(labels)
        trunk = super().forward(
            input_ids, attention_mask, decoder_input_ids, decoder_attention_mask, head_mask,
            decoder_head_mask, cross_attn_head_mask, encoder_outputs, past_key_values,
            inputs_embeds, decoder_inputs_embeds, use_cache, output_attentions,
            output_hidden_states, True, layout, decoder_layout,
        )  # fmt: skip
        hidden = trunk.last_hidden_state
        config = self.config
        if forward.chosen(config.scale_decoder_outputs, config.tie_word_embeddings):
            hidden = hidden * config.d_model**-0.5
        scores = self.lm_head(hidden)
        output = outputs.Seq2SeqLMOutput(layers.token_loss(scores, labels), scores)
        return forward.finish(output, config, return_dict, trunk)


class T5EncoderModel(HasEncoder, T5PreTrainedModel):
    """The encoder alone."""

    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"^decoder\."]

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = encoder(config, self.shared)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Hidden states ``[…, H]``; arguments as ``T5Stack.forward``."""
        return self.encoder(
            input_ids, attention_mask, inputs_embeds=inputs_embeds, head_mask=head_mask,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=return_dict, layout=layout,
        )  # fmt: skip
