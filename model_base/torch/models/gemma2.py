"""Gemma 2 (Gemma Team 2024, arXiv:2408.00118) and its heads.

Shape letters: H hidden, V vocabulary. ``[…]`` stands for the axes of the tokens, which are the
layout's.

Source: transformers 4.57.3, ``modeling_gemma2.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base.configs.gemma2 import Gemma2Config
from model_base.configs.layer_types import window_of
from model_base.configs.rotary import rope_of
from model_base.torch import heads, layers, rotary
from model_base.torch.arguments import Maybe
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.decoder import Decoder
from model_base.torch.grouped_query import GroupedQueryAttention
from model_base.torch.layouts import Layout
from model_base.torch.rotary import Angles


class Gemma2Layer(nn.Module):
    """Attention, then feed-forward; each is normalised before and after, and added."""

    def __init__(self, config: Gemma2Config, layer: int) -> None:
        super().__init__()
        scoring = Scoring(
            config.query_pre_attn_scalar**-0.5,
            window=window_of(config, layer),
            softcap=config.attn_logit_softcapping,
            dropout_p=config.attention_dropout,
        )
        bias = config.attention_bias
        self.self_attn = GroupedQueryAttention(config, layer, scoring, bias=bias, out_bias=bias)
        self.mlp = layers.GatedMLP(
            config.hidden_size, config.intermediate_size, config.hidden_activation
        )
        self.input_layernorm = norm(config)
        self.post_attention_layernorm = norm(config)
        self.pre_feedforward_layernorm = norm(config)
        self.post_feedforward_layernorm = norm(config)

    def forward(self, hidden: Tensor, layout: Layout, angles: Angles) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        attended = self.self_attn(self.input_layernorm(hidden), layout, angles)
        hidden = hidden + self.post_attention_layernorm(attended)
        inner = self.mlp(self.pre_feedforward_layernorm(hidden))
        return hidden + self.post_feedforward_layernorm(inner)


def norm(config: Gemma2Config) -> nn.Module:
    """Of hidden states."""
    return layers.ZeroCentredRMSNorm(config.hidden_size, config.rms_norm_eps)


class Gemma2PreTrainedModel(PreTrainedModel):
    """What all Gemma 2 models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = Gemma2Config
    base_model_prefix = "model"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"rotary_emb\.inv_freq"]

    @property
    @override
    def is_causal(self) -> bool:
        return True


class Gemma2Model(Decoder, Gemma2PreTrainedModel):
    """The trunk: a decoder."""

    def __init__(self, config: Gemma2Config) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(Gemma2Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = norm(config)
        self.rope = rope_of(config)
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def embed(self, input_ids: Maybe, inputs_embeds: Maybe) -> Tensor:
        return layers.scaled(super().embed(input_ids, inputs_embeds), self.config.hidden_size**0.5)

    @override
    def states(self, embedded: Tensor, layout: Layout, recompute: bool) -> tuple[Tensor, ...]:
        angles = rotary.angles(self.rope, layout, embedded.dtype)
        states = layers.run_layers(self.layers, embedded, layout, angles, recompute=recompute)
        return (*states[:-1], self.norm(states[-1]))


class Gemma2ForCausalLM(heads.NextToken, Gemma2PreTrainedModel):
    """The next token."""

    def __init__(self, config: Gemma2Config) -> None:
        super().__init__(config)
        self.model = Gemma2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @override
    def token_scores(self, hidden: Tensor) -> Tensor:
        return layers.softcapped(self.lm_head(hidden), self.config.final_logit_softcapping)


class Gemma2ForSequenceClassification(heads.LastTokenLabeller, Gemma2PreTrainedModel):
    """A label for each text, or a number, read at its last token."""

    def __init__(self, config: Gemma2Config) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = Gemma2Model(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()
