"""Attention with four projections, as fairseq named them; BART, CLIP and Wav2Vec2 have it.

Source: transformers 4.19.2, ``modeling_tf_bart.py`` (names).
"""

from typing_extensions import override

from model_base import forward
from model_base.tensorflow import layers
from model_base.tensorflow.attention import Layout, Memory
from model_base.tensorflow.layers import Layer, Tensor


class MultiHeadAttention(Layer):
    """Projections into heads and back; over itself, or over an encoder's states.

    Args:
        name: in checkpoints.
        size: width of the states, H.
        num_heads: how many heads share it.
        dropout_p: probability of dropping an attention weight in training.
        spread: how widely the projections' weights start.
    """

    def __init__(
        self, name: str, size: int, num_heads: int, dropout_p: float, spread: float = 0.02
    ) -> None:
        super().__init__(name)
        self.head_dim = forward.head_size(size, num_heads)
        self.dropout_p = dropout_p
        self.k_proj, self.q_proj, self.v_proj, self.out_proj = (
            layers.dense(part, size, size, spread)
            for part in ("k_proj", "q_proj", "v_proj", "out_proj")
        )

    @override
    def call(self, hidden: Tensor, layer: int, over: Layout | Memory) -> Tensor:
        """``[B, L, H]`` → ``[B, L, H]``, as layer number ``layer``."""
        query = layers.split_heads(self.q_proj(hidden), self.head_dim)
        scoring = {"scale": self.head_dim**-0.5, "dropout_p": self.dropout_p}
        if isinstance(over, Memory):
            context = over.attend(layer, query, self._keys_and_values, **scoring)
        else:
            context = over.attend(layer, query, *self._keys_and_values(hidden), **scoring)
        return self.out_proj(context)

    def _keys_and_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        key, value = self.k_proj(states), self.v_proj(states)
        return layers.split_heads(key, self.head_dim), layers.split_heads(value, self.head_dim)
