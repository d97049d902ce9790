"""The layer of BERT and its kin: each half ends in a residual and a LayerNorm.

Its modules have the names that checkpoints of BERT, RoBERTa and ELECTRA know.

Shape letters: B batch, S tokens of an encoder, H hidden, N heads, D head size. ``[…]`` stands for
the axes of the tokens, which are the layout's.

Source: transformers 4.19.2, ``modeling_bert.py``.
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from model_base import forward
from model_base.torch import attention, layers, layouts, pruning
from model_base.torch.attention import Scoring
from model_base.torch.layouts import Layout, Memory


class SelfAttention(nn.Module):
    """Projections and heads; over itself, or over an encoder's states."""

    def __init__(self, config: Any, layer: int, position_embedding_type: str) -> None:
        super().__init__()
        self.layer = layer
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = forward.head_size(config.hidden_size, config.num_attention_heads)
        size = config.hidden_size
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))
        self.dropout_p = config.attention_probs_dropout_prob
        self.position_embedding_type = position_embedding_type
        if position_embedding_type != "absolute":
            self.distance_embedding = nn.Embedding(
                2 * config.max_position_embeddings - 1, self.attention_head_size
            )

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, N · D]``, the heads side by side."""
        query, key, value = (
            self._heads(project(hidden)) for project in (self.query, self.key, self.value)
        )
        return layout.attend(self.layer, query, key, value, self._scoring()).flatten(-2)

    def over(self, hidden: Tensor, memory: Memory, states: Tensor) -> Tensor:
        """``[…, N · D]`` of attention over an encoder's states."""
        key, value = memory.recall(
            self.layer, lambda: (self._heads(self.key(states)), self._heads(self.value(states)))
        )
        query = self._heads(self.query(hidden))
        return memory.attend(self.layer, query, key, value, self._scoring()).flatten(-2)

    def _scoring(self) -> Scoring:
        relative = self.position_embedding_type != "absolute"
        return Scoring(
            self.attention_head_size**-0.5,
            bias=self._distance_scores if relative else None,
            dropout_p=self.dropout_p if self.training else 0.0,
        )

    def _heads(self, hidden: Tensor) -> Tensor:
        return hidden.view(*hidden.shape[:-1], self.num_attention_heads, self.attention_head_size)

    def _distance_scores(self, *tensors: Tensor) -> Tensor:
        with_keys = self.position_embedding_type == "relative_key_query"
        return attention.distance_scores(self.distance_embedding, *tensors, with_keys=with_keys)


class AddNorm(nn.Module):
    """Projection, dropout, residual, LayerNorm: the end of each half of a layer."""

    def __init__(self, config: Any, in_features: int) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        """``[…, in_features]`` and ``[…, H]`` → ``[…, H]``."""
        return self.LayerNorm(self.dropout(self.dense(hidden)) + residual)


class Attention(nn.Module):
    """Attention with its output projection; heads can be pruned."""

    def __init__(self, config: Any, layer: int, position_embedding_type: str) -> None:
        super().__init__()
        self.self = SelfAttention(config, layer, position_embedding_type)
        self.output = AddNorm(config, config.hidden_size)
        self.pruned_heads: set[int] = set()

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        return self.output(self.self(hidden, layout), hidden)

    def over(self, hidden: Tensor, memory: Memory, states: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, H]``, over an encoder's states."""
        return self.output(self.self.over(hidden, memory, states), hidden)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, by original number."""
        self.pruned_heads = pruning.prune_attention(
            self.self, ("query", "key", "value"), self.output, heads, self.pruned_heads
        )


class PostNormLayer(nn.Module):
    """Attention, cross-attention if the model has it, feed-forward."""

    def __init__(self, config: Any, layer: int) -> None:
        super().__init__()
        self.attention = Attention(config, layer, config.position_embedding_type)
        if config.add_cross_attention:
            self.crossattention = Attention(config, layer, "absolute")
        self.intermediate = layers.named(
            dense=nn.Linear(config.hidden_size, config.intermediate_size),
            activation=layers.Activation(config.hidden_act),
        )
        self.output = AddNorm(config, config.intermediate_size)

    def forward(
        self, hidden: Tensor, layout: Layout, memory: Memory | None, states: Tensor | None
    ) -> Tensor:
        """``[…, H]`` → ``[…, H]``; the encoder's states are ``[B, S, H]``."""
        hidden = self.attention(hidden, layout)
        if memory is not None and states is not None:
            hidden = self.crossattention.over(hidden, memory, states)
        return self.output(self.intermediate(hidden), hidden)


def run_encoder(
    model: Any,
    embedded: Tensor,
    layout: Layout,
    encoder_states: Tensor | None,
    encoder_mask: Tensor | None,
    past_key_values: Any,
    *,
    keep_weights: bool,
    keep_cache: bool,
) -> tuple[tuple[Tensor, ...], Memory | None]:
    """Run the layers ``model.encoder.layer``.

    Args:
        model: the trunk.
        embedded: ``[…, H]``.
        layout: of its tokens.
        encoder_states: ``[B, S, H]`` of an encoder, for cross-attention; None without.
        encoder_mask: ``[B, S]``.
        past_key_values: for each layer, the encoder's third and fourth.
        keep_weights: collect the attention weights over the encoder.
        keep_cache: collect the encoder's keys and values.

    Returns:
        The states before each layer and after the last, and the memory that was made.

    Raises:
        ValueError: states of an encoder for a model without cross-attention.
    """
    forward.check_cross_attention(model.config, encoder_states)
    memory = layouts.memory_for(
        model, encoder_states, encoder_mask, layouts=(layout, None),
        past_key_values=past_key_values, keep_weights=keep_weights, keep_cache=keep_cache,
    )  # fmt: skip
    states = layers.run_layers(
        model.encoder.layer, embedded, layout, memory, encoder_states,
        recompute=model.gradient_checkpointing and model.training,
    )  # fmt: skip
    return states, memory
