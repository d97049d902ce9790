"""GPT-2 (Radford et al. 2019) and its heads.

Shape letters: B batch, C choices, L length, S keys, H hidden, N heads, D head size, V vocabulary.
``[…]`` stands for the axes of the tokens, which are the layout's.

Source: transformers 4.19.2, ``modeling_gpt2.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.gpt2 import GPT2Config
from model_base.torch import heads, layers, layouts, pruning
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout, Memory


class GPT2Attention(nn.Module):
    """Queries, keys and values of one projection; over an encoder's states keys and values.

    Args:
        config: the configuration.
        layer: number of the layer.
        is_cross_attention: whether keys and values are an encoder's.
    """

    def __init__(self, config: GPT2Config, layer: int, is_cross_attention: bool = False) -> None:
        super().__init__()
        size = config.n_embd
        self.config, self.layer, self.num_heads = config, layer, config.n_head
        self.head_dim = forward.head_size(size, config.n_head)
        if is_cross_attention:
            self.c_attn = layers.Conv1D(size, 2 * size)
            self.q_attn = layers.Conv1D(size, size)
        else:
            self.c_attn = layers.Conv1D(size, 3 * size)
        self.c_proj = layers.Conv1D(size, size)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)
        self.pruned_heads: set[int] = set()

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        query, key, value = map(self._heads, self.c_attn(hidden).chunk(3, -1))
        return self._out(layout.attend(self.layer, query, key, value, self._scoring()))

    def over(self, hidden: Tensor, memory: Memory, states: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, H]``, over an encoder's states."""

        def make() -> layouts.KeyValue:
            key, value = self.c_attn(states).chunk(2, -1)
            return self._heads(key), self._heads(value)

        key, value = memory.recall(self.layer, make)
        query = self._heads(self.q_attn(hidden))
        return self._out(memory.attend(self.layer, query, key, value, self._scoring()))

    def prune_heads(self, numbers: Iterable[int]) -> None:
        """Remove heads, by original number."""
        left, index = pruning.find_pruneable_heads_and_indices(
            numbers, self.num_heads, self.head_dim, self.pruned_heads
        )
        width = self.num_heads * self.head_dim
        columns = torch.cat([index, index + width, index + 2 * width])
        self.c_attn = pruning.prune_conv1d_layer(self.c_attn, columns, dim=1)
        self.c_proj = pruning.prune_conv1d_layer(self.c_proj, index, dim=0)
        self.num_heads -= len(left)
        self.pruned_heads |= left

    def _heads(self, hidden: Tensor) -> Tensor:
        return layers.split_heads(hidden, self.head_dim)

    def _out(self, context: Tensor) -> Tensor:
        return self.resid_dropout(self.c_proj(context.flatten(-2)))

    def _scoring(self) -> Scoring:
        config = self.config
        scale = self.head_dim**-0.5 if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            scale /= self.layer + 1
        dropout_p = config.attn_pdrop if self.training else 0.0
        return Scoring(scale, dropout_p=dropout_p, in_float32=config.reorder_and_upcast_attn)


def feed_forward(config: GPT2Config) -> nn.Module:
    """``[…, H]`` → ``[…, H]``."""
    size, inner = config.n_embd, config.n_inner or 4 * config.n_embd
    return layers.named(
        c_fc=layers.Conv1D(size, inner),
        act=layers.Activation(config.activation_function),
        c_proj=layers.Conv1D(inner, size),
        dropout=nn.Dropout(config.resid_pdrop),
    )


