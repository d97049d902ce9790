"""What the trunks of encoder-decoders share: their inputs, and how their halves are put together.

Shape letters: B batch, S tokens of the encoder, L tokens of the decoder, H hidden.

Source: transformers 4.19.2, ``modeling_tf_t5.py`` and ``modeling_tf_bart.py`` (arguments, outputs).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import tensorflow as tf
from typing_extensions import override

from model_base import forward, outputs
from model_base.tensorflow import attention
from model_base.tensorflow.arguments import Flag
from model_base.tensorflow.attention import Layout, Memory
from model_base.tensorflow.base import DUMMY_INPUTS
from model_base.tensorflow.layers import Embedding, Layer, Normal, Tensor, replace

SERVED = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")


@dataclass(frozen=True, slots=True)
class Lent:
    """A table that a layer reads and another one owns: Keras does not see it, nor do files."""

    table: Embedding


class WordScores(Layer):
    """Scores of the vocabulary by a table of their own: ``kernel [H, V]``."""

    def __init__(self, name: str, size: int, vocab_size: int, spread: float) -> None:
        super().__init__(name)
        self.kernel = self.variable("kernel", (size, vocab_size), Normal(stddev=spread))

    @property
    def table(self) -> Tensor:
        """The values as those of embeddings, ``[V, H]``."""
        return tf.transpose(self.kernel)

    def set_table(self, value: Any) -> None:
        """Replace it by a table ``[V, H]``, or that of another layer."""
        table_VH = value.weight if isinstance(value, Embedding) else value
        replace(self, "kernel", tf.transpose(tf.convert_to_tensor(table_VH)))

    def resize(self, count: int) -> None:
        """Cut the vocabulary, or add words to it, whose scores are zero."""
        added = max(count - self.kernel.shape[1], 0)
        padded = tf.pad(tf.convert_to_tensor(self.kernel), ((0, 0), (0, added)))
        replace(self, "kernel", padded[:, :count])

    @override
    def call(self, hidden: Tensor) -> Tensor:
        """``[B, L, H]`` → ``[B, L, V]``."""
        return tf.einsum("blh,hv->blv", hidden, self.kernel)


class EncoderDecoder:
    """Inputs of a model with two halves, ``encoder`` and ``decoder``."""

    serving_inputs: ClassVar[tuple[str, ...]] = SERVED

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Inputs for one forward: int32 ``[3, 5]``."""
        ids = tf.constant(DUMMY_INPUTS, tf.int32)
        return {"input_ids": ids, "decoder_input_ids": ids}


def shift_right(labels_BL: Tensor, start_id: int | None, pad_id: int | None) -> Tensor:
    """Decoder ids of labels: a start in front, the last left out, padding where there is none.

    Raises:
        ValueError: one of the two ids is None.
    """
    if start_id is None or pad_id is None:
        raise ValueError("config needs decoder_start_token_id and pad_token_id to shift labels")
    labels_BL = tf.convert_to_tensor(labels_BL)
    first = tf.fill((tf.shape(labels_BL)[0], 1), tf.cast(start_id, labels_BL.dtype))
    shifted = tf.concat((first, labels_BL[:, :-1]), axis=1)
    return tf.where(tf.equal(shifted, -100), tf.cast(pad_id, shifted.dtype), shifted)


def layouts_of(
    config: Any, tokens: Tensor, attention_mask: Tensor, head_mask: Tensor, encoder_states: Tensor,
    encoder_mask: Tensor, cross_head_mask: Tensor, past: Any, *, use_cache: Flag,
    output_attentions: Flag, training: bool,
) -> tuple[Layout, Memory | None]:  # fmt: skip
    """How the tokens of one half ``[B, L]`` see each other, and what a decoder sees of an encoder.

    Args:
        config: of the half: ``is_decoder`` and ``num_hidden_layers`` are its own.
        tokens: of the tokens' shape.
        attention_mask: as ``attention.visible`` takes it; None keeps all.
        head_mask: ``[N]`` or ``[layers, N]``.
        encoder_states: ``[B, S, H]``, or None.
        encoder_mask: ``[B, S]``.
        cross_head_mask: as ``head_mask``, of the attention over the encoder.
        past: for each layer own and encoder's keys and values ``[B, N, S, D]``.
        use_cache: keep keys and values; a decoder's default is the config's.
        output_attentions: keep the attention weights.
        training: whether weights are dropped.
    """
    kept = {
        "keep_weights": forward.chosen(output_attentions, config.output_attentions),
        "keep_cache": config.is_decoder and forward.chosen(use_cache, config.use_cache),
        "training": training,
    }
    layout = attention.layout_for(
        config, tokens, attention_mask, head_mask, past, causal=config.is_decoder, **kept
    )
    heads = attention.head_masks(cross_head_mask, config.num_hidden_layers)
    return layout, attention.memory_for(encoder_states, encoder_mask, past, heads, **kept)


def half_output(
    config: Any, states: tuple[Tensor, ...], layout: Layout, memory: Memory | None,
    output_hidden_states: Flag, return_dict: Flag,
) -> Any:  # fmt: skip
    """The output of one half, of the states before each layer and after the last."""
    keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
    output = outputs.BaseModelOutputWithPastAndCrossAttentions(
        states[-1],
        attention.cache_of(layout, memory),
        states if keep_states else None,
        layout.kept_weights,
        None if memory is None else memory.layout.kept_weights,
    )
    return forward.finish(output, config, return_dict)


def run_halves(
    encoder: Layer, decoder: Layer, encoder_outputs: Any, encoder_inputs: dict[str, Any],
    decoder_inputs: dict[str, Any], **asked: Any,
) -> outputs.Seq2SeqModelOutput:  # fmt: skip
    """The encoder, unless its outputs are given, then the decoder over its states.

    Args:
        encoder: takes ``encoder_inputs``.
        decoder: takes ``decoder_inputs``, and the encoder's states and mask.
        encoder_outputs: what the encoder returned before, an output or a tuple; or None.
        encoder_inputs: arguments by name, ``attention_mask`` among them.
        decoder_inputs: arguments by name.
        asked: arguments of both.
    """
    if encoder_outputs is None:
        encoder_outputs = encoder(**encoder_inputs, **asked, return_dict=True)
    encoder_outputs = forward.encoder_output(encoder_outputs)
    decoded = decoder(
        encoder_hidden_states=encoder_outputs[0],
        encoder_attention_mask=encoder_inputs["attention_mask"],
        **decoder_inputs, **asked, return_dict=True,
    )  # fmt: skip
    return forward.seq2seq_output(decoded, encoder_outputs)
