"""What a forward does with its arguments and its output, the same in every stack."""

from collections.abc import Mapping
from typing import Any

from model_base.outputs import BaseModelOutput, ModelOutput, Seq2SeqModelOutput


def tokens_of(input_ids: Any, inputs_embeds: Any) -> Any:
    """Any tensor of the tokens' shape, from ids ``[…]`` or embeddings ``[…, H]``.

    Raises:
        ValueError: both are given, or neither.
    """
    if input_ids is not None and inputs_embeds is None:
        return input_ids
    if inputs_embeds is not None and input_ids is None:
        return inputs_embeds[..., 0]
    raise ValueError("give exactly one of input_ids and inputs_embeds")


def total(first: Any, second: Any) -> Any:
    """The sum of two losses; None unless there are both."""
    return None if first is None or second is None else first + second


def finish(
    output: ModelOutput, config: Any, return_dict: bool | None, trunk: ModelOutput | None = None
) -> Any:
    """The output as it was asked for: itself, or the tuple of what is not None.

    Args:
        output: what the model computed.
        config: has the default of ``return_dict``.
        return_dict: the argument of the forward.
        trunk: fields of ``output`` that it fills, such as hidden states and the cache, are
            passed on.
    """
    shared: Mapping[str, Any] = trunk or {}
    for name in output.names():
        if name in shared:
            output[name] = shared[name]
    return output if chosen(return_dict, config.use_return_dict) else output.to_tuple()


def check_cross_attention(config: Any, encoder_states: Any) -> None:
    """Refuse an encoder's states for a model that does not attend over them.

    Raises:
        ValueError: naming the field that is wanted.
    """
    if encoder_states is not None and not config.add_cross_attention:
        raise ValueError("encoder_hidden_states need a config with add_cross_attention=True")


def encoder_output(given: Any) -> ModelOutput:
    """What an encoder returned before, as the caller gives it: an output or a tuple."""
    return given if isinstance(given, ModelOutput) else BaseModelOutput(*given)


def seq2seq_output(decoder: ModelOutput, encoder: ModelOutput) -> Seq2SeqModelOutput:
    """What an encoder-decoder returns, of what its two halves did."""
    return Seq2SeqModelOutput(
        decoder["last_hidden_state"],
        decoder.get("past_key_values"),
        decoder.get("hidden_states"),
        decoder.get("attentions"),
        decoder.get("cross_attentions"),
        encoder["last_hidden_state"],
        encoder.get("hidden_states"),
        encoder.get("attentions"),
    )


def chosen(argument: bool | None, default: bool) -> bool:
    """An optional argument of a forward, or the configuration's value."""
    return default if argument is None else argument


def head_size(width: int, num_heads: int) -> int:
    """Width of one attention head.

    Raises:
        ValueError: the heads do not share the width evenly.
    """
    if width % num_heads:
        raise ValueError(f"hidden_size {width} is no multiple of num_attention_heads {num_heads}")
    return width // num_heads
