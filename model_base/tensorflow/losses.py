"""Losses of the heads: one value for each position or example that counts, not reduced.

Source: transformers 4.19.2, ``modeling_tf_utils`` (classes of these names).
"""

from typing import Any

import tensorflow as tf

from model_base.log import get_logger
from model_base.tensorflow.layers import Tensor

logger = get_logger("losses")

IGNORED = -100


def of_classes(labels: Tensor, logits: Tensor) -> Tensor:
    """Cross-entropy of integers ``[…]`` and logits ``[…, C]`` where the label is not -100."""
    labels = tf.reshape(tf.cast(labels, tf.int32), (-1,))
    logits = tf.reshape(logits, (-1, logits.shape[-1]))
    active = tf.not_equal(labels, IGNORED)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        tf.boolean_mask(labels, active), tf.boolean_mask(logits, active)
    )


class TFCausalLanguageModelingLoss:
    """The next token: labels ``[B, L]``, -100 for none, and logits ``[B, L, V]``, both shifted."""

    def hf_compute_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """One value for each token that counts."""
        return of_classes(labels, logits)


class TFMaskedLanguageModelingLoss(TFCausalLanguageModelingLoss):
    """Masked tokens: labels ``[B, L]``, -100 where there is nothing to guess."""


class TFNextSentencePredictionLoss(TFCausalLanguageModelingLoss):
    """Whether the second sentence follows: labels ``[B]`` and logits ``[B, 2]``."""


class TFTokenClassificationLoss:
    """A class for each token: labels ``[B, L]``, -100 for none, and logits ``[B, L, C]``."""

    def hf_compute_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """One value for each token that counts; -1 for none is deprecated."""
        if tf.executing_eagerly() and tf.reduce_any(tf.equal(labels, -1)):
            logger.warning("-1 as the label of what does not count is deprecated: use -100")
            labels = tf.where(tf.equal(labels, -1), tf.cast(IGNORED, labels.dtype), labels)
        return of_classes(labels, logits)


class TFSequenceClassificationLoss:
    """A class for each example: labels ``[B]`` and logits ``[B, C]``; a number if C is 1."""

    def hf_compute_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """One value for each example: squared error of numbers, else cross-entropy."""
        if len(logits.shape) == 1 or logits.shape[1] == 1:
            numbers = tf.cast(tf.reshape(labels, (-1, 1)), logits.dtype)
            return tf.reduce_mean(tf.square(numbers - tf.reshape(logits, (-1, 1))), axis=-1)
        return of_classes(labels, logits)


class TFMultipleChoiceLoss(TFSequenceClassificationLoss):
    """Which of several texts: labels ``[B]`` and logits ``[B, choices]``."""


class TFQuestionAnsweringLoss:
    """Where an answer starts and ends."""

    def hf_compute_loss(self, labels: dict[str, Tensor], logits: Any) -> Tensor:
        """The mean of both ends, for each example.

        Args:
            labels: ``start_position`` and ``end_position``, ``[B]`` each.
            logits: of the starts and of the ends, ``[B, L]`` each.
        """
        starts = of_classes(labels["start_position"], logits[0])
        ends = of_classes(labels["end_position"], logits[1])
        return (starts + ends) / 2.0
