"""GPT-NeoX (Black et al. 2022, arXiv:2204.06745) and its heads.

Shape letters: B batch, L length, S keys, H hidden, N heads, D head size, V vocabulary. ``[…]``
stands for the axes of the tokens, which are the layout's.

Source: transformers 4.57.3, ``modeling_gpt_neox.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.gpt_neox import GPTNeoXConfig
from model_base.configs.rotary import rope_of
from model_base.torch import heads, layers, layouts, rotary
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout
from model_base.torch.rotary import Angles


class GPTNeoXAttention(nn.Module):
    """One projection gives each head its query, key and value; a part of each is rotated."""

    def __init__(self, config: GPTNeoXConfig, layer: int) -> None:
        super().__init__()
        size, bias = config.hidden_size, config.attention_bias
        self.layer = layer
        self.head_dim = forward.head_size(size, config.num_attention_heads)
        self.dropout_p = config.attention_dropout
        self.query_key_value = nn.Linear(size, 3 * size, bias)
        self.dense = nn.Linear(size, size, bias)

    def forward(self, hidden: Tensor, layout: Layout, angles: Angles) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        fused = layers.split_heads(self.query_key_value(hidden), 3 * self.head_dim)
        query, key, value = fused.chunk(3, dim=-1)
        query, key = rotary.rotate(query, angles), rotary.rotate(key, angles)
        dropout_p = self.dropout_p if self.training else 0.0
        scoring = Scoring(self.head_dim**-0.5, dropout_p=dropout_p)
        return self.dense(layout.attend(self.layer, query, key, value, scoring).flatten(-2))


class GPTNeoXLayer(nn.Module):
    """Attention and feed-forward of normalised states: side by side, or one after the other."""

    def __init__(self, config: GPTNeoXConfig, layer: int) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.is_parallel = config.use_parallel_residual
        self.input_layernorm = nn.LayerNorm(size, eps=eps)
        self.post_attention_layernorm = nn.LayerNorm(size, eps=eps)
        self.post_attention_dropout = nn.Dropout(config.hidden_dropout)
        self.post_mlp_dropout = nn.Dropout(config.hidden_dropout)
        self.attention = GPTNeoXAttention(config, layer)
        self.mlp = layers.named(
            dense_h_to_4h=nn.Linear(size, config.intermediate_size),
            act=layers.Activation(config.hidden_act),
            dense_4h_to_h=nn.Linear(config.intermediate_size, size),
        )

    def forward(self, hidden: Tensor, layout: Layout, angles: Angles) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        attended = self.attention(self.input_layernorm(hidden), layout, angles)
        after = hidden + self.post_attention_dropout(attended)
        read = hidden if self.is_parallel else after
        return after + self.post_mlp_dropout(self.mlp(self.post_attention_layernorm(read)))


class GPTNeoXPreTrainedModel(PreTrainedModel):
    """What all GPT-NeoX models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = GPTNeoXConfig
    base_model_prefix = "gpt_neox"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [
        r"attention\.(masked_)?bias$", r"rotary_emb\.inv_freq",
    ]  # fmt: skip

    @property
    @override
    def is_causal(self) -> bool:
        return True


class GPTNeoXModel(GPTNeoXPreTrainedModel):
    """The trunk: a decoder."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.embed_in = nn.Embedding(config.vocab_size, config.hidden_size)
        self.emb_dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(
            GPTNeoXLayer(config, i) for i in range(config.num_hidden_layers)
        )
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.rope = rope_of(config)
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embed_in

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.embed_in = value

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        head_mask: Maybe = None, inputs_embeds: Maybe = None, past_key_values: Any = None,
        use_cache: Flag = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states; the last of ``hidden_states`` is normalised, as the output is.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            position_ids: ``[B, L]``; None counts from the length of the cache.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``.
            past_key_values: for each layer keys and values ``[B, N, S, D]``.
            use_cache: return ``past_key_values``; the default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, positions, cache and head mask.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, position_ids, head_mask, past_key_values,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
            keep_cache=forward.chosen(use_cache, config.use_cache),
        )  # fmt: skip
        embedded = self.embed_in(input_ids) if inputs_embeds is None else inputs_embeds
        states = layers.run_layers(
            self.layers, self.emb_dropout(embedded), layout,
            rotary.angles(self.rope, layout, embedded.dtype),
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        states = (*states[:-1], self.final_layer_norm(states[-1]))
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPast(
            states[-1],
            layouts.cache_of(layout),
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)


class GPTNeoXForCausalLM(GPTNeoXPreTrainedModel):
    """The next token."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.gpt_neox = GPTNeoXModel(config)
        self.embed_out = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @override
    def get_output_embeddings(self) -> nn.Module:
        return self.embed_out

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.embed_out = value

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        inputs_embeds: Maybe = None, head_mask: Maybe = None, past_key_values: Any = None,
        labels: Maybe = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, V]``; labels int64 ``[B, L]`` are the ids, shifted here, -100 for none."""
        trunk = self.gpt_neox(
            input_ids, attention_mask, position_ids, head_mask, inputs_embeds, past_key_values,
            use_cache, output_attentions, output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.embed_out(trunk.last_hidden_state)
        output = outputs.CausalLMOutputWithPast(layers.next_token_loss(scores, labels), scores)
        return forward.finish(output, self.config, return_dict, trunk)


class GPTNeoXForSequenceClassification(GPTNeoXPreTrainedModel):
    """A label for each text, or a number, read at its last token."""

    def __init__(self, config: GPTNeoXConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.gpt_neox = GPTNeoXModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        inputs_embeds: Maybe = None, head_mask: Maybe = None, past_key_values: Any = None,
        labels: Maybe = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, labels]``; labels as ``layers.sequence_loss`` takes them."""
        trunk = self.gpt_neox(
            input_ids, attention_mask, position_ids, head_mask, inputs_embeds, past_key_values,
            use_cache, output_attentions, output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        logits = heads.last_of(
            self.score(trunk.last_hidden_state), input_ids, self.config.pad_token_id, layout
        )
        loss = layers.sequence_loss(logits, labels, self.config)
        output = outputs.SequenceClassifierOutputWithPast(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)
