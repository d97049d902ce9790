"""The forward of an encoder-decoder's trunk, where architectures have the same arguments.

Shape letters: B batch, S tokens of the encoder, L tokens of the decoder, H hidden.

Source: transformers 4.19.2, ``modeling_t5.py`` and ``modeling_bart.py`` (arguments, outputs).
"""

from typing import Any

from torch import nn

from model_base import forward
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.layouts import Layout
from model_base.torch.module_utils import MixinBase


class HasEncoder(MixinBase):
    """Access to an ``encoder``."""

    encoder: Any

    def get_encoder(self) -> nn.Module:
        """The encoder."""
        half: nn.Module = self.encoder
        return half


class EncoderDecoder(HasEncoder):
    """A trunk of two halves, ``encoder`` and ``decoder``, which read tokens."""

    config: Any
    decoder: Any

    def get_decoder(self) -> nn.Module:
        """The decoder."""
        half: nn.Module = self.decoder
        return half

    def decoder_text(
        self, input_ids: Maybe, layout: Layout | None, decoder_layout: Layout | None
    ) -> tuple[Maybe, Layout | None]:
        """What the decoder reads, and how it lies, if the caller gives it nothing.

        Raises:
            ValueError: it has to be given something.
        """
        raise ValueError("decoder_input_ids is missing: the decoder has nothing to read")

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None,
        decoder_input_ids: Maybe = None, decoder_attention_mask: Maybe = None,
        head_mask: Maybe = None, decoder_head_mask: Maybe = None,
        cross_attn_head_mask: Maybe = None, encoder_outputs: Any = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None,
        decoder_inputs_embeds: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
        decoder_layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Hidden states ``[B, L, H]`` of the decoder.

        Args:
            input_ids: int64 ``[B, S]``; this and all others that are not named after the decoder
                are the encoder's.
            attention_mask: ``[B, S]``; for both halves.
            decoder_input_ids: int64 ``[B, L]``; with the others named so, the decoder's.
            decoder_attention_mask: ``[B, L]``.
            head_mask: of the encoder.
            decoder_head_mask: of the decoder.
            cross_attn_head_mask: of the decoder's attention over the encoder.
            encoder_outputs: what the encoder returned before, in place of its inputs.
            past_key_values: of the decoder.
            inputs_embeds: ``[B, S, H]``.
            decoder_inputs_embeds: ``[B, L, H]``.
            use_cache: return ``past_key_values``.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: of the encoder's tokens.
            decoder_layout: of the decoder's.

        Raises:
            ValueError: nothing to read for one of the halves.
        """
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            decoder_input_ids, decoder_layout = self.decoder_text(input_ids, layout, decoder_layout)
        both = {"output_attentions": output_attentions, "return_dict": True,
                "output_hidden_states": output_hidden_states}  # fmt: skip
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds,
                head_mask=head_mask, layout=layout, **both,
            )  # fmt: skip
        encoder_outputs = forward.encoder_output(encoder_outputs)
        decoded = self.decoder(
            input_ids=decoder_input_ids, attention_mask=decoder_attention_mask,
            encoder_hidden_states=encoder_outputs[0], encoder_attention_mask=attention_mask,
            inputs_embeds=decoder_inputs_embeds, head_mask=decoder_head_mask,
            cross_attn_head_mask=cross_attn_head_mask, past_key_values=past_key_values,
            use_cache=use_cache, layout=decoder_layout, memory_layout=layout, **both,
        )  # fmt: skip
        output = forward.seq2seq_output(decoded, encoder_outputs)
        return forward.finish(output, self.config, return_dict)
