"""BERT (Devlin et al. 2018, arXiv:1810.04805) and its heads.

Shape letters: B batch, L length, H hidden, N heads, D head size, V vocabulary. ``[…]`` stands for
the axes of the tokens, which are the layout's: ``[B, L]`` padded, ``[T]`` packed.

Source: transformers 4.19.2, ``modeling_bert.py`` (names, outputs, losses).
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from typing_extensions import override

from model_base import outputs
from model_base.configs.bert import BertConfig
from model_base.torch.attention import Layout, collected, cross_layout, padded_layout
from model_base.torch.base import PreTrainedModel
from model_base.torch.layers import (
    activation,
    chosen,
    finish,
    next_token_loss,
    normal_init,
    sequence_loss,
    span_loss,
    token_loss,
)
from model_base.torch.pruning import find_pruneable_heads_and_indices, prune_linear_layer

Maybe = Tensor | None
Flag = bool | None


class BertEmbeddings(nn.Module):
    """Word, position and token-type embeddings, normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, size, config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.is_absolute = config.position_embedding_type == "absolute"

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        layout: Layout,
    ) -> Tensor:
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:
            hidden = words + self.token_type_embeddings.weight[0]
        else:
            hidden = words + self.token_type_embeddings(token_type_ids)
        if self.is_absolute:
            hidden = hidden + self.position_embeddings(layout.positions)
        return self.dropout(self.LayerNorm(hidden))


class BertSelfAttention(nn.Module):
    """Projections and heads; over ``memory`` instead of itself for cross-attention."""

    def __init__(self, config: BertConfig, layer: int, position_embedding_type: str) -> None:
        super().__init__()
        if config.hidden_size % config.num_attention_heads:
            raise ValueError(
                f"hidden_size {config.hidden_size} is not a multiple of num_attention_heads "
                f"{config.num_attention_heads}"
            )
        self.layer = layer
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout_p = config.attention_probs_dropout_prob
        self.position_embedding_type = position_embedding_type
        if position_embedding_type != "absolute":
            self.max_position_embeddings = config.max_position_embeddings
            self.distance_embedding = nn.Embedding(
                2 * config.max_position_embeddings - 1, self.attention_head_size
            )

    def forward(self, hidden: Tensor, layout: Layout, memory: Tensor | None = None) -> Tensor:
        source = hidden if memory is None else memory
        relative = self.position_embedding_type != "absolute"
        context = layout.attend(
            self.layer,
            self._heads(self.query(hidden)),
            self._heads(self.key(source)),
            self._heads(self.value(source)),
            scale=self.attention_head_size**-0.5,
            score_bias=self._distance_scores if relative else None,
            dropout_p=self.dropout_p if self.training else 0.0,
        )
        return context.flatten(-2)

    def _heads(self, hidden: Tensor) -> Tensor:
        return hidden.unflatten(-1, (self.num_attention_heads, self.attention_head_size))

    def _distance_scores(
        self, query_BNLD: Tensor, key_BNSD: Tensor, queries_L: Tensor, keys_S: Tensor
    ) -> Tensor:
        """Scores of relative positions (Shaw et al. 2018; Huang et al. 2020, method 4)."""
        distance_LS = queries_L[:, None] - keys_S[None, :] + self.max_position_embeddings - 1
        embedding_LSD = self.distance_embedding(distance_LS).to(query_BNLD.dtype)
        scores_BNLS = torch.einsum("bnld,lsd->bnls", query_BNLD, embedding_LSD)
        if self.position_embedding_type == "relative_key_query":
            scores_BNLS = scores_BNLS + torch.einsum("bnsd,lsd->bnls", key_BNSD, embedding_LSD)
        return scores_BNLS * self.attention_head_size**-0.5


class BertAddNorm(nn.Module):
    """Projection, dropout, residual, LayerNorm: the end of each half of a layer."""

    def __init__(self, config: BertConfig, in_features: int) -> None:
        super().__init__()
        self.dense = nn.Linear(in_features, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden)) + residual)


class BertAttention(nn.Module):
    """Attention with its output projection; heads can be pruned."""

    def __init__(self, config: BertConfig, layer: int, position_embedding_type: str) -> None:
        super().__init__()
        self.self = BertSelfAttention(config, layer, position_embedding_type)
        self.output = BertAddNorm(config, config.hidden_size)
        self.pruned_heads: set[int] = set()

    def forward(self, hidden: Tensor, layout: Layout, memory: Tensor | None = None) -> Tensor:
        return self.output(self.self(hidden, layout, memory), hidden)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove heads, by original number."""
        attention = self.self
        left, index = find_pruneable_heads_and_indices(
            heads, attention.num_attention_heads, attention.attention_head_size, self.pruned_heads
        )
        if not left:
            return
        for name in ("query", "key", "value"):
            setattr(attention, name, prune_linear_layer(getattr(attention, name), index))
        self.output.dense = prune_linear_layer(self.output.dense, index, dim=1)
        attention.num_attention_heads -= len(left)
        self.pruned_heads |= left


class BertIntermediate(nn.Module):
    """The wide half of the feed-forward network."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = activation(config.hidden_act)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.activation(self.dense(hidden))


