"""Attention with four projections, as fairseq named them; BART, CLIP and their kin have it.

Source: transformers 4.19.2, ``modeling_bart.py`` (names).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any

from torch import Tensor, nn

from model_base import forward
from model_base.torch import layers
from model_base.torch.attention import Scoring
from model_base.torch.layouts import Layout, Memory


class MultiHeadAttention(nn.Module):
    """Projections into heads and back; over itself, or over an encoder's states.

    Args:
        size: width of the states, H.
        num_heads: how many heads share it.
        layer: number of the layer, for the layout.
        dropout_p: probability of dropping an attention weight in training.
        bias: whether the projections have one.
        key_bias: whether the keys' projection has one, if the others do.
    """

    def __init__(
        self, size: int, num_heads: int, layer: int, dropout_p: float, *, bias: bool = True,
        key_bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layer = layer
        self.head_dim = forward.head_size(size, num_heads)
        self.dropout_p = dropout_p
        self.k_proj = nn.Linear(size, size, bias and key_bias)
        self.v_proj, self.q_proj, self.out_proj = (nn.Linear(size, size, bias) for _ in range(3))

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        query, key, value = (
            self._heads(project(hidden)) for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        context = layout.attend(self.layer, query, key, value, self._scoring())
        return self.out_proj(context.flatten(-2))

    def over(self, hidden: Tensor, memory: Memory, states: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, H]``, over an encoder's states."""
        key, value = memory.recall(
            self.layer, lambda: (self._heads(self.k_proj(states)), self._heads(self.v_proj(states)))
        )
        query = self._heads(self.q_proj(hidden))
        context = memory.attend(self.layer, query, key, value, self._scoring())
        return self.out_proj(context.flatten(-2))

    def _heads(self, hidden: Tensor) -> Tensor:
        return layers.split_heads(hidden, self.head_dim)

    def _scoring(self) -> Scoring:
        dropout_p = self.dropout_p if self.training else 0.0
        return Scoring(self.head_dim**-0.5, dropout_p=dropout_p)


class PreNormLayer(nn.Module):
    """The layer of CLIP and SigLIP: attention, then feed-forward, each of normalised states."""

    def __init__(self, config: Any, layer: int) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.layer_norm_eps
        self.self_attn = MultiHeadAttention(
            size, config.num_attention_heads, layer, config.attention_dropout
        )
        self.layer_norm1 = nn.LayerNorm(size, eps=eps)
        self.mlp = mlp(config)
        self.layer_norm2 = nn.LayerNorm(size, eps=eps)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        hidden = hidden + self.self_attn(self.layer_norm1(hidden), layout)
        return hidden + self.mlp(self.layer_norm2(hidden))


def mlp(config: Any) -> nn.Sequential:
    """The feed-forward part of a layer."""
    return layers.named(
        fc1=nn.Linear(config.hidden_size, config.intermediate_size),
        activation_fn=layers.Activation(config.hidden_act),
        fc2=nn.Linear(config.intermediate_size, config.hidden_size),
    )


def pre_norm_layers(config: Any) -> nn.ModuleDict:
    """All layers of an encoder."""
    blocks = (PreNormLayer(config, i) for i in range(config.num_hidden_layers))
    return nn.ModuleDict({"layers": nn.ModuleList(blocks)})
