"""EmbeddingsMixin: access to embeddings, tying, resizing.

Source: transformers 4.19.2, ``modeling_utils.PreTrainedModel``.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from model_base.log import get_logger
from model_base.torch.module_utils import MixinBase

logger = get_logger("embeddings")


class EmbeddingsMixin(MixinBase):
    """What a model does with its input and output embeddings."""

    config: Any
    base_model_prefix: str

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise one module; each architecture has its own.

        Raises:
            NotImplementedError: unless a subclass overrides it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how weights start")

    def get_input_embeddings(self) -> nn.Module:
        """The module that turns token ids into vectors.

        Raises:
            NotImplementedError: the class has no such module.
        """
        base = getattr(self, self.base_model_prefix, self)
        if base is self:
            raise NotImplementedError(f"{type(self).__name__} names no input embeddings")
        embeddings: nn.Module = base.get_input_embeddings()
        return embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the module that turns token ids into vectors.

        Raises:
            NotImplementedError: the class has no such module.
        """
        base = getattr(self, self.base_model_prefix, self)
        if base is self:
            raise NotImplementedError(f"{type(self).__name__} names no input embeddings")
        base.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module | None:
        """The head that turns vectors into token scores; None without one."""
        return None

    def set_output_embeddings(self, value: nn.Module) -> None:
        """Replace the head that turns vectors into token scores.

        Raises:
            NotImplementedError: the class has no such head.
        """
        raise NotImplementedError(f"{type(self).__name__} has no output embeddings")

    def get_position_embeddings(self) -> Any:
        """The position embeddings.

        Raises:
            NotImplementedError: unless a subclass has them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no get_position_embeddings")

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        """Change the number of positions.

        Raises:
            NotImplementedError: unless a subclass can.
        """
        raise NotImplementedError(f"{type(self).__name__} has no resize_position_embeddings")

    def tie_weights(self) -> None:
        """Make the output embeddings share the input embeddings' weight.

        Done if ``config.tie_word_embeddings``; under ``config.torchscript`` the weight is copied.
        With ``config.tie_encoder_decoder`` the encoder shares what the decoder has by the same
        name. Then calls ``_tie_weights`` of every submodule that has it.
        """
        output = self.get_output_embeddings()
        if output is not None and getattr(self.config, "tie_word_embeddings", True):
            self._tie_or_clone_weights(output, self.get_input_embeddings())
        if self.config.is_encoder_decoder and self.config.tie_encoder_decoder:
            base: Any = getattr(self, self.base_model_prefix, self)
            untied = tie_encoder_to_decoder(base.encoder, base.decoder)
            if untied:
                logger.warning("encoder weights that the decoder has not: %s", ", ".join(untied))
        modules: Iterable[Any] = self.modules()
        for module in modules:
            if hasattr(module, "_tie_weights"):
                module._tie_weights()

    def _tie_or_clone_weights(self, output: Any, source: Any) -> None:
        weight = source.weight
        output.weight = nn.Parameter(weight.clone()) if self.config.torchscript else weight
        if getattr(output, "bias", None) is not None:
            missing = output.weight.shape[0] - output.bias.shape[0]
            if missing:
                output.bias.data = F.pad(output.bias.data, (0, missing))
        if hasattr(output, "out_features") and hasattr(source, "num_embeddings"):
            output.out_features = source.num_embeddings

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> nn.Module:
        """Change the number of tokens.

        New rows are initialised as the model initialises embeddings; an untied head, and its
        bias, follow. ``config.vocab_size`` is set.

        Args:
            new_num_tokens: None changes nothing.

        Returns:
            The input embeddings.

        Raises:
            TypeError: the embeddings are not ``nn.Embedding``, or the head is not ``nn.Linear``.
        """
        if new_num_tokens is None:
            return self.get_input_embeddings()
        embeddings = self._resized_embeddings(self.get_input_embeddings(), new_num_tokens)
        self.set_input_embeddings(embeddings)
        head = self.get_output_embeddings()
        if head is not None and not self.config.tie_word_embeddings:
            self.set_output_embeddings(self._resized_head(head, new_num_tokens))
        self.config.vocab_size = new_num_tokens
        self.vocab_size = new_num_tokens
        self.tie_weights()
        return self.get_input_embeddings()

    def _resized_embeddings(self, old: nn.Module, rows: int) -> nn.Module:
        if not isinstance(old, nn.Embedding):
            raise TypeError(f"embeddings are a {type(old).__name__}; accepted: nn.Embedding")
        if old.num_embeddings == rows:
            return old
        padding = (
            old.padding_idx if old.padding_idx is not None and old.padding_idx < rows else None
        )
        new = copy.copy(old)  # of the same class, with what it knows besides the weight
        new._parameters = {"weight": nn.Parameter(old.weight.new_empty(rows, old.embedding_dim))}
        new.num_embeddings, new.padding_idx = rows, padding
        self._init_weights(new)
        _copy_rows(old.weight, new.weight)
        return new

    def _resized_head(self, old: nn.Module, rows: int) -> nn.Module:
        if not isinstance(old, nn.Linear):
            raise TypeError(
                f"the output embeddings are a {type(old).__name__}; accepted: nn.Linear"
            )
        if old.out_features == rows:
            return old
        has_bias = old.bias is not None
        weight = old.weight
        new = nn.Linear(old.in_features, rows, has_bias, device=weight.device, dtype=weight.dtype)
        self._init_weights(new)
        _copy_rows(old.weight, new.weight)
        if has_bias:
            _copy_rows(old.bias, new.bias)
        return new


def tie_encoder_to_decoder(encoder: Any, decoder: Any) -> list[str]:
    """Let an encoder's modules share the weights of the decoder's, by name.

    In a list of modules the decoder may have some that the encoder has not, such as attention
    over the encoder: those of another class are passed over.

    Returns:
        Names of the encoder's modules that found no partner.
    """
    untied: list[str] = []
    _tie_modules(encoder, decoder, "", untied)
    return untied


def _tie_modules(encoder: Any, decoder: Any, name: str, untied: list[str]) -> None:
    if hasattr(encoder, "weight") and hasattr(decoder, "weight"):
        encoder.weight = decoder.weight
        if getattr(encoder, "bias", None) is not None:
            encoder.bias = decoder.bias
    own, other = dict(encoder.named_children()), dict(decoder.named_children())
    if isinstance(encoder, nn.ModuleList) and len(own) < len(other):
        kinds = [_kind(module) for module in own.values()]
        other = dict(zip(own, (m for m in other.values() if _kind(m) in kinds), strict=False))
    for child, module in own.items():
        path = f"{name}.{child}" if name else child
        if child in other:
            _tie_modules(module, other[child], path, untied)
        elif any(True for _ in module.parameters()):
            untied.append(path)


def _kind(module: nn.Module) -> tuple[str, ...]:
    """What tells a module from others in a list: its class and its children's names."""
    return (type(module).__name__, *(name for name, _ in module.named_children()))


def _copy_rows(old: torch.Tensor, new: torch.Tensor) -> None:
    rows = min(old.shape[0], new.shape[0])
    with torch.no_grad():
        new[:rows] = old[:rows]
