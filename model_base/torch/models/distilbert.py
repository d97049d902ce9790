"""DistilBERT (Sanh et al. 2019, arXiv:1910.01108) and its heads.

Shape letters: B batch, L length, S keys, H hidden, N heads, D head size, P positions,
V vocabulary. ``[…]`` stands for the axes of the tokens, which are the layout's: ``[B, L]`` padded,
``[T]`` packed. Arguments that a head does not explain are those of ``DistilBertModel.forward``.

Source: transformers 4.19.2, ``modeling_distilbert.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.distilbert import DistilBertConfig
from model_base.torch import heads, layers, layouts, pruning
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout

EPS = 1e-12
"""Of every LayerNorm."""


class DistilBertEmbeddings(nn.Module):
    """Word and position embeddings, normalised."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.dim, config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.dim)
        self.position_embeddings.weight.requires_grad_(not config.sinusoidal_pos_embds)
        self.LayerNorm = nn.LayerNorm(config.dim, eps=EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Maybe, inputs_embeds: Maybe, layout: Layout) -> Tensor:
        """``[…, H]`` of ids ``[…]``, or of embeddings ``[…, H]`` in their place."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        hidden = words + self.position_embeddings(layout.positions)
        return self.dropout(self.LayerNorm(hidden))


def sinusoids(num_positions: int, size: int) -> Tensor:
    """Fixed position embeddings ``[P, H]``, sines and cosines in turn (Vaswani et al. 2017)."""
    places = torch.arange(num_positions, dtype=torch.float64)[:, None]
    rates = 10000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    return torch.stack([(places * rates).sin(), (places * rates).cos()], dim=-1).flatten(1)


class SelfAttention(nn.Module):
    """Projections into heads and back; heads can be pruned."""

    def __init__(self, config: DistilBertConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads = config.n_heads
        self.head_size = forward.head_size(config.dim, config.n_heads)
        self.dropout_p = config.attention_dropout
        self.q_lin, self.k_lin, self.v_lin, self.out_lin = (
            nn.Linear(config.dim, config.dim) for _ in range(4)
        )
        self.pruned_heads: set[int] = set()

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        query, key, value = (
            layers.split_heads(project(hidden), self.head_size)
            for project in (self.q_lin, self.k_lin, self.v_lin)
        )
        scoring = Scoring(
            self.head_size**-0.5, dropout_p=self.dropout_p if self.training else 0.0
        )  # fmt: skip
        return self.out_lin(layout.attend(self.layer, query, key, value, scoring).flatten(-2))

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, by original number."""
        left, index = pruning.find_pruneable_heads_and_indices(
            heads, self.num_heads, self.head_size, self.pruned_heads
        )
        self.q_lin, self.k_lin, self.v_lin = (
            pruning.prune_linear_layer(project, index)
            for project in (self.q_lin, self.k_lin, self.v_lin)
        )
        self.out_lin = pruning.prune_linear_layer(self.out_lin, index, dim=1)
        self.num_heads -= len(left)
        self.pruned_heads |= left


class DistilBertLayer(nn.Module):
    """Attention and feed-forward; each ends in a residual and a LayerNorm."""

    def __init__(self, config: DistilBertConfig, layer: int) -> None:
        super().__init__()
        self.attention = SelfAttention(config, layer)
        self.sa_layer_norm = nn.LayerNorm(config.dim, eps=EPS)
        self.ffn = layers.named(
            lin1=nn.Linear(config.dim, config.hidden_dim),
            activation=layers.Activation(config.activation),
            lin2=nn.Linear(config.hidden_dim, config.dim),
            dropout=nn.Dropout(config.dropout),
        )
        self.output_layer_norm = nn.LayerNorm(config.dim, eps=EPS)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        hidden = self.sa_layer_norm(self.attention(hidden, layout) + hidden)
        return self.output_layer_norm(self.ffn(hidden) + hidden)


class DistilBertPreTrainedModel(PreTrainedModel):
    """What all DistilBERT models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = DistilBertConfig
    base_model_prefix = "distilbert"
    supports_gradient_checkpointing: ClassVar[bool] = True
    base_model: Any

    @override
    def _init_weights(self, module: nn.Module) -> None:
        layers.normal_init(module, self.config.initializer_range)
        if isinstance(module, DistilBertEmbeddings) and self.config.sinusoidal_pos_embds:
            table = module.position_embeddings.weight.data
            table.copy_(sinusoids(*table.shape))

    @override
    def get_position_embeddings(self) -> nn.Embedding:
        return self.base_model.embeddings.position_embeddings

    @override
    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Change the number of positions; new ones start as the model's do."""
        old = self.get_position_embeddings()
        new: Any = self._resized_embeddings(old, new_num_position_embeddings)
        if self.config.sinusoidal_pos_embds:
            new.weight.requires_grad_(False).copy_(sinusoids(*new.weight.shape))
        self.base_model.embeddings.position_embeddings = new
        self.config.max_position_embeddings = new_num_position_embeddings


