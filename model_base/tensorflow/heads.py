"""What models do with a trunk's output, where architectures do the same.

Mixins of a ``TFPreTrainedModel``, whose ``base_layer`` is the trunk; each subclass owns its layers
and so the names that its checkpoints know. Arguments that are not explained are the trunk's.

Shape letters: B batch, L length, H hidden, V vocabulary, C classes.

Source: transformers 4.19.2 (arguments, losses).
"""

from typing import Any, ClassVar

import tensorflow as tf

from model_base import forward, outputs
from model_base.tensorflow import layers, losses
from model_base.tensorflow.arguments import Flag, Maybe
from model_base.tensorflow.inputs import unpack_inputs
from model_base.tensorflow.layers import Tensor


class Labeller:
    """An encoder's head whose call takes ``labels`` and nothing else of its own."""

    config: Any
    base_layer: Any
    hf_compute_loss: Any
    output_class: ClassVar[Any]

    def logits(self, trunk: Any, training: bool) -> Tensor:
        """Logits from the trunk's output; each subclass has its own."""
        raise NotImplementedError

    @unpack_inputs
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, labels: Maybe = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits, and a loss if there are labels; their shapes are the subclass's."""
        trunk = self.base_layer(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, training=training,
        )  # fmt: skip
        logits = self.logits(trunk, training)
        loss = None if labels is None else self.hf_compute_loss(labels, logits)
        output = self.output_class(loss, logits)
        return forward.finish(output, self.config, return_dict, trunk)


class MaskedTokens(losses.TFMaskedLanguageModelingLoss, Labeller):
    """Masked tokens: logits ``[B, L, V]``, labels ``[B, L]``, -100 for none."""

    output_class: ClassVar[Any] = outputs.MaskedLMOutput


class SequenceClasses(losses.TFSequenceClassificationLoss, Labeller):
    """A class for each text, or a number: logits ``[B, C]``, labels ``[B]``."""

    output_class: ClassVar[Any] = outputs.SequenceClassifierOutput


class TokenClasses(losses.TFTokenClassificationLoss, Labeller):
    """A class for each token: logits ``[B, L, C]``, labels ``[B, L]``, -100 for none."""

    output_class: ClassVar[Any] = outputs.TokenClassifierOutput


class SpanFinder(losses.TFQuestionAnsweringLoss):
    """An encoder's head ``qa_outputs`` for where an answer starts and ends."""

    config: Any
    base_layer: Any
    qa_outputs: Any

    @unpack_inputs
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, start_positions: Maybe = None, end_positions: Maybe = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L]`` of each token being the first and the last; positions ``[B]``."""
        trunk = self.base_layer(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, training=training,
        )  # fmt: skip
        starts, ends = tf.unstack(self.qa_outputs(trunk.last_hidden_state), axis=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            labels = {"start_position": start_positions, "end_position": end_positions}
            loss = self.hf_compute_loss(labels, (starts, ends))
        output = outputs.QuestionAnsweringModelOutput(loss, starts, ends)
        return forward.finish(output, self.config, return_dict, trunk)


class Chooser(losses.TFMultipleChoiceLoss):
    """An encoder's head that picks one of several texts; inputs are ``[B, choices, L]``."""

    config: Any
    base_layer: Any

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Inputs for one forward: ``[2, 2, 3]``."""
        return {"input_ids": tf.constant([[[7, 6, 0], [1, 2, 0]], [[5, 4, 3], [2, 1, 0]]])}

    @property
    def input_signature(self) -> dict[str, Any]:
        """Three axes for each input."""
        names = ("input_ids", "attention_mask", "token_type_ids")
        return {name: tf.TensorSpec([None, None, None], tf.int32, name=name) for name in names}

    def score(self, trunk: Any, training: bool) -> Tensor:
        """``[B · choices, 1]`` from the trunk's output; each subclass has its own."""
        raise NotImplementedError

    @unpack_inputs
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, labels: Maybe = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, choices]``; labels ``[B]``."""
        per_token = (input_ids, attention_mask, token_type_ids, position_ids)
        embeds = None if inputs_embeds is None else layers.flat_rows(inputs_embeds)
        trunk = self.base_layer(
            *(None if tensor is None else layers.flat_rows(tensor) for tensor in per_token),
            head_mask, embeds,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=True, training=training,
        )  # fmt: skip
        choices = tf.shape(forward.tokens_of(input_ids, inputs_embeds))[1]
        logits_BC = tf.reshape(self.score(trunk, training), (-1, choices))
        loss = None if labels is None else self.hf_compute_loss(labels, logits_BC)
        output = outputs.MultipleChoiceModelOutput(loss, logits_BC)
        return forward.finish(output, self.config, return_dict, trunk)


class EncoderOrDecoder:
    """A trunk as a model: an encoder, or a decoder that may read another encoder's states."""

    base_layer: Any

    @unpack_inputs
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        past_key_values: Any = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, training: bool = False,
    ) -> Any:  # fmt: skip
        """Hidden states; the arguments are the trunk's."""
        return self.base_layer(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            encoder_hidden_states, encoder_attention_mask, past_key_values, use_cache,
            output_attentions, output_hidden_states, return_dict, training=training,
        )  # fmt: skip


class NextTokenWithCrossAttention(losses.TFCausalLanguageModelingLoss):
    """Scores of the next token, of an encoder that is used as a decoder."""

    config: Any
    base_layer: Any

    def logits(self, trunk: Any, training: bool) -> Tensor:
        """``[B, L, V]`` from the trunk's output; each subclass has its own."""
        raise NotImplementedError

    @unpack_inputs
    def call(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, token_type_ids: Maybe = None,
        position_ids: Maybe = None, head_mask: Maybe = None, inputs_embeds: Maybe = None,
        encoder_hidden_states: Maybe = None, encoder_attention_mask: Maybe = None,
        past_key_values: Any = None, use_cache: Flag = None, output_attentions: Flag = None,
        output_hidden_states: Flag = None, return_dict: Flag = None, labels: Maybe = None,
        training: bool = False,
    ) -> Any:  # fmt: skip
        """Logits ``[B, L, V]``; labels ``[B, L]`` are the ids, shifted here, -100 for none."""
        trunk = self.base_layer(
            input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds,
            encoder_hidden_states, encoder_attention_mask, past_key_values, use_cache,
            output_attentions, output_hidden_states, return_dict=True, training=training,
        )  # fmt: skip
        scores = self.logits(trunk, training)
        loss = None if labels is None else self.hf_compute_loss(labels[:, 1:], scores[:, :-1])
        output = outputs.CausalLMOutputWithCrossAttentions(loss, scores)
        return forward.finish(output, self.config, return_dict, trunk)
