"""BERT and its kin: layers whose halves end in a residual and a LayerNorm, and the trunk of them.

Its modules have the names that checkpoints of BERT, RoBERTa and ELECTRA know.

Shape letters: B batch, L length, S keys or tokens of another encoder, H hidden, E width of words,
N heads, D head size. ``[…]`` stands for the axes of the tokens, which are the layout's.

Source: transformers 4.19.2, ``modeling_bert.py``.
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.torch import attention, layers, layouts, pruning
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.attention import Scoring
from model_base.torch.layouts import Layout, Memory
from model_base.torch.module_utils import MixinBase


class Embeddings(nn.Module):
    """Word, position and token-type embeddings, normalised.

    Args:
        config: the configuration.
        size: their width, E.
        position_padding: the row of the positions' table that stands for padding; the first place
            in a text is the row after it. None: there is none, the first place is row 0.
    """

    def __init__(self, config: Any, size: int, position_padding: int | None = None) -> None:
        super().__init__()
        num_positions = config.max_position_embeddings
        self.word_embeddings = nn.Embedding(config.vocab_size, size, config.pad_token_id)
        self.position_embeddings = nn.Embedding(num_positions, size, position_padding)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.is_absolute = config.position_embedding_type == "absolute"
        self.first_row = 0 if position_padding is None else position_padding + 1

    def forward(
        self, input_ids: Maybe, token_type_ids: Maybe, inputs_embeds: Maybe, layout: Layout
    ) -> Tensor:
        """``[…, E]`` of ids ``[…]``, or of embeddings ``[…, E]`` in their place."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:
            hidden = words + self.token_type_embeddings.weight[0]
        else:
            hidden = words + self.token_type_embeddings(token_type_ids)
        if self.is_absolute:
            rows = layout.positions + self.first_row if self.first_row else layout.positions
            hidden = hidden + self.position_embeddings(rows)
        return self.dropout(self.LayerNorm(hidden))


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
        return layers.split_heads(hidden, self.attention_head_size)

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


class Encoder(MixinBase):
    """A trunk of ``embeddings`` and ``encoder.layer``; a decoder if ``config.is_decoder``."""

    config: Any
    embeddings: Any
    encoder: Any
    gradient_checkpointing: bool

    def get_input_embeddings(self) -> nn.Module:
        """The module that turns token ids into vectors."""
        words: nn.Module = self.embeddings.word_embeddings
        return words

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace that module."""
        self.embeddings.word_embeddings = value

    def _prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        for layer, numbers in heads_to_prune.items():
            self.encoder.layer[layer].attention.prune_heads(numbers)

    def positions(self, input_ids: Maybe, position_ids: Maybe, past_key_values: Any) -> Maybe:
        """How a padded batch is numbered, ``[B, L]``; None: from the length of the cache on."""
        return position_ids

    def embed(
        self, input_ids: Maybe, token_type_ids: Maybe, inputs_embeds: Maybe, layout: Layout
    ) -> Tensor:
        """``[…, H]``: what the first layer reads."""
        return self.embeddings(input_ids, token_type_ids, inputs_embeds, layout)

    def output(
        self, states: tuple[Tensor, ...], layout: Layout, memory: Memory | None, keep_states: bool
    ) -> outputs.ModelOutput:
        """What is returned of the states before each layer and after the last."""
        return outputs.BaseModelOutputWithPastAndCrossAttentions(
            states[-1],
            layouts.cache_of(layout, memory),
            states if keep_states else None,
            layouts.weights_of(layout),
            layouts.weights_of(memory),
        )

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        past_key_values: Any = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            token_type_ids: like ``input_ids``; None means zeros.
            position_ids: ``[B, L]``; None counts, as ``positions`` says.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[…, E]`` in place of ``input_ids``, as wide as the words.
            encoder_hidden_states: ``[B, S, H]`` for cross-attention.
            encoder_attention_mask: ``[B, S]``.
            past_key_values: for each layer keys and values ``[B, N, S, D]``.
            use_cache: return ``past_key_values``; a decoder's default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, positions, cache and head mask.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces; states of an encoder without cross-attention.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        keep_weights = forward.chosen(output_attentions, config.output_attentions)
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        keep_cache = config.is_decoder and forward.chosen(use_cache, config.use_cache)
        if layout is None:
            position_ids = self.positions(input_ids, position_ids, past_key_values)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, position_ids, head_mask, past_key_values,
            keep_weights=keep_weights, keep_cache=keep_cache,
        )  # fmt: skip
        embedded = self.embed(input_ids, token_type_ids, inputs_embeds, layout)
        forward.check_cross_attention(config, encoder_hidden_states)
        memory = layouts.memory_for(
            self, encoder_hidden_states, encoder_attention_mask, layouts=(layout, None),
            past_key_values=past_key_values, keep_weights=keep_weights, keep_cache=keep_cache,
        )  # fmt: skip
        states = layers.run_layers(
            self.encoder.layer, embedded, layout, memory, encoder_hidden_states,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        return forward.finish(self.output(states, layout, memory, keep_states), config, return_dict)


class PooledEncoder(Encoder):
    """With a ``pooler`` of each text's first token, or None in its place."""

    pooler: Any

    @override
    def output(
        self, states: tuple[Tensor, ...], layout: Layout, memory: Memory | None, keep_states: bool
    ) -> outputs.ModelOutput:
        return outputs.BaseModelOutputWithPoolingAndCrossAttentions(
            states[-1],
            self.pooler(layout.first_tokens(states[-1])) if self.pooler else None,
            hidden_states=states if keep_states else None,
            past_key_values=layouts.cache_of(layout, memory),
            attentions=layouts.weights_of(layout),
            cross_attentions=layouts.weights_of(memory),
        )
