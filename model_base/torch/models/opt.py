"""OPT (Zhang et al. 2022, arXiv:2205.01068) and its heads.

Shape letters: B batch, L length, S keys, H hidden, W words' width, N heads, D head size,
V vocabulary. ``[…]`` stands for the axes of the tokens, which are the layout's.

Source: transformers 4.19.2, ``modeling_opt.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.opt import OPTConfig
from model_base.torch import heads, layers, layouts
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout
from model_base.torch.multi_head import MultiHeadAttention


class OPTPositions(nn.Embedding):
    """Embeddings of positions, which begin at the third row; padding has the second."""

    offset = 2

    def __init__(self, count: int, size: int) -> None:
        super().__init__(count + self.offset, size)

    @override
    def forward(self, positions: Tensor) -> Tensor:
        return super().forward(positions + self.offset)


def positions_of(attention_mask: Maybe, length: int) -> Maybe:
    """Position of each of the last ``length`` tokens, -1 of padding; None without a mask."""
    if attention_mask is None or attention_mask.dim() != 2:
        return None
    mask_BS = attention_mask.long()
    return (mask_BS.cumsum(1) * mask_BS - 1)[:, -length:]


class OPTLayer(nn.Module):
    """Attention, then feed-forward; each is normalised before, or with its residual after."""

    def __init__(self, config: OPTConfig, layer: int) -> None:
        super().__init__()
        size, bias = config.hidden_size, config.enable_bias
        self.self_attn = MultiHeadAttention(
            size, config.num_attention_heads, layer, config.attention_dropout, bias=bias
        )
        self.self_attn_layer_norm = layer_norm(config)
        self.fc1 = nn.Linear(size, config.ffn_dim, bias)
        self.activation_fn = layers.Activation(config.activation_function)
        self.fc2 = nn.Linear(config.ffn_dim, size, bias)
        self.final_layer_norm = layer_norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.norms_before = config.do_layer_norm_before

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        if self.norms_before:
            hidden = hidden + self.dropout(
                self.self_attn(self.self_attn_layer_norm(hidden), layout)
            )
            return hidden + self._feed_forward(self.final_layer_norm(hidden))
        hidden = self.self_attn_layer_norm(hidden + self.dropout(self.self_attn(hidden, layout)))
        return self.final_layer_norm(hidden + self._feed_forward(hidden))

    def _feed_forward(self, hidden: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.activation_fn(self.fc1(hidden))))


def layer_norm(config: OPTConfig) -> nn.LayerNorm:
    """A LayerNorm over H, with weights if the configuration has them."""
    return nn.LayerNorm(config.hidden_size, elementwise_affine=config.layer_norm_elementwise_affine)


class OPTPreTrainedModel(PreTrainedModel):
    """What all OPT models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = OPTConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"decoder\.version"]

    @property
    @override
    def is_causal(self) -> bool:
        return True

    @override
    def _init_weights(self, module: nn.Module) -> None:
        layers.normal_init(module, self.config.init_std)