class BertLayer(nn.Module):
    """Attention, cross-attention if the model has it, feed-forward."""

    def __init__(self, config: BertConfig, layer: int) -> None:
        super().__init__()
        self.attention = BertAttention(config, layer, config.position_embedding_type)
        if config.add_cross_attention:
            self.crossattention = BertAttention(config, layer, "absolute")
        self.intermediate = BertIntermediate(config)
        self.output = BertAddNorm(config, config.intermediate_size)

    def forward(
        self, hidden: Tensor, layout: Layout, memory: Tensor | None, memory_layout: Layout | None
    ) -> Tensor:
        hidden = self.attention(hidden, layout)
        if memory is not None and memory_layout is not None:
            hidden = self.crossattention(hidden, memory_layout, memory)
        return self.output(self.intermediate(hidden), hidden)


class BertEncoder(nn.Module):
    """The layers; hidden states are those before each layer and after the last."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config, i) for i in range(config.num_hidden_layers))
        self.gradient_checkpointing = False

    def forward(
        self, hidden: Tensor, layout: Layout, memory: Tensor | None, memory_layout: Layout | None
    ) -> tuple[Tensor, ...]:
        states = [hidden]
        for layer in self.layer:
            arguments = (states[-1], layout, memory, memory_layout)
            if self.gradient_checkpointing and self.training:
                states.append(checkpoint(layer, *arguments, use_reentrant=False))
            else:
                states.append(layer(*arguments))
        return tuple(states)


class BertPooler(nn.Module):
    """The first token through a dense layer and tanh."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first_BH: Tensor) -> Tensor:
        return torch.tanh(self.dense(first_BH))


class BertPreTrainedModel(PreTrainedModel):
    """What all BERT models share: configuration, names, how weights start."""

    config_class: ClassVar[Any] = BertConfig
    base_model_prefix = "bert"
    supports_gradient_checkpointing: ClassVar[bool] = True
    _keys_to_ignore_on_load_unexpected: list[str] | None = [r"position_ids"]

    def _init_weights(self, module: nn.Module) -> None:
        normal_init(module, self.config.initializer_range)


class BertModel(BertPreTrainedModel):
    """The trunk. An encoder, or a decoder if ``config.is_decoder``.

    Args:
        config: the configuration.
        add_pooling_layer: whether ``pooler_output`` is computed.
    """

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings.word_embeddings = value  # type: ignore[assignment]

    def _prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        for layer, heads in heads_to_prune.items():
            self.encoder.layer[layer].attention.prune_heads(heads)  # type: ignore[operator]

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        past_key_values: Any = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            token_type_ids: like ``input_ids``; None means zeros.
            position_ids: ``[B, L]``; None counts from the length of the cache.
            head_mask: ``[N]`` or ``[layers, N]``.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``.
            encoder_hidden_states: ``[B, S, H]`` for cross-attention.
            encoder_attention_mask: ``[B, S]``.
            past_key_values: for each layer keys and values ``[B, N, S, D]``.
            use_cache: return ``past_key_values``; a decoder's default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, positions, cache and head mask.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        tokens = input_ids if input_ids is not None else inputs_embeds[..., 0]  # type: ignore[index]
        config = self.config
        keep_weights = chosen(output_attentions, config.output_attentions)
        keep_states = chosen(output_hidden_states, config.output_hidden_states)
        keep_cache = config.is_decoder and chosen(use_cache, config.use_cache)
        if layout is None:
            layout = padded_layout(
                self, tokens, attention_mask, position_ids, head_mask, past_key_values,
                keep_weights=keep_weights, keep_cache=keep_cache,
            )  # fmt: skip
        memory_layout = cross_layout(
            self, encoder_hidden_states, encoder_attention_mask, keep_weights=keep_weights
        )
        embedded = self.embeddings(input_ids, token_type_ids, inputs_embeds, layout)
        states = self.encoder(embedded, layout, encoder_hidden_states, memory_layout)
        pooled = self.pooler(layout.first_tokens(states[-1])) if self.pooler else None
        output = outputs.BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=states[-1],
            pooler_output=pooled,
            hidden_states=states if keep_states else None,
            past_key_values=collected(layout, "present") if keep_cache else None,
            attentions=collected(layout, "weights") if keep_weights else None,
            cross_attentions=collected(memory_layout, "weights") if keep_weights else None,
        )
        return finish(output, config, return_dict)


class BertLMPredictionHead(nn.Module):
    """Scores of the vocabulary; the decoder's weight is tied to the word embeddings."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = self.decoder.bias

    def forward(self, hidden: Tensor) -> Tensor:
        return self.decoder(self.transform(hidden))


class BertPredictionHeadTransform(nn.Module):
    """Dense, activation, LayerNorm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(hidden)))


class BertHeads(nn.Module):
    """``cls`` of the checkpoints: token predictions, next-sentence prediction, or both."""

    def __init__(self, config: BertConfig, tokens: bool = True, sentences: bool = False) -> None:
        super().__init__()
        if tokens:
            self.predictions = BertLMPredictionHead(config)
        if sentences:
            self.seq_relationship = nn.Linear(config.hidden_size, 2)


