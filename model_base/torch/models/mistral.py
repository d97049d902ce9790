"""Mistral (Jiang et al. 2023, arXiv:2310.06825) and its heads.

Shape letters: H hidden. ``[…]`` stands for the axes of the tokens, which are the layout's.

Source: transformers 4.57.3, ``modeling_mistral.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base.configs.mistral import MistralConfig
from model_base.configs.rotary import rope_of
from model_base.torch import heads, layers, rotary
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.decoder import Decoder
from model_base.torch.grouped_query import GroupedQueryAttention
from model_base.torch.layouts import Layout
from model_base.torch.rotary import Angles


class MistralLayer(nn.Module):
    """Attention over a window, then feed-forward, each of normalised states and added to them."""

    def __init__(self, config: MistralConfig, layer: int) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.rms_norm_eps
        scoring = Scoring(
            config.head_dim**-0.5,
            window=None if config.sliding_window is None else config.sliding_window - 1,
            dropout_p=config.attention_dropout,
        )
        self.self_attn = GroupedQueryAttention(config, layer, scoring)
        self.mlp = layers.GatedMLP(size, config.intermediate_size, config.hidden_act)
        self.input_layernorm = layers.RMSNorm(size, eps)
        self.post_attention_layernorm = layers.RMSNorm(size, eps)

    def forward(self, hidden: Tensor, layout: Layout, angles: Angles) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), layout, angles)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class MistralPreTrainedModel(PreTrainedModel):
    """What all Mistral models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = MistralConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"rotary_emb\.inv_freq"]

    @property
    @override
    def is_causal(self) -> bool:
        return True


class MistralModel(Decoder, MistralPreTrainedModel):
    """The trunk: a decoder."""

    def __init__(self, config: MistralConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(
            MistralLayer(config, i) for i in range(config.num_hidden_layers)
        )
        self.norm = layers.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rope = rope_of(config)
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def states(self, embedded: Tensor, layout: Layout, recompute: bool) -> tuple[Tensor, ...]:
        angles = rotary.angles(self.rope, layout, embedded.dtype)
        states = layers.run_layers(self.layers, embedded, layout, angles, recompute=recompute)
        return (*states[:-1], self.norm(states[-1]))


class MistralForCausalLM(heads.NextToken, MistralPreTrainedModel):
    """The next token."""

    def __init__(self, config: MistralConfig) -> None:
        super().__init__(config)
        self.model = MistralModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class MistralForSequenceClassification(heads.LastTokenLabeller, MistralPreTrainedModel):
    """A label for each text, or a number, read at its last token."""

    def __init__(self, config: MistralConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = MistralModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()