class DistilBertModel(DistilBertPreTrainedModel):
    """The trunk."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.embeddings = DistilBertEmbeddings(config)
        blocks = (DistilBertLayer(config, i) for i in range(config.n_layers))
        self.transformer: Any = nn.ModuleDict({"layer": nn.ModuleList(blocks)})
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.word_embeddings

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.embeddings.word_embeddings = value

    def _prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        for layer, numbers in heads_to_prune.items():
            self.transformer.layer[layer].attention.prune_heads(numbers)

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask and head mask.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, None, head_mask,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        states = layers.run_layers(
            self.transformer.layer, self.embeddings(input_ids, inputs_embeds, layout), layout,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutput(
            states[-1], states if keep_states else None, layouts.weights_of(layout)
        )
        return forward.finish(output, config, return_dict)


class DistilBertLabeller(DistilBertPreTrainedModel):
    """A head whose forward takes ``labels`` and nothing else of its own."""

    def head(self, hidden: Tensor, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        """Loss and logits from the hidden states ``[…, H]``; each subclass has its own."""
        raise NotImplementedError

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, labels: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits, and a loss if there are labels; their shapes are the subclass's."""
        trunk = self.base_model(
            input_ids, attention_mask, head_mask, inputs_embeds, output_attentions,
            output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        output = self.head(trunk.last_hidden_state, labels, layout)
        return forward.finish(output, self.config, return_dict, trunk)


class DistilBertForMaskedLM(DistilBertLabeller):
    """Masked tokens: logits ``[…, V]``, labels int64 ``[B, L]``, -100 for none."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.activation = layers.Activation(config.activation)
        self.distilbert = DistilBertModel(config)
        self.vocab_transform = nn.Linear(config.dim, config.dim)
        self.vocab_layer_norm = nn.LayerNorm(config.dim, eps=EPS)
        self.vocab_projector = nn.Linear(config.dim, config.vocab_size)
        self.post_init()

    @override
    def get_output_embeddings(self) -> nn.Module:
        return self.vocab_projector

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.vocab_projector = value

    @override
    def head(self, hidden: Tensor, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        hidden = self.vocab_layer_norm(self.activation(self.vocab_transform(hidden)))
        scores = self.vocab_projector(hidden)
        return outputs.MaskedLMOutput(layers.token_loss(scores, labels), scores)


class DistilBertForSequenceClassification(DistilBertLabeller):
    """A label for each text, or a number: logits ``[B, labels]``, labels as ``sequence_loss``."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        rate = config.seq_classif_dropout
        self.classifier = layers.DropoutLinear(config.dim, config.num_labels, rate)
        self.post_init()

    @override
    def head(self, hidden: Tensor, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits = self.classifier(self.pre_classifier(heads.first_of(hidden, layout)).relu())
        loss = layers.sequence_loss(logits, labels, self.config)
        return outputs.SequenceClassifierOutput(loss, logits)


class DistilBertForTokenClassification(DistilBertLabeller):
    """A label for each token: logits ``[…, labels]``, labels int64 ``[B, L]``, -100 for none."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.distilbert = DistilBertModel(config)
        self.classifier = layers.DropoutLinear(config.dim, config.num_labels, config.dropout)
        self.post_init()

    @override
    def head(self, hidden: Tensor, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits = self.classifier(hidden)
        return outputs.TokenClassifierOutput(layers.token_loss(logits, labels), logits)


class DistilBertForQuestionAnswering(DistilBertPreTrainedModel):
    """Where an answer starts and ends."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.qa_outputs = layers.DropoutLinear(config.dim, config.num_labels, config.qa_dropout)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, start_positions: Maybe = None, end_positions: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…]`` of each token being the first and the last; positions int64 ``[B]``."""
        trunk = self.distilbert(
            input_ids, attention_mask, head_mask, inputs_embeds, output_attentions,
            output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        starts, ends = self.qa_outputs(trunk.last_hidden_state).unbind(-1)
        loss = layers.span_loss(starts, ends, start_positions, end_positions)
        output = outputs.QuestionAnsweringModelOutput(loss, starts, ends)
        return forward.finish(output, self.config, return_dict, trunk)


class DistilBertForMultipleChoice(heads.Choices, DistilBertPreTrainedModel):
    """Which of several continuations; inputs are ``[B, choices, L]``."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = layers.DropoutLinear(config.dim, 1, config.seq_classif_dropout)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, head_mask: Maybe = None,
        inputs_embeds: Maybe = None, labels: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, choices]`` of inputs ``[B, choices, L]``; labels int64 ``[B]``."""
        ids, mask, embeds = (
            None if tensor is None else tensor.flatten(0, 1)
            for tensor in (input_ids, attention_mask, inputs_embeds)
        )
        trunk = self.distilbert(
            ids, mask, head_mask, embeds, output_attentions, output_hidden_states,
            return_dict=True,
        )  # fmt: skip
        first = heads.first_of(trunk.last_hidden_state, None)
        choices = forward.tokens_of(input_ids, inputs_embeds).shape[1]
        logits_BC = self.classifier(self.pre_classifier(first).relu()).view(-1, choices)
        output = outputs.MultipleChoiceModelOutput(layers.token_loss(logits_BC, labels), logits_BC)
        return forward.finish(output, self.config, return_dict, trunk)