class BertTokenPredictor(BertPreTrainedModel):
    """What the models with a vocabulary head share: access to its decoder."""

    _keys_to_ignore_on_load_missing: list[str] | None = [r"position_ids"]
    cls: BertHeads

    def get_output_embeddings(self) -> nn.Module:
        return self.cls.predictions.decoder

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.cls.predictions.decoder = value  # type: ignore[assignment]
        self.cls.predictions.bias = value.bias  # type: ignore[assignment]


class BertForPreTraining(BertTokenPredictor):
    """Masked tokens and next sentence, as BERT was trained."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertHeads(config, sentences=True)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        labels: Maybe = None, next_sentence_label: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        trunk = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.cls.predictions(trunk.last_hidden_state)
        relation_B2 = self.cls.seq_relationship(trunk.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = token_loss(scores, labels) + token_loss(relation_B2, next_sentence_label)
        output = outputs.PreTrainingOutput(loss, scores, relation_B2)
        return finish(output, self.config, return_dict, trunk)


class BertForMaskedLM(BertTokenPredictor):
    """Masked tokens."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertHeads(config)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        labels: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        trunk = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            encoder_hidden_states, encoder_attention_mask,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.cls.predictions(trunk.last_hidden_state)
        output = outputs.MaskedLMOutput(token_loss(scores, labels), scores)
        return finish(output, self.config, return_dict, trunk)


class BertLMHeadModel(BertTokenPredictor):
    """The next token; for configurations with ``is_decoder``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.cls = BertHeads(config)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        labels: Maybe = None, past_key_values: Any = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        trunk = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            encoder_hidden_states, encoder_attention_mask, past_key_values,
            use_cache if labels is None else False, output_attentions, output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.cls.predictions(trunk.last_hidden_state)
        output = outputs.CausalLMOutputWithCrossAttentions(next_token_loss(scores, labels), scores)
        return finish(output, self.config, return_dict, trunk)


class BertLabeller(BertPreTrainedModel):
    """What the heads have in common whose forward takes ``labels`` and nothing else of its own."""

    def head(self, trunk: Any, labels: Tensor | None) -> outputs.ModelOutput:
        """Loss and logits from the trunk's output; each subclass has its own."""
        raise NotImplementedError

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        labels: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        trunk = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        return finish(self.head(trunk, labels), self.config, return_dict, trunk)


class BertForNextSentencePrediction(BertLabeller):
    """Whether the second sentence follows the first."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.cls = BertHeads(config, tokens=False, sentences=True)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Tensor | None) -> outputs.ModelOutput:
        logits_B2 = self.cls.seq_relationship(trunk.pooler_output)
        return outputs.NextSentencePredictorOutput(token_loss(logits_B2, labels), logits_B2)


class BertForSequenceClassification(BertLabeller):
    """A label for each text, or a number."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config)
        self.dropout = classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Tensor | None) -> outputs.ModelOutput:
        logits_BN = self.classifier(self.dropout(trunk.pooler_output))
        return outputs.SequenceClassifierOutput(
            sequence_loss(logits_BN, labels, self.config), logits_BN
        )


class BertForTokenClassification(BertLabeller):
    """A label for each token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.dropout = classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @override
    def head(self, trunk: Any, labels: Tensor | None) -> outputs.ModelOutput:
        logits = self.classifier(self.dropout(trunk.last_hidden_state))
        return outputs.TokenClassifierOutput(token_loss(logits, labels), logits)


class BertForMultipleChoice(BertPreTrainedModel):
    """Which of several continuations; inputs are ``[B, choices, L]``."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config)
        self.dropout = classifier_dropout(config)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        labels: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        per_token = (input_ids, attention_mask, token_type_ids, position_ids)
        rows = [None if tensor is None else tensor.flatten(0, 1) for tensor in per_token]
        embeds = None if inputs_embeds is None else inputs_embeds.flatten(0, 1)
        trunk = self.bert(
            *rows, head_mask, embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        choices = next(t.shape[1] for t in (input_ids, inputs_embeds) if t is not None)
        logits_BC = self.classifier(self.dropout(trunk.pooler_output)).view(-1, choices)
        output = outputs.MultipleChoiceModelOutput(token_loss(logits_BC, labels), logits_BC)
        return finish(output, self.config, return_dict, trunk)


class BertForQuestionAnswering(BertPreTrainedModel):
    """Where an answer starts and ends."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        start_positions: Maybe = None, end_positions: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        trunk = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        starts, ends = self.qa_outputs(trunk.last_hidden_state).unbind(-1)
        loss = span_loss(starts, ends, start_positions, end_positions)
        output = outputs.QuestionAnsweringModelOutput(loss, starts, ends)
        return finish(output, self.config, return_dict, trunk)


def classifier_dropout(config: BertConfig) -> nn.Dropout:
    """The classifier's own rate, or the hidden states'."""
    rate = config.classifier_dropout
    return nn.Dropout(config.hidden_dropout_prob if rate is None else rate)
