"""ALBERT (Lan et al. 2019, arXiv:1909.11942) and its heads.

Shape letters: B batch, L length, S keys, E embedding, H hidden, N heads, D head size,
V vocabulary. ``[…]`` stands for the axes of the tokens, which are the layout's: ``[B, L]`` padded,
``[T]`` packed. Arguments that a head does not explain are those of ``AlbertModel.forward``.

Source: transformers 4.19.2, ``modeling_albert.py`` (names, outputs, losses).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.configs.albert import AlbertConfig
from model_base.torch import attention, heads, layers, layouts, post_norm, pruning
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.attention import Scoring
from model_base.torch.base import PreTrainedModel
from model_base.torch.layouts import Layout


class AlbertAttention(nn.Module):
    """Attention, projection, residual, LayerNorm; for every layer that shares it."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = forward.head_size(size, config.num_attention_heads)
        self.query, self.key, self.value, self.dense = (nn.Linear(size, size) for _ in range(4))
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.dropout_p = config.attention_probs_dropout_prob
        self.position_embedding_type = config.position_embedding_type
        if config.position_embedding_type != "absolute":
            self.distance_embedding = nn.Embedding(
                2 * config.max_position_embeddings - 1, self.attention_head_size
            )
        self.pruned_heads: set[int] = set()

    def forward(self, layer: int, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``, as layer number ``layer``."""
        query, key, value = (
            layers.split_heads(project(hidden), self.attention_head_size)
            for project in (self.query, self.key, self.value)
        )
        context = layout.attend(layer, query, key, value, self._scoring()).flatten(-2)
        return self.LayerNorm(hidden + self.dropout(self.dense(context)))

    def _scoring(self) -> Scoring:
        relative = self.position_embedding_type != "absolute"
        return Scoring(
            self.attention_head_size**-0.5,
            bias=self._distance_scores if relative else None,
            dropout_p=self.dropout_p if self.training else 0.0,
        )

    def _distance_scores(self, *tensors: Tensor) -> Tensor:
        with_keys = self.position_embedding_type == "relative_key_query"
        return attention.distance_scores(self.distance_embedding, *tensors, with_keys=with_keys)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, by original number."""
        self.pruned_heads = pruning.prune_attention(
            self, ("query", "key", "value"), self, heads, self.pruned_heads
        )


class AlbertLayer(nn.Module):
    """Attention and feed-forward."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.full_layer_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = AlbertAttention(config)
        self.ffn = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = layers.Activation(config.hidden_act)
        self.ffn_output = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, layer: int, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``, as layer number ``layer``."""
        hidden = self.attention(layer, hidden, layout)
        inner = self.activation(self.ffn(hidden))
        return self.full_layer_layer_norm(self.ffn_output(inner) + hidden)


class AlbertLayerGroup(nn.Module):
    """One or several layers that are used as one."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__()
        self.albert_layers = nn.ModuleList(
            AlbertLayer(config) for _ in range(config.inner_group_num)
        )

    def forward(self, layer: int, hidden: Tensor, layout: Layout) -> Tensor:
        """``[…, H]`` → ``[…, H]``, as layer number ``layer``."""
        for inner in self.albert_layers:
            hidden = inner(layer, hidden, layout)
        return hidden


class AlbertPreTrainedModel(PreTrainedModel):
    """What all ALBERT models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = AlbertConfig
    base_model_prefix = "albert"
    reuses_parameters: ClassVar[bool] = True
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids", r"pooler"]


class AlbertModel(AlbertPreTrainedModel):
    """The trunk.

    Args:
        config: the configuration.
        add_pooling_layer: whether ``pooler_output`` is computed.
    """

    def __init__(self, config: AlbertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        size = config.hidden_size
        self.embeddings = post_norm.Embeddings(config, config.embedding_size)
        groups = (AlbertLayerGroup(config) for _ in range(config.num_hidden_groups))
        self.encoder: Any = nn.ModuleDict({
            "embedding_hidden_mapping_in": nn.Linear(config.embedding_size, size),
            "albert_layer_groups": nn.ModuleList(groups),
        })  # fmt: skip
        self.gradient_checkpointing = False
        self.pooler = nn.Linear(size, size) if add_pooling_layer else None
        self.post_init()

    @override
    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.word_embeddings

    @override
    def set_input_embeddings(self, value: Any) -> None:
        self.embeddings.word_embeddings = value

    def _prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Layers are numbered by their weights, group by group."""
        own = [layer for group in self.encoder.albert_layer_groups for layer in group.albert_layers]
        if beyond := [number for number in heads_to_prune if number >= len(own)]:
            raise ValueError(
                f"heads of layer {beyond[0]} cannot be pruned: there are weights of {len(own)} "
                "layers, numbered from 0"
            )
        for number, pruned in heads_to_prune.items():
            own[number].attention.prune_heads(pruned)

    def _layers(self) -> list[Any]:
        """What each layer does, by the weights of its group."""
        groups, count = self.encoder.albert_layer_groups, self.config.num_hidden_layers
        return [partial(groups[i * len(groups) // count], i) for i in range(count)]

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            token_type_ids: like ``input_ids``; None means zeros.
            position_ids: ``[B, L]``; None counts from 0.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[…, E]`` in place of ``input_ids``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, positions and head mask.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, position_ids, head_mask,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
        )  # fmt: skip
        embedded = self.embeddings(input_ids, token_type_ids, inputs_embeds, layout)
        states = layers.run_layers(
            self._layers(), self.encoder.embedding_hidden_mapping_in(embedded), layout,
            recompute=self.gradient_checkpointing and self.training,
        )  # fmt: skip
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        first = layout.first_tokens(states[-1])
        output = outputs.BaseModelOutputWithPooling(
            states[-1],
            self.pooler(first).tanh() if self.pooler else None,
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)


def token_head(config: AlbertConfig) -> nn.Module:
    """Scores of the vocabulary, ``[…, H]`` → ``[…, V]``."""
    size = config.embedding_size
    decoder = nn.Linear(size, config.vocab_size)
    head = layers.named(
        dense=nn.Linear(config.hidden_size, size),
        activation=layers.Activation(config.hidden_act),
        LayerNorm=nn.LayerNorm(size, eps=config.layer_norm_eps),
        decoder=decoder,
    )
    head.bias = decoder.bias  # checkpoints know it by both names
    return head


class AlbertTokenPredictor(AlbertPreTrainedModel):
    """Access to the decoder of a vocabulary head."""

    predictions: Any

    @override
    def get_output_embeddings(self) -> nn.Module:
        return self.predictions.decoder

    @override
    def set_output_embeddings(self, value: Any) -> None:
        self.predictions.decoder, self.predictions.bias = value, value.bias


class AlbertForPreTraining(AlbertTokenPredictor):
    """Masked tokens and the order of two sentences, as ALBERT was trained."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.albert = AlbertModel(config)
        self.predictions = token_head(config)
        self.sop_classifier = layers.named(classifier=classifier(config, config.num_labels))
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        labels: Maybe = None, sentence_order_label: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, V]`` and ``[B, 2]``; a loss if both labels, ``[B, L]`` and ``[B]``, are."""
        trunk = self.albert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions, output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.predictions(trunk.last_hidden_state)
        order_B2 = self.sop_classifier(trunk.pooler_output)
        order_loss = layers.token_loss(order_B2, sentence_order_label)
        loss = forward.total(layers.token_loss(scores, labels), order_loss)
        output = outputs.AlbertForPreTrainingOutput(loss, scores, order_B2)
        return forward.finish(output, self.config, return_dict, trunk)


class AlbertForMaskedLM(heads.Labeller, AlbertTokenPredictor):
    """Masked tokens: logits ``[…, V]``, labels int64 ``[B, L]``, -100 for none."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.albert = AlbertModel(config, add_pooling_layer=False)
        self.predictions = token_head(config)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        scores = self.predictions(trunk.last_hidden_state)
        return outputs.MaskedLMOutput(layers.token_loss(scores, labels), scores)


def classifier(config: AlbertConfig, num_labels: int) -> nn.Linear:
    """With dropout before it: at its own rate, or the hidden states'."""
    rate = config.classifier_dropout_prob
    rate = config.hidden_dropout_prob if rate is None else rate
    return layers.DropoutLinear(config.hidden_size, num_labels, rate)


class AlbertForSequenceClassification(heads.Labeller, AlbertPreTrainedModel):
    """A label for each text, or a number: logits ``[B, labels]``, labels as ``sequence_loss``."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.albert = AlbertModel(config)
        self.classifier = classifier(config, config.num_labels)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits = self.classifier(trunk.pooler_output)
        loss = layers.sequence_loss(logits, labels, self.config)
        return outputs.SequenceClassifierOutput(loss, logits)


class AlbertForTokenClassification(heads.Labeller, AlbertPreTrainedModel):
    """A label for each token: logits ``[…, labels]``, labels int64 ``[B, L]``, -100 for none."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.albert = AlbertModel(config, add_pooling_layer=False)
        self.classifier = classifier(config, config.num_labels)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits = self.classifier(trunk.last_hidden_state)
        return outputs.TokenClassifierOutput(layers.token_loss(logits, labels), logits)


class AlbertForMultipleChoice(heads.Chooser, AlbertPreTrainedModel):
    """Which of several continuations; inputs are ``[B, choices, L]``."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.albert = AlbertModel(config)
        self.classifier = classifier(config, 1)
        self.post_init()

    @override
    def score(self, trunk: Any) -> Tensor:
        return self.classifier(trunk.pooler_output)


class AlbertForQuestionAnswering(heads.SpanFinder, AlbertPreTrainedModel):
    """Where an answer starts and ends."""

    def __init__(self, config: AlbertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.albert = AlbertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()