class OPTDecoder(OPTPreTrainedModel):
    """All layers; words may be narrower than the states, and are then projected both ways.

    The model it is in initialises it.
    """

    def __init__(self, config: OPTConfig) -> None:
        super().__init__(config)
        size, width = config.hidden_size, config.word_embed_proj_dim
        self.embed_tokens = nn.Embedding(config.vocab_size, width, config.pad_token_id)
        self.embed_positions = OPTPositions(config.max_position_embeddings, size)
        is_narrow = width != size
        self.project_out = nn.Linear(size, width, bias=False) if is_narrow else None
        self.project_in = nn.Linear(width, size, bias=False) if is_narrow else None
        self.final_layer_norm = layer_norm(config) if config.has_final_layer_norm else None
        self.layers = nn.ModuleList(OPTLayer(config, i) for i in range(config.num_hidden_layers))
        self.dropout = nn.Dropout(config.dropout)
        self.gradient_checkpointing = False

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embed_tokens

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.embed_tokens = value

    def _embed(self, input_ids: Maybe, inputs_embeds: Maybe, layout: Layout) -> Tensor:
        words = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        hidden = words if self.project_in is None else self.project_in(words)
        return self.dropout(hidden + self.embed_positions(layout.positions))

    def _finish(self, hidden: Tensor) -> Tensor:
        if self.final_layer_norm is not None:
            hidden = self.final_layer_norm(hidden)
        return hidden if self.project_out is None else self.project_out(hidden)

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states ``[…, W]``; the last of ``hidden_states`` is the output.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it. Positions
                count the tokens that a ``[B, S]`` keeps.
            head_mask: ``[N]`` or ``[layers, N]``.
            past_key_values: for each layer keys and values ``[B, N, S, D]``.
            inputs_embeds: ``[…, W]`` in place of ``input_ids``.
            use_cache: return ``past_key_values``; the default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, cache and head mask.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, None, head_mask, past_key_values,
            count=lambda: positions_of(attention_mask, tokens.shape[1]),
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
            keep_cache=forward.chosen(use_cache, config.use_cache),
        )  # fmt: skip
        states = layers.run_layers(
            self.layers, self._embed(input_ids, inputs_embeds, layout), layout,
            recompute=self.gradient_checkpointing and self.training,
            skip_p=config.layerdrop if self.training else 0.0,
        )  # fmt: skip
        states = (*states[:-1], self._finish(states[-1]))
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPast(
            states[-1],
            layouts.cache_of(layout),
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)


class OPTModel(OPTPreTrainedModel):
    """The trunk: the decoder under the name that checkpoints know."""

    def __init__(self, config: OPTConfig) -> None:
        super().__init__(config)
        self.decoder = OPTDecoder(config)
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.decoder.embed_tokens

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.decoder.embed_tokens = value

    def get_decoder(self) -> nn.Module:
        """The decoder."""
        return self.decoder

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Hidden states ``[…, W]``; arguments as ``OPTDecoder.forward``."""
        return self.decoder(
            input_ids, attention_mask, head_mask, past_key_values, inputs_embeds, use_cache,
            output_attentions, output_hidden_states, return_dict, layout,
        )  # fmt: skip


class OPTForCausalLM(heads.TokenHead, OPTPreTrainedModel):
    """The next token."""

    def __init__(self, config: OPTConfig) -> None:
        super().__init__(config)
        self.model = OPTModel(config)
        self.lm_head = nn.Linear(config.word_embed_proj_dim, config.vocab_size, bias=False)
        self.post_init()

    def get_decoder(self) -> nn.Module:
        """The decoder."""
        return self.model.decoder

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None, labels: Maybe = None,
        use_cache: Flag = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, V]``; labels int64 ``[B, L]`` are the ids, shifted here, -100 for none."""
        trunk = self.model(
            input_ids, attention_mask, head_mask, past_key_values, inputs_embeds, use_cache,
            output_attentions, output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.lm_head(trunk.last_hidden_state)
        output = outputs.CausalLMOutputWithPast(layers.next_token_loss(scores, labels), scores)
        return forward.finish(output, self.config, return_dict, trunk)


class OPTForSequenceClassification(OPTPreTrainedModel):
    """A label for each text, or a number, read at its last token."""

    def __init__(self, config: OPTConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = OPTModel(config)
        self.score = nn.Linear(config.word_embed_proj_dim, config.num_labels, bias=False)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None, labels: Maybe = None,
        use_cache: Flag = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, labels]``; labels as ``layers.sequence_loss`` takes them."""
        trunk = self.model(
            input_ids, attention_mask, head_mask, past_key_values, inputs_embeds, use_cache,
            output_attentions, output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        logits = heads.last_of(
            self.score(trunk.last_hidden_state), input_ids, self.config.pad_token_id, layout
        )
        loss = layers.sequence_loss(logits, labels, self.config)
        output = outputs.SequenceClassifierOutputWithPast(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)
