"""EmbeddingsMixin: the tables of words at both ends of a model, and their size.

Source: transformers 4.19.2, ``TFPreTrainedModel`` (get/set methods, resizing).
"""

import warnings
from typing import Any

import tensorflow as tf

from model_base.tensorflow.layers import Embedding, Layer, Normal, Tensor, replace


class VocabularyHead(Layer):
    """A layer of scores of the vocabulary, which is the words' embeddings turned around.

    Attributes:
        bias: of each word; None without.
        decoder: a table of its own, ``[V, H]``, in place of the words' embeddings.
    """

    bias: Any = None
    decoder: Embedding | None = None

    def get_bias(self) -> dict[str, Any] | None:
        """The biases by attribute."""
        return None if self.bias is None else {"bias": self.bias}

    def set_bias(self, value: dict[str, Tensor]) -> None:
        """Replace the biases."""
        for name, values in value.items():
            replace(self, name, tf.convert_to_tensor(values))


class EmbeddingsMixin:
    """How the embeddings of a model are reached and changed."""

    config: Any
    base_layer: Any

    def get_input_embeddings(self) -> Embedding:
        """The words' embeddings, whose ``weight`` is ``[V, H]``."""
        found: Embedding = self.base_layer.get_input_embeddings()
        return found

    def set_input_embeddings(self, value: Any) -> None:
        """Replace the words' embeddings by a table ``[V, H]``, or that of another layer."""
        replace(self.get_input_embeddings(), "table", _table_of(value))

    def get_output_embeddings(self) -> Embedding | None:
        """The table that makes scores of words; None without such a head."""
        head = self.get_lm_head()
        if head is None:
            return None
        return self.get_input_embeddings() if head.decoder is None else head.decoder

    def set_output_embeddings(self, value: Any) -> None:
        """Replace the table that makes scores of words; nothing without such a head."""
        if (table := self.get_output_embeddings()) is not None:
            replace(table, "table", _table_of(value))

    def get_lm_head(self) -> VocabularyHead | None:
        """The layer of scores of the vocabulary; None without."""
        return None

    def get_bias(self) -> dict[str, Any] | None:
        """The biases of the vocabulary's scores by attribute; None without."""
        head = self.get_lm_head()
        return None if head is None else head.get_bias()

    def set_bias(self, value: dict[str, Tensor]) -> None:
        """Replace the biases of the vocabulary's scores."""
        if (head := self.get_lm_head()) is not None:
            head.set_bias(value)

    def get_output_layer_with_bias(self) -> VocabularyHead | None:
        """The same as ``get_lm_head``; deprecated."""
        warnings.warn("use get_lm_head", FutureWarning, stacklevel=2)
        return self.get_lm_head()

    def get_prefix_bias_name(self) -> None:
        """None; deprecated."""
        warnings.warn("use get_bias", FutureWarning, stacklevel=2)

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> Any:
        """Cut the vocabulary, or add words to it; old ones keep their values.

        Args:
            new_num_tokens: size of the vocabulary; None changes nothing.

        Returns:
            The table of the words' embeddings.

        Raises:
            ValueError: not a size.
        """
        embeddings = self.get_input_embeddings()
        if new_num_tokens is None or new_num_tokens == self.config.vocab_size:
            return embeddings.weight
        if type(new_num_tokens) is not int or new_num_tokens < 1:
            raise ValueError(f"new_num_tokens is {new_num_tokens!r}; accepted: 1 or more, or None")
        if biases := self.get_bias():
            self.set_bias({n: _resized(b, -1, new_num_tokens) for n, b in biases.items()})
        head = self.get_lm_head()
        if head is not None and head.decoder is not None:
            replace(head.decoder, "table", _resized(head.decoder.table, 0, new_num_tokens))
        replace(embeddings, "table", self._resized_words(embeddings.table, new_num_tokens))
        self.config.vocab_size = new_num_tokens
        self.train_function = self.test_function = self.predict_function = None  # saw the old ones
        return embeddings.weight

    def _resized_words(self, table_VH: Any, count: int) -> Tensor:
        added = max(count - table_VH.shape[0], 0)
        start = Normal(stddev=getattr(self.config, "initializer_range", 0.02))
        new = start((added, table_VH.shape[1]))
        return tf.concat((table_VH[:count], new), axis=0)

    def prune_heads(self, heads_to_prune: dict[int, list[int]]) -> None:
        """Not in this stack.

        Raises:
            NotImplementedError: always, as in 4.19.
        """
        raise NotImplementedError("heads are pruned in PyTorch models; load and prune there")


def _table_of(value: Any) -> Tensor:
    return tf.convert_to_tensor(value.weight if isinstance(value, Embedding) else value)


def _resized(variable: Any, axis: int, count: int) -> Tensor:
    """Cut, or with zeros at the end, along the vocabulary."""
    values = tf.convert_to_tensor(variable)
    axis %= len(values.shape)
    padding = [[0, 0] for _ in values.shape]
    padding[axis][1] = max(count - values.shape[axis], 0)
    size = [count if place == axis else -1 for place in range(len(values.shape))]
    return tf.slice(tf.pad(values, padding), [0] * len(size), size)