class GPT2Block(nn.Module):
    """Attention, cross-attention if the model has it, feed-forward; each of normalised states."""

    def __init__(self, config: GPT2Config, layer: int) -> None:
        super().__init__()
        size, eps = config.n_embd, config.layer_norm_epsilon
        self.ln_1 = nn.LayerNorm(size, eps=eps)
        self.attn = GPT2Attention(config, layer)
        self.ln_2 = nn.LayerNorm(size, eps=eps)
        if config.add_cross_attention:
            self.crossattention = GPT2Attention(config, layer, is_cross_attention=True)
            self.ln_cross_attn = nn.LayerNorm(size, eps=eps)
        self.mlp = feed_forward(config)

    def forward(
        self, hidden: Tensor, layout: Layout, memory: Memory | None, states: Maybe
    ) -> Tensor:
        """``[…, H]`` → ``[…, H]``; the encoder's states are ``[B, S, H]``."""
        hidden = hidden + self.attn(self.ln_1(hidden), layout)
        if memory is not None and states is not None:
            hidden = hidden + self.crossattention.over(self.ln_cross_attn(hidden), memory, states)
        return hidden + self.mlp(self.ln_2(hidden))


class GPT2PreTrainedModel(PreTrainedModel):
    """What all GPT-2 models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = GPT2Config
    base_model_prefix = "transformer"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"(^|\.)h\.\d+\.(attn|crossattention)\.(masked_)?bias$",
    ]

    @property
    @override
    def is_causal(self) -> bool:
        return True

    @override
    def _init_weights(self, module: nn.Module) -> None:
        spread = self.config.initializer_range
        layers.normal_init(module, spread)
        if isinstance(last := getattr(module, "c_proj", None), layers.Conv1D):
            last.weight.data.normal_(0.0, spread / math.sqrt(2 * self.config.n_layer))


class GPT2Model(GPT2PreTrainedModel):
    """The trunk: a decoder."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h: Any = nn.ModuleList(GPT2Block(config, i) for i in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.wte

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.wte = value

    def _prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        for layer, numbers in heads_to_prune.items():
            self.h[layer].attn.prune_heads(numbers)

    def _embed(
        self, input_ids: Maybe, token_type_ids: Maybe, inputs_embeds: Maybe, layout: Layout
    ) -> Tensor:
        words = self.wte(input_ids) if inputs_embeds is None else inputs_embeds
        hidden = words + self.wpe(layout.positions)
        return hidden if token_type_ids is None else hidden + self.wte(token_type_ids)

    def forward(
        self, input_ids: Maybe = None, past_key_values: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, encoder_hidden_states: Maybe = None,
        encoder_attention_mask: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states; the last of ``hidden_states`` is normalised, as the output is.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            past_key_values: for each layer keys and values ``[B, N, S, D]``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            token_type_ids: like ``input_ids``, and of the same embeddings.
            position_ids: ``[B, L]``; None counts from the length of the cache.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``.
            encoder_hidden_states: ``[B, S, H]`` for cross-attention.
            encoder_attention_mask: ``[B, S]``.
            use_cache: return ``past_key_values``; the default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, positions, cache and head mask.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces; states of an encoder without cross-attention.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        forward.check_cross_attention(config, encoder_hidden_states)
        keep_weights = forward.chosen(output_attentions, config.output_attentions)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, position_ids, head_mask, past_key_values,
            keep_weights=keep_weights, keep_cache=forward.chosen(use_cache, config.use_cache),
        )  # fmt: skip
        memory = layouts.memory_for(
            self, encoder_hidden_states, encoder_attention_mask, layouts=(layout, None),
            head_mask=head_mask, keep_weights=keep_weights,
        )  # fmt: skip
        embedded = self._embed(input_ids, token_type_ids, inputs_embeds, layout)
        states = layers.run_layers(
            self.h, self.drop(embedded), layout, memory, encoder_hidden_states,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        states = (*states[:-1], self.ln_f(states[-1]))
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPastAndCrossAttentions(
            states[-1],
            layouts.cache_of(layout),
            states if keep_states else None,
            layouts.weights_of(layout),
            layouts.weights_of(memory),
        )
        return forward.finish(output, config, return_dict)


class GPT2LMHeadModel(heads.TokenHead, GPT2PreTrainedModel):
    """The next token."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, past_key_values: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, encoder_hidden_states: Maybe = None,
        encoder_attention_mask: Maybe = None, labels: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, V]``; labels int64 ``[B, L]`` are the ids, shifted here, -100 for none."""
        trunk = self.transformer(
            input_ids, past_key_values, attention_mask, token_type_ids, position_ids, head_mask,
            inputs_embeds, encoder_hidden_states, encoder_attention_mask, use_cache,
            output_attentions, output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.lm_head(trunk.last_hidden_state)
        output = outputs.CausalLMOutputWithCrossAttentions(
            layers.next_token_loss(scores, labels), scores
        )
        return forward.finish(output, self.config, return_dict, trunk)


class GPT2DoubleHeadsModel(heads.Choices, heads.TokenHead, GPT2PreTrainedModel):
    """The next token, and which of several texts; for inputs ``[B, C, L]``."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.transformer = GPT2Model(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.multiple_choice_head = layers.SequenceSummary(config, num_labels=1)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, past_key_values: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, mc_token_ids: Maybe = None, labels: Maybe = None,
        mc_labels: Maybe = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, C, L, V]`` and ``[B, C]``.

        Args other than the trunk's: ``mc_token_ids`` int64 ``[B, C]``, which token of each text is
        read (None: the last), ``labels`` int64 ``[B, C, L]``, shifted here, ``mc_labels`` ``[B]``.
        """
        shape = forward.tokens_of(input_ids, inputs_embeds).shape
        per_token = (attention_mask, token_type_ids, position_ids)
        rows = [None if tensor is None else tensor.flatten(0, 1) for tensor in per_token]
        trunk = self.transformer(
            None if input_ids is None else input_ids.flatten(0, 1), past_key_values, *rows,
            head_mask, None if inputs_embeds is None else inputs_embeds.flatten(0, 1),
            use_cache=use_cache, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, return_dict=True,
        )  # fmt: skip
        hidden_BCLH = trunk.last_hidden_state.unflatten(0, shape[:2])
        scores = self.lm_head(hidden_BCLH)
        choice_BC = self.multiple_choice_head(hidden_BCLH, mc_token_ids).squeeze(-1)
        loss = None
        if labels is not None:
            loss = layers.next_token_loss(scores.flatten(0, 1), labels.flatten(0, 1))
        choice_loss = layers.token_loss(choice_BC, mc_labels)
        output = outputs.GPT2DoubleHeadsModelOutput(loss, choice_loss, scores, choice_BC)
        return forward.finish(output, self.config, return_dict, trunk)


class GPT2ForSequenceClassification(GPT2PreTrainedModel):
    """A label for each text, or a number, read at its last token."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.transformer = GPT2Model(config)
        self.score = nn.Linear(config.n_embd, config.num_labels, bias=False)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, past_key_values: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, labels: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, labels]``; labels as ``layers.sequence_loss`` takes them."""
        trunk = self.transformer(
            input_ids, past_key_values, attention_mask, token_type_ids, position_ids, head_mask,
            inputs_embeds, use_cache=use_cache, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        logits = heads.last_of(
            self.score(trunk.last_hidden_state), input_ids, self.config.pad_token_id, layout
        )
        loss = layers.sequence_loss(logits, labels, self.config)
        output = outputs.SequenceClassifierOutputWithPast(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)


class GPT2ForTokenClassification(GPT2PreTrainedModel):
    """A label for each token."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.transformer = GPT2Model(config)
        rates = (getattr(config, n, None) for n in ("classifier_dropout", "hidden_dropout"))
        rate = next((rate for rate in rates if rate is not None), 0.1)
        self.classifier = layers.DropoutLinear(config.n_embd, config.num_labels, rate)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, past_key_values: Any = None, attention_mask: Maybe = None,
        token_type_ids: Maybe = None, position_ids: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, labels: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, labels]``; labels int64 ``[B, L]``, -100 for none."""
        trunk = self.transformer(
            input_ids, past_key_values, attention_mask, token_type_ids, position_ids, head_mask,
            inputs_embeds, use_cache=use_cache, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        logits = self.classifier(trunk.last_hidden_state)
        output = outputs.TokenClassifierOutput(layers.token_loss(logits, labels), logits)
        return forward.finish(output, self.config, return_dict, trunk)
