"""The forward of a decoder's trunk, where architectures have the same arguments.

Shape letters: B batch, L length, S keys, H hidden, M heads of keys, D head size. ``[…]`` stands
for the axes of the tokens, which are the layout's.

Source: transformers 4.57.3, ``modeling_llama.py`` (arguments, outputs).
"""

# Calling a module is Any to the type checker; every forward here says what it returns.
# mypy: disable-error-code="no-any-return"

from typing import Any

from torch import Tensor, nn

from model_base import forward, outputs
from model_base.torch import layouts
from model_base.torch.arguments import Flag, Maybe
from model_base.torch.layouts import Layout
from model_base.torch.module_utils import MixinBase


class Decoder(MixinBase):
    """A trunk whose tokens see those before them; its words are ``embed_tokens``."""

    config: Any
    embed_tokens: nn.Module
    gradient_checkpointing: bool

    def get_input_embeddings(self) -> nn.Module:
        """The module that turns token ids into vectors."""
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace that module."""
        self.embed_tokens = value

    def embed(self, input_ids: Maybe, inputs_embeds: Maybe) -> Tensor:
        """``[…, H]`` of the words, or of what is given in their place."""
        return self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds

    def states(self, embedded: Tensor, layout: Layout, recompute: bool) -> tuple[Tensor, ...]:
        """The states before each layer, and the output; each subclass has its own."""
        raise NotImplementedError

    def forward(
        self, input_ids: Maybe = None, attention_mask: Maybe = None, position_ids: Maybe = None,
        past_key_values: Any = None, inputs_embeds: Maybe = None, use_cache: Flag = None,
        output_attentions: Flag = None, output_hidden_states: Flag = None,
        return_dict: Flag = None, layout: Layout | None = None,
    ) -> Any:  # fmt: skip
        """Compute hidden states; the last of ``hidden_states`` is normalised, as the output is.

        Args:
            input_ids: int64 ``[B, L]``, or ``[T]`` with a packed ``layout``.
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps a token, 0 hides it.
            position_ids: ``[B, L]``; None counts from the length of the cache.
            past_key_values: for each layer keys and values ``[B, M, S, D]``.
            inputs_embeds: ``[…, H]`` in place of ``input_ids``.
            use_cache: return ``past_key_values``; the default is the config's.
            output_attentions: return the attention weights of each layer.
            output_hidden_states: return the hidden states of each layer.
            return_dict: return a ``ModelOutput``, else a tuple.
            layout: how tokens lie in memory; replaces mask, positions and cache.

        Raises:
            ValueError: both or neither of ``input_ids`` and ``inputs_embeds``; a ``layout`` with
                an argument that it replaces.
        """
        config, tokens = self.config, forward.tokens_of(input_ids, inputs_embeds)
        layout = layouts.layout_for(
            self, tokens, layout, attention_mask, position_ids, past_key_values=past_key_values,
            keep_weights=forward.chosen(output_attentions, config.output_attentions),
            keep_cache=forward.chosen(use_cache, config.use_cache),
        )  # fmt: skip
        states = self.states(
            self.embed(input_ids, inputs_embeds),
            layout,
            self.gradient_checkpointing and self.training,
        )
        keep_states = forward.chosen(output_hidden_states, config.output_hidden_states)
        output = outputs.BaseModelOutputWithPast(
            states[-1],
            layouts.cache_of(layout),
            states if keep_states else None,
            layouts.weights_of(layout),
        )
        return forward.finish(output, config, return_dict)
