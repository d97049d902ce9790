"""ModernBERT (Warner et al. 2024, arXiv:2412.13663) and its heads.

Some layers see all tokens, the others only those nearby; each kind has its rotary angles.

Shape letters: B batch, L length, S keys, H hidden, N heads, D head size, V vocabulary. ``[…]``
stands for the axes of the tokens, which are the layout's: ``[B, L]`` padded, ``[T]`` packed.
Arguments that a head does not explain are those of ``ModernBertModel.forward``.

Source: transformers 4.57.3 and 5.23, ``modeling_modernbert.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.modernbert import ModernBertConfig
from model_base.torch import heads, layers, layouts, rotary
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout
from model_base.torch.rotary import Angles


class Projection(nn.Linear):
    """A linear layer whose weights start with a spread of their own."""

    def __init__(self, in_features: int, out_features: int, bias: bool, spread: float) -> None:
        super().__init__(in_features, out_features, bias)
        self.spread = spread


def norm(config: ModernBertConfig) -> nn.LayerNorm:
    """Of the hidden states."""
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)


def output_spread(config: ModernBertConfig) -> float:
    """Of projections that are added to the hidden states: smaller, the more layers do so."""
    return config.initializer_range / (2.0 * config.num_hidden_layers) ** 0.5


class ModernBertEmbeddings(nn.Module):
    """Word embeddings, normalised."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(
            config.vocab_size, config.hidden_size, config.pad_token_id
        )
        self.norm = norm(config)
        self.drop = nn.Dropout(config.embedding_dropout)

    def forward(self, input_ids: Maybe, inputs_embeds: Maybe) -> Tensor:
        """``[…, H]`` of ids ``[…]``, or of embeddings ``[…, H]`` in their place."""
        words = self.tok_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        return self.drop(self.norm(words))


class ModernBertAttention(nn.Module):
    """Attention over all tokens or those nearby, by the layer's number."""

    def __init__(self, config: ModernBertConfig, layer: int) -> None:
        super().__init__()
        size, bias = config.hidden_size, config.attention_bias
        self.layer = layer
        self.head_dim = forward.head_size(size, config.num_attention_heads)
        self.window = config.window(layer)
        self.dropout_p = config.attention_dropout
        self.Wqkv = Projection(size, 3 * size, bias, config.initializer_range)
        self.Wo = Projection(size, size, bias, output_spread(config))
        self.out_drop = nn.Dropout(config.attention_dropout)

    def forward(self, hidden: Tensor, layout: Layout, angles: Angles) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        query, key, value = (
            layers.split_heads(part, self.head_dim) for part in self.Wqkv(hidden).chunk(3, dim=-1)
        )
        query, key = rotary.rotate(query, angles), rotary.rotate(key, angles)
        scoring = Scoring(
            self.head_dim**-0.5,
            window=self.window,
            dropout_p=self.dropout_p if self.training else 0.0,
        )
        context = layout.attend(self.layer, query, key, value, scoring)
        return self.out_drop(self.Wo(context.flatten(-2)))


class ModernBertMLP(nn.Module):
    """``Wo(act(x) · gate)``, both halves from ``Wi``."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        size, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.Wi = Projection(size, 2 * inner, bias, config.initializer_range)
        self.act = layers.Activation(config.hidden_activation)
        self.drop = nn.Dropout(config.mlp_dropout)
        self.Wo = Projection(inner, size, bias, output_spread(config))

    def forward(self, hidden: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, H]``."""
        inner, gate = self.Wi(hidden).chunk(2, dim=-1)
        return self.Wo(self.drop(self.act(inner) * gate))


