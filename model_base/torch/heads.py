"""What models do with a trunk's output, where architectures do the same.

Mixins of a ``PreTrainedModel``, whose ``base_model`` is the trunk; each subclass owns its modules
and so the names that its checkpoints know. Arguments that are not explained are the trunk's.

Shape letters: B batch, L length, H hidden, V vocabulary, N labels. ``[…]`` stands for the axes of
the tokens, which are the layout's.

Source: transformers 4.19.2; the decoders' heads 4.57.3 (arguments, losses).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from model_base import forward, outputs
from model_base.torch import layers
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.layouts import Layout
from model_base.torch.module_utils import MixinBase


class Labeller(MixinBase):
    """An encoder's head whose forward takes ``labels`` and nothing else of its own."""

    config: Any
    base_model: Any

    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        """Loss and logits from the trunk's output; each subclass has its own."""
        raise NotImplementedError

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        labels: Maybe = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits, and a loss if there are labels; their shapes are the subclass's."""
        trunk = self.base_model(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        return forward.finish(self.head(trunk, labels, layout), self.config, return_dict, trunk)


class FirstTokenLabeller(Labeller):
    """A label for each text, read at its first token by ``classifier``."""

    classifier: nn.Module

    @override
    def head(self, trunk: Any, labels: Maybe, layout: Layout | None) -> outputs.ModelOutput:
        logits_BN = self.classifier(first_of(trunk.last_hidden_state, layout))
        loss = layers.sequence_loss(logits_BN, labels, self.config)
        return outputs.SequenceClassifierOutput(loss, logits_BN)


class SpanFinder(MixinBase):
    """An encoder's head ``qa_outputs`` for where an answer starts and ends."""

    config: Any
    base_model: Any
    qa_outputs: nn.Module

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        start_positions: Maybe = None, end_positions: Maybe = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…]`` of each token being the first and the last; positions int64 ``[B]``."""
        trunk = self.base_model(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        starts, ends = self.qa_outputs(trunk.last_hidden_state).unbind(-1)
        loss = layers.span_loss(starts, ends, start_positions, end_positions)
        output = outputs.QuestionAnsweringModelOutput(loss, starts, ends)
        return forward.finish(output, self.config, return_dict, trunk)


class Choices(MixinBase):
    """What every head that reads several texts at once is shown."""

    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        """Forward arguments of that size, with two choices."""
        ids_BCL = torch.zeros((batch_size, 2, sequence_length), dtype=torch.long)
        return {"input_ids": ids_BCL}


class Chooser(Choices):
    """An encoder's head that picks one of several texts."""

    config: Any
    base_model: Any

    def score(self, trunk: Any) -> Tensor:
        """``[B · choices, 1]`` from the trunk's output; each subclass has its own."""
        raise NotImplementedError

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        labels: Maybe = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None,
    ) -> Any:  # fmt: skip
        """Logits ``[B, choices]`` of inputs ``[B, choices, L]``; labels int64 ``[B]``."""
        per_token = (input_ids, attention_mask, token_type_ids, position_ids)
        rows = [None if tensor is None else tensor.flatten(0, 1) for tensor in per_token]
        embeds = None if inputs_embeds is None else inputs_embeds.flatten(0, 1)
        trunk = self.base_model(
            *rows, head_mask, embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True,
        )  # fmt: skip
        choices = forward.tokens_of(input_ids, inputs_embeds).shape[1]
        logits_BC = self.score(trunk).view(-1, choices)
        output = outputs.MultipleChoiceModelOutput(layers.token_loss(logits_BC, labels), logits_BC)
        return forward.finish(output, self.config, return_dict, trunk)


