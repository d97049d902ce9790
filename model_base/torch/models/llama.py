"""Llama (Touvron et al. 2023, arXiv:2302.13971) and its heads.

Shape letters: B batch, L length, H hidden, N heads, M heads of keys, D head size. ``[…]`` stands
for the axes of the tokens, which are the layout's: ``[B, L]`` padded, ``[T]`` packed.

Source: transformers 4.57.3, ``modeling_llama.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base import outputs
from model_base.configs.llama import LlamaConfig
from model_base.configs.rotary import rope_of
from model_base.torch import heads, layers, layouts, rotary
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout
from model_base.torch.rotary import Angles

Maybe = Tensor | None
Flag = bool | None


class LlamaAttention(nn.Module):
    """Rotated queries over rotated keys; several heads of queries share one of keys."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.dropout_p = config.attention_dropout
        size, bias = config.hidden_size, config.attention_bias
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(size, queries, bias)
        self.k_proj = nn.Linear(size, keys, bias)
        self.v_proj = nn.Linear(size, keys, bias)
        self.o_proj = nn.Linear(queries, size, bias)

    def forward(self, hidden: Tensor, layout: Layout, angles: Angles) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        query, key, value = (
            layers.split_heads(project(hidden), self.head_dim)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotary.rotate(query, angles), rotary.rotate(key, angles)
        dropout_p = self.dropout_p if self.training else 0.0
        scoring = Scoring(self.head_dim**-0.5, dropout_p=dropout_p)
        return self.o_proj(layout.attend(self.layer, query, key, value, scoring).flatten(-2))


class LlamaLayer(nn.Module):
    """Attention, then feed-forward, each of normalised states and added to them."""

    def __init__(self, config: LlamaConfig, layer: int) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.rms_norm_eps
        self.self_attn = LlamaAttention(config, layer)
        self.mlp = layers.GatedMLP(
            size, config.intermediate_size, config.hidden_act, bias=config.mlp_bias
        )
        self.input_layernorm = layers.RMSNorm(size, eps)
        self.post_attention_layernorm = layers.RMSNorm(size, eps)

    def forward(self, hidden: Tensor, layout: Layout, angles: Angles) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), layout, angles)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class LlamaPreTrainedModel(PreTrainedModel):
    """What all Llama models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = LlamaConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"rotary_emb\.inv_freq"]

    @property
    @override
    def is_causal(self) -> bool:
        return True

    @override
    def _init_weights(self, module: nn.Module) -> None:
        layers.normal_init(module, self.config.initializer_range)


class LlamaModel(LlamaPreTrainedModel):
    """The trunk: a decoder."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(LlamaLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = layers.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rope = rope_of(config)
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embed_tokens

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.embed_tokens = value

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states; the last of ``hidden_states`` is normalised, as the output is.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            position_ids: ``[B, L]``; None counts from the length of the cache.
            past_key_values: for each layer keys and values ``[B, M, S, D]``.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``.
            use_cache: return ``past_key_values``; the default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, positions and cache.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces.
        """
        config, tokens = self.config, layers.tokens_of(input_ids, inputs_embeds)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, position_ids, past_key_values=past_key_values,
            keep_weights=layers.chosen(output_attentions, config.output_attentions),
            keep_cache=layers.chosen(use_cache, config.use_cache),
        )  # fmt: skip
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        states = layers.run_layers(
            self.layers, embedded, layout,
            rotary.angles(self.rope, layout.positions, embedded.dtype),
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        states = (*states[:-1], self.norm(states[-1]))
        keep_states = layers.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPast(
            states[-1],
            layouts.cache_of(layout),
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return layers.finish(output, config, return_dict)


class LlamaForCausalLM(heads.NextToken, LlamaPreTrainedModel):
    """The next token."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model = LlamaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class LlamaForSequenceClassification(heads.LastTokenLabeller, LlamaPreTrainedModel):
    """A label for each text, or a number, read at its last token."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = LlamaModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()