class ModernBertLayer(nn.Module):
    """Attention, then feed-forward, each of normalised states and added to them."""

    def __init__(self, config: ModernBertConfig, layer: int) -> None:
        super().__init__()
        self.kind = config.layer_types[layer]
        self.attn_norm = norm(config) if layer else nn.Identity()  # embeddings are normalised
        self.attn = ModernBertAttention(config, layer)
        self.mlp_norm = norm(config)
        self.mlp = ModernBertMLP(config)

    def forward(self, hidden: Tensor, layout: Layout, angles: Mapping[str, Angles]) -> Tensor:
        """``[…, H]`` → ``[…, H]``; ``angles`` by type of layer."""
        hidden = hidden + self.attn(self.attn_norm(hidden), layout, angles[self.kind])
        return hidden + self.mlp(self.mlp_norm(hidden))


class ModernBertPreTrainedModel(PreTrainedModel):
    """What all ModernBERT models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = ModernBertConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing: ClassVar[bool] = True
    base_model: Any

    @override
    def _init_weights(self, module: nn.Module) -> None:
        layers.normal_init(module, self.config.initializer_range)
        if isinstance(module, nn.Linear | nn.Embedding):
            spread = float(getattr(module, "spread", self.config.initializer_range))
            limit = spread * (self.config.initializer_cutoff_factor or 3.0)
            nn.init.trunc_normal_(module.weight, std=spread, a=-limit, b=limit)


class ModernBertModel(ModernBertPreTrainedModel):
    """The trunk."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.embeddings = ModernBertEmbeddings(config)
        self.layers = nn.ModuleList(
            ModernBertLayer(config, i) for i in range(config.num_hidden_layers)
        )
        self.final_norm = norm(config)
        self.ropes = {kind: config.rope(kind) for kind in config.layer_types}
        self.gradient_checkpointing = False
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.tok_embeddings

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.embeddings.tok_embeddings = value

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        inputs_embeds: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            position_ids: ``[B, L]``; None counts from 0.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer, before the last norm.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask and positions.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, position_ids,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        embedded = self.embeddings(input_ids, inputs_embeds)
        angles = {
            kind: rotary.angles(rope, layout, embedded.dtype) for kind, rope in self.ropes.items()
        }
        states = layers.run_layers(
            self.layers, embedded, layout, angles,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutput(
            self.final_norm(states[-1]),
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)


def prediction_head(config: ModernBertConfig) -> nn.Module:
    """``[…, H]`` → ``[…, H]``."""
    size, spread = config.hidden_size, output_spread(config)
    return layers.named(
        dense=Projection(size, size, config.classifier_bias, spread),
        act=layers.Activation(config.classifier_activation),
        norm=norm(config),
    )


class ModernBertLabeller(ModernBertPreTrainedModel):
    """A head whose forward takes ``labels`` and nothing else of its own."""

    def outcome(
        self, hidden: Tensor, labels: Maybe, mask: Maybe, layout: Layout | None
    ) -> outputs.ModelOutput:
        """Loss and logits from the hidden states ``[…, H]``; each subclass has its own."""
        raise NotImplementedError

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        inputs_embeds: Maybe = None, labels: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits, and a loss if there are labels; their shapes are the subclass's."""
        trunk = self.base_model(
            input_ids, attention_mask, position_ids, inputs_embeds, output_attentions,
            output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        output = self.outcome(trunk.last_hidden_state, labels, attention_mask, layout)
        return forward.finish(output, self.config, return_dict, trunk)


class ModernBertForMaskedLM(ModernBertLabeller):
    """Masked tokens: logits ``[…, V]``, labels int64 ``[B, L]``, -100 for none.

    With ``config.sparse_prediction`` and labels, logits ``[tokens with a label, V]``.
    """

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config)
        self.model = ModernBertModel(config)
        self.head = prediction_head(config)
        self.decoder: Any = Projection(
            config.hidden_size, config.vocab_size, config.decoder_bias, output_spread(config)
        )
        self.post_init()

    @override
    def get_output_embeddings(self) -> nn.Module:
        return self.decoder

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.decoder = value

    @override
    def outcome(
        self, hidden: Tensor, labels: Maybe, mask: Maybe, layout: Layout | None
    ) -> outputs.ModelOutput:
        if self.config.sparse_prediction and labels is not None:
            has_label = labels != self.config.sparse_pred_ignore_index
            hidden, labels = hidden[has_label], labels[has_label]
        scores = self.decoder(self.head(hidden))
        return outputs.MaskedLMOutput(layers.token_loss(scores, labels), scores)


class ModernBertClassifier(ModernBertPreTrainedModel):
    """What the models with a classifier share: the trunk, the head, the classifier.

    Args:
        config: the configuration.
        num_labels: how many scores there are for each text or token; None: ``config.num_labels``.
    """

    def __init__(self, config: ModernBertConfig, num_labels: int | None = None) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.num_labels = config.num_labels if num_labels is None else num_labels
        self.model = ModernBertModel(config)
        self.head = prediction_head(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = Projection(size, self.num_labels, True, size**-0.5)
        self.post_init()

    def scores(self, hidden: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, labels]``."""
        return self.classifier(self.drop(self.head(hidden)))

    def pooled(self, hidden: Tensor, mask: Maybe, layout: Layout | None) -> Tensor:
        """One state of each text, ``[B, H]``: the first, or the mean of all."""
        if self.config.classifier_pooling == "mean":
            return heads.mean_of(hidden, mask, layout)
        return heads.first_of(hidden, layout)


class ModernBertForSequenceClassification(ModernBertLabeller, ModernBertClassifier):
    """A label for each text, or a number: logits ``[B, labels]``, labels as ``sequence_loss``."""

    @override
    def outcome(
        self, hidden: Tensor, labels: Maybe, mask: Maybe, layout: Layout | None
    ) -> outputs.ModelOutput:
        logits = self.scores(self.pooled(hidden, mask, layout))
        loss = layers.sequence_loss(logits, labels, self.config)
        return outputs.SequenceClassifierOutput(loss, logits)


class ModernBertForTokenClassification(ModernBertLabeller, ModernBertClassifier):
    """A label for each token: logits ``[…, labels]``, labels int64 ``[B, L]``, -100 for none."""

    @override
    def outcome(
        self, hidden: Tensor, labels: Maybe, mask: Maybe, layout: Layout | None
    ) -> outputs.ModelOutput:
        logits = self.scores(hidden)
        return outputs.TokenClassifierOutput(layers.token_loss(logits, labels), logits)


class ModernBertForQuestionAnswering(ModernBertClassifier):
    """Where an answer starts and ends."""

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        start_positions: Maybe = None, end_positions: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…]`` of each token being the first and the last; positions int64 ``[B]``."""
        trunk = self.model(
            input_ids, attention_mask, position_ids, None, output_attentions,
            output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        starts, ends = self.scores(trunk.last_hidden_state).unbind(-1)
        loss = layers.span_loss(starts, ends, start_positions, end_positions)
        output = outputs.QuestionAnsweringModelOutput(loss, starts, ends)
        return forward.finish(output, self.config, return_dict, trunk)


class ModernBertForMultipleChoice(heads.Choices, ModernBertClassifier):
    """Which of several continuations; inputs are ``[B, choices, L]``."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__(config, num_labels=1)

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        inputs_embeds: Maybe = None, labels: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, choices]`` of inputs ``[B, choices, L]``; labels int64 ``[B]``."""
        ids, mask, positions, embeds = (
            None if tensor is None else tensor.flatten(0, 1)
            for tensor in (input_ids, attention_mask, position_ids, inputs_embeds)
        )
        trunk = self.model(
            ids, mask, positions, embeds, output_attentions, output_hidden_states,
            return_dict=True,
        )  # fmt: skip
        choices = forward.tokens_of(input_ids, inputs_embeds).shape[1]
        pooled = self.pooled(trunk.last_hidden_state, mask, None)
        logits_BC = self.scores(pooled).view(-1, choices)
        output = outputs.MultipleChoiceModelOutput(layers.token_loss(logits_BC, labels), logits_BC)
        return forward.finish(output, self.config, return_dict, trunk)
