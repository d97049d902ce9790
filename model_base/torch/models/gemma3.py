"""Gemma 3, text only (Gemma Team 2025, arXiv:2503.19786), and its heads.

Shape letters: D head size, H hidden, V vocabulary. ``[…]`` stands for the axes of the tokens, which
are the layout's.

Source: transformers 4.57.3, ``modeling_gemma3.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base.configs.gemma3 import Gemma3TextConfig
from model_base.configs.layer_types import window_of
from model_base.torch import heads, layers, rotary
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.decoder import Decoder
from model_base.torch.grouped_query import GroupedQueryAttention
from model_base.torch.layouts import Layout
from model_base.torch.rotary import Angles


def norm(config: Gemma3TextConfig, size: int) -> nn.Module:
    """Of the last axis, which has that size."""
    return layers.ZeroCentredRMSNorm(size, config.rms_norm_eps)


class Gemma3Attention(GroupedQueryAttention):
    """Queries and keys ``[…, D]`` are normalised before they are rotated."""

    def __init__(self, config: Gemma3TextConfig, layer: int) -> None:
        scoring = Scoring(
            config.query_pre_attn_scalar**-0.5,
            window=window_of(config, layer),
            softcap=config.attn_logit_softcapping,
            dropout_p=config.attention_dropout,
        )
        bias = config.attention_bias
        super().__init__(config, layer, scoring, bias=bias, out_bias=bias)
        self.q_norm = norm(config, config.head_dim)
        self.k_norm = norm(config, config.head_dim)

    @override
    def heads(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = super().heads(hidden)
        return self.q_norm(query), self.k_norm(key), value


class Gemma3Layer(nn.Module):
    """Attention, then feed-forward; each is normalised before and after, and added."""

    def __init__(self, config: Gemma3TextConfig, layer: int) -> None:
        super().__init__()
        size = config.hidden_size
        self.layer_type = config.layer_types[layer]
        self.self_attn = Gemma3Attention(config, layer)
        self.mlp = layers.GatedMLP(size, config.intermediate_size, config.hidden_activation)
        self.input_layernorm = norm(config, size)
        self.post_attention_layernorm = norm(config, size)
        self.pre_feedforward_layernorm = norm(config, size)
        self.post_feedforward_layernorm = norm(config, size)

    def forward(self, hidden: Tensor, layout: Layout, angles: Mapping[str, Angles]) -> Tensor:
        """``[…, H]`` → ``[…, H]``; ``angles`` by type of layer."""
        normed = self.input_layernorm(hidden)
        attended = self.self_attn(normed, layout, angles[self.layer_type])
        hidden = hidden + self.post_attention_layernorm(attended)
        inner = self.mlp(self.pre_feedforward_layernorm(hidden))
        return hidden + self.post_feedforward_layernorm(inner)


class Gemma3PreTrainedModel(PreTrainedModel):
    """What all Gemma 3 text models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = Gemma3TextConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"rotary_emb.*inv_freq"]

    @property
    @override
    def is_causal(self) -> bool:
        return True


class Gemma3TextModel(Decoder, Gemma3PreTrainedModel):
    """The trunk: a decoder. ``inputs_embeds`` are taken as they are, words are scaled."""

    def __init__(self, config: Gemma3TextConfig) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.embed_tokens = layers.ScaledEmbedding(
            config.vocab_size, size, config.pad_token_id, size**0.5
        )
        self.layers = nn.ModuleList(Gemma3Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = norm(config, size)
        self.ropes = {kind: config.rope(kind) for kind in config.layer_types}
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def states(self, embedded: Tensor, layout: Layout, recompute: bool) -> tuple[Tensor, ...]:
        angles = {
            kind: rotary.angles(rope, layout, embedded.dtype) for kind, rope in self.ropes.items()
        }
        states = layers.run_layers(self.layers, embedded, layout, angles, recompute=recompute)
        return (*states[:-1], self.norm(states[-1]))


class Gemma3ForCausalLM(heads.NextToken, Gemma3PreTrainedModel):
    """The next token."""

    def __init__(self, config: Gemma3TextConfig) -> None:
        super().__init__(config)
        self.model = Gemma3TextModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @override
    def token_scores(self, hidden: Tensor) -> Tensor:
        return layers.softcapped(self.lm_head(hidden), self.config.final_logit_softcapping)


class Gemma3TextForSequenceClassification(heads.LastTokenLabeller, Gemma3PreTrainedModel):
    """A label for each text, or a number, read at its last token."""

    def __init__(self, config: Gemma3TextConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = Gemma3TextModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()