class TokenHead(MixinBase):
    """Access to a head ``lm_head``, the scores of tokens."""

    lm_head: nn.Module

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replace the head."""
        self.lm_head = value


class NextToken(TokenHead):
    """A decoder's head ``lm_head``: scores of the next token."""

    config: Any
    base_model: Any

    def token_scores(self, hidden: Tensor) -> Tensor:
        """``[…, H]`` → ``[…, V]``."""
        scores: Tensor = self.lm_head(hidden)
        return scores

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None, labels: Maybe = None,
        use_cache: Flag = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, V]``; labels int64 ``[B, L]`` are the ids, shifted here, -100 for none."""
        trunk = self.base_model(
            input_ids, attention_mask, position_ids, past_key_values, inputs_embeds,
            use_cache if labels is None else False, output_attentions, output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.token_scores(trunk.last_hidden_state)
        output = outputs.CausalLMOutputWithPast(layers.next_token_loss(scores, labels), scores)
        return forward.finish(output, self.config, return_dict, trunk)


class MaskedToken(MixinBase):
    """An encoder's scores of masked tokens; it may read another encoder's states."""

    config: Any
    base_model: Any
    token_scores: Callable[[Tensor], Tensor]
    """``[…, H]`` → ``[…, V]``."""

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        labels: Maybe = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, V]``; labels int64 ``[B, L]``, -100 where there is nothing to guess."""
        trunk = self.base_model(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            encoder_hidden_states, encoder_attention_mask,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.token_scores(trunk.last_hidden_state)
        output = outputs.MaskedLMOutput(layers.token_loss(scores, labels), scores)
        return forward.finish(output, self.config, return_dict, trunk)


class NextTokenWithCrossAttention(MixinBase):
    """Scores of the next token, of an encoder that is used as a decoder."""

    config: Any
    base_model: Any
    token_scores: Callable[[Tensor], Tensor]
    """``[…, H]`` → ``[…, V]``."""

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        labels: Maybe = None, past_key_values: Any = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits ``[…, V]``; labels int64 ``[B, L]`` are the ids, shifted here."""
        trunk = self.base_model(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            encoder_hidden_states, encoder_attention_mask, past_key_values,
            use_cache if labels is None else False, output_attentions, output_hidden_states,
            return_dict=True, layout=layout,
        )  # fmt: skip
        scores = self.token_scores(trunk.last_hidden_state)
        output = outputs.CausalLMOutputWithCrossAttentions(
            layers.next_token_loss(scores, labels), scores
        )
        return forward.finish(output, self.config, return_dict, trunk)


class DecoderLabeller(MixinBase):
    """A decoder's head ``score`` whose forward takes ``labels`` and nothing else of its own."""

    config: Any
    base_model: Any
    score: nn.Module

    def head(
        self, scores: Tensor, labels: Maybe, input_ids: Maybe, layout: Layout | None
    ) -> outputs.ModelOutput:
        """Loss and logits from each token's scores ``[…, labels]``; each subclass has its own."""
        raise NotImplementedError

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None, labels: Maybe = None,
        use_cache: Flag = None, output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Logits, and a loss if there are labels; their shapes are the subclass's."""
        trunk = self.base_model(
            input_ids, attention_mask, position_ids, past_key_values, inputs_embeds,
            use_cache, output_attentions, output_hidden_states, return_dict=True, layout=layout,
        )  # fmt: skip
        output = self.head(self.score(trunk.last_hidden_state), labels, input_ids, layout)
        return forward.finish(output, self.config, return_dict, trunk)


class LastTokenLabeller(DecoderLabeller):
    """A label for each text, read at its last token: logits ``[B, labels]``."""

    @override
    def head(
        self, scores: Tensor, labels: Maybe, input_ids: Maybe, layout: Layout | None
    ) -> outputs.ModelOutput:
        logits_BN = last_of(scores, input_ids, self.config.pad_token_id, layout)
        loss = layers.sequence_loss(logits_BN, labels, self.config)
        return outputs.SequenceClassifierOutputWithPast(loss, logits_BN)


class EachTokenLabeller(DecoderLabeller):
    """A label for each token: logits ``[…, labels]``, labels int64 ``[B, L]``, -100 for none."""

    @override
    def head(
        self, scores: Tensor, labels: Maybe, input_ids: Maybe, layout: Layout | None
    ) -> outputs.ModelOutput:
        return outputs.TokenClassifierOutput(layers.token_loss(scores, labels), scores)


def first_of(hidden: Tensor, layout: Layout | None) -> Tensor:
    """The states ``[…, H]`` of each sequence's first token, ``[B, H]``."""
    return hidden[:, 0] if layout is None else layout.first_tokens(hidden)


def mean_of(hidden: Tensor, attention_mask: Maybe, layout: Layout | None) -> Tensor:
    """The mean of the states ``[…, H]`` of each sequence, ``[B, H]``, padding not counted."""
    if layout is not None:
        return layout.mean_tokens(hidden)
    if attention_mask is None:
        return hidden.mean(dim=1)
    weight_BL1 = attention_mask.to(hidden.dtype)[..., None]
    return (hidden * weight_BL1).sum(dim=1) / weight_BL1.sum(dim=1)


def last_of(
    values: Tensor, input_ids: Maybe, pad_token_id: int | None, layout: Layout | None
) -> Tensor:
    """The values ``[…, H]`` at each sequence's last token, ``[B, H]``.

    Without a layout that is the last id that is not padding.

    Raises:
        ValueError: several sequences, and no padding id to tell where they end.
    """
    if layout is not None:
        return layout.last_tokens(values)
    if pad_token_id is None and len(values) > 1:
        raise ValueError("a batch of several sequences needs config.pad_token_id")
    if pad_token_id is None or input_ids is None:
        return values[:, -1]
    places = torch.arange(values.shape[1], device=values.device)
    last_B = (places * (input_ids != pad_token_id)).argmax(dim=1)
    return values[torch.arange(len(values), device=values.device), last_B]
