"""Qwen2 (Yang et al. 2024, arXiv:2407.10671) and its heads.

Shape letters: H hidden. ``[…]`` stands for the axes of the tokens, which are the layout's.

Source: transformers 4.57.3, ``modeling_qwen2.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base.configs.layer_types import window_of
from model_base.configs.qwen2 import Qwen2Config
from model_base.configs.rotary import rope_of
from model_base.torch import heads, layers, rotary
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.decoder import Decoder
from model_base.torch.grouped_query import GroupedQueryAttention
from model_base.torch.layouts import Layout
from model_base.torch.rotary import Angles


class Qwen2Layer(nn.Module):
    """Attention, then feed-forward, each of normalised states and added to them."""

    def __init__(self, config: Qwen2Config, layer: int) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.rms_norm_eps
        scoring = Scoring(
            config.head_dim**-0.5,
            window=window_of(config, layer),
            dropout_p=config.attention_dropout,
        )
        self.self_attn = GroupedQueryAttention(config, layer, scoring, bias=True)
        self.mlp = layers.GatedMLP(size, config.intermediate_size, config.hidden_act)
        self.input_layernorm = layers.RMSNorm(size, eps)
        self.post_attention_layernorm = layers.RMSNorm(size, eps)

    def forward(self, hidden: Tensor, layout: Layout, angles: Angles) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), layout, angles)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Qwen2PreTrainedModel(PreTrainedModel):
    """What all Qwen2 models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = Qwen2Config
    base_model_prefix = "model"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"rotary_emb\.inv_freq"]

    @property
    @override
    def is_causal(self) -> bool:
        return True


class Qwen2Model(Decoder, Qwen2PreTrainedModel):
    """The trunk: a decoder."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(Qwen2Layer(config, i) for i in range(config.num_hidden_layers))
        self.norm = layers.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rope = rope_of(config)
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def states(self, embedded: Tensor, layout: Layout, recompute: bool) -> tuple[Tensor, ...]:
        angles = rotary.angles(self.rope, layout, embedded.dtype)
        states = layers.run_layers(self.layers, embedded, layout, angles, recompute=recompute)
        return (*states[:-1], self.norm(states[-1]))


class Qwen2ForCausalLM(heads.NextToken, Qwen2PreTrainedModel):
    """The next token."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()


class Qwen2ForSequenceClassification(heads.LastTokenLabeller, Qwen2PreTrainedModel):
    """A label for each text, or a number, read at its last token."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = Qwen2Model(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()


class Qwen2ForTokenClassification(heads.EachTokenLabeller, Qwen2PreTrainedModel):
    """A label for each token."""

    def __init__(self, config: Qwen2Config) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = Qwen2Model(config)
        self.score = layers.DropoutLinear(config.hidden_size, config.num_labels, 0.1)
        self.post_init()
