"""ModuleUtilsMixin: size, cost, memory and masks of a model.

Source: transformers 4.19.2, ``modeling_utils.ModuleUtilsMixin``.
"""

import os
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import psutil
import torch
from torch import Tensor, nn

from model_base.log import get_logger
from model_base.torch.empty import without_memory

logger = get_logger("module_utils")

if TYPE_CHECKING:
    MixinBase = nn.Module
else:
    MixinBase = object
"""A mixin is one of a module, but does not derive from it: users list ``nn.Module`` first."""

EXTENDED_FILL = -10000.0
INVERTED_FILL = {torch.float16: -1e4, torch.bfloat16: -1e9, torch.float32: -1e9}


def get_parameter_device(parameter: nn.Module) -> torch.device:
    """Device of the first parameter, or of the first tensor attribute if there is none."""
    return _first_tensor(parameter).device


def get_parameter_dtype(parameter: nn.Module) -> torch.dtype:
    """Dtype of the first floating parameter, else of the first tensor."""
    floating = (p for p in parameter.parameters() if p.is_floating_point())
    return next(floating, _first_tensor(parameter)).dtype


def _first_tensor(module: nn.Module) -> Tensor:
    for parameter in module.parameters():
        return parameter
    for child in module.modules():  # a DataParallel replica keeps its tensors as attributes
        for value in child.__dict__.values():
            if isinstance(value, Tensor):
                return value
    raise ValueError(f"{type(module).__name__} has no parameters and no tensors")


class ModuleUtilsMixin(MixinBase):
    """A few utilities for ``torch.nn.Module``, to be used as a mixin."""

    config: Any
    main_input_name: str
    reuses_parameters: ClassVar[bool] = False
    warnings_issued: dict[str, bool]

    @property
    def device(self) -> torch.device:
        """The device of the module, assuming that all its parameters are on one."""
        return get_parameter_device(self)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the module, assuming that all its floating parameters have one."""
        return get_parameter_dtype(self)

    @property
    def is_causal(self) -> bool:
        """Whether a token sees only itself and those before it."""
        return bool(self.config.is_decoder)

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Number of values in the parameters, shared ones counted once.

        Args:
            only_trainable: count those with ``requires_grad`` only.
            exclude_embeddings: leave out the tables of every ``nn.Embedding`` (words, positions,
                token types), and with them the heads tied to them.
        """
        tables: set[int] = set()
        if exclude_embeddings:
            tables = {id(m.weight) for m in self.modules() if isinstance(m, nn.Embedding)}
        return sum(
            p.numel()
            for p in self.parameters()
            if id(p) not in tables and (p.requires_grad or not only_trainable)
        )

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """Number of elements of the main input; 0, with one warning, if it is absent."""
        if (value := input_dict.get(self.main_input_name)) is not None:
            return int(value.numel())
        if "estimate_tokens" not in self.warnings_issued:
            self.warnings_issued["estimate_tokens"] = True
            logger.warning(
                "could not estimate the number of tokens: no %r among the inputs, so "
                "floating-point operations will not be computed",
                self.main_input_name,
            )
        return 0

    def floating_point_ops(
        self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True
    ) -> int:
        """Operations of a forward and backward pass: 6 · tokens · parameters.

        Where that is wrong, three times ``forward_flops``: for models that use parameters several
        times (``reuses_parameters``), and for token ids at least as long as the hidden size,
        since what is neglected, attention's square, is then a sixth or more. Padding counts.

        Args:
            input_dict: arguments of a forward; without the main input the result is 0.
            exclude_embeddings: False counts the embeddings as if they were multiplied.

        Source: Kaplan et al. 2020, arXiv:2001.08361, section 2.1.
        """
        tokens, parameters = self.estimate_tokens(input_dict), self.num_parameters
        if not tokens or not self._needs_exact_count(input_dict[self.main_input_name]):
            return 6 * tokens * parameters(exclude_embeddings=exclude_embeddings)
        exact = 3 * self.forward_flops(*input_dict[self.main_input_name].shape)
        embeddings = parameters() - parameters(exclude_embeddings=True)
        return exact + (0 if exclude_embeddings else 6 * tokens * embeddings)

    def _needs_exact_count(self, main_input: Tensor) -> bool:
        if main_input.is_floating_point() or main_input.dim() != 2:
            return False
        hidden_size = getattr(self.config, "hidden_size", None)
        is_long = hidden_size is not None and main_input.shape[1] >= hidden_size
        return self.reuses_parameters or is_long

    def forward_flops(self, batch_size: int, sequence_length: int) -> int:
        """Operations of one forward on ``[batch_size, sequence_length]``.

        Counted on a copy without memory; a multiplication with its addition is two. Matrix
        products and attention only.

        Source: torch.utils.flop_counter.
        """
        # It imports triton, whose library cannot be loaded after TensorFlow's.
        from torch.utils.flop_counter import FlopCounterMode

        model_class: Any = type(self)
        with without_memory(), torch.no_grad():
            twin = model_class(self.config).eval().requires_grad_(False)
            inputs = twin.example_inputs(batch_size, sequence_length)
            with FlopCounterMode(display=False) as counter:
                twin(**inputs)
        return int(counter.get_total_flops())

    def example_inputs(self, batch_size: int, sequence_length: int) -> dict[str, Tensor]:
        """Forward arguments of that size on the default device; for counting and warming up."""
        shape = (batch_size, sequence_length)
        return {self.main_input_name: torch.zeros(shape, dtype=torch.long)}

    def invert_attention_mask(self, encoder_attention_mask: Tensor) -> Tensor:
        """Turn a mask over an encoder's tokens into what is added to scores.

        Args:
            encoder_attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps, 0 hides.

        Returns:
            ``[B, 1, 1, S]`` or ``[B, 1, L, S]`` in the model's dtype; 0 where kept, -1e9 where
            hidden (-1e4 in float16).

        Raises:
            ValueError: another rank, or a dtype that has no such value.
        """
        mask = _with_head_axis(encoder_attention_mask, tuple(encoder_attention_mask.shape))
        if self.dtype not in INVERTED_FILL:
            raise ValueError(
                f"{self.dtype} not recognized; accepted: {', '.join(map(str, INVERTED_FILL))}"
            )
        return (1.0 - mask.to(self.dtype)) * INVERTED_FILL[self.dtype]

    def get_extended_attention_mask(
        self, attention_mask: Tensor, input_shape: tuple[int, ...], device: Any = None
    ) -> Tensor:
        """Turn a mask over tokens into what is added to scores; causal if ``config.is_decoder``.

        Args:
            attention_mask: ``[B, S]`` or ``[B, L, S]``; 1 keeps, 0 hides.
            input_shape: ``(B, L)``; S may be longer by the tokens of a cache.
            device: ignored.

        Returns:
            ``[B, 1, 1 or L, S]`` in the model's dtype; 0 where kept, -10000 where hidden.

        Raises:
            ValueError: another rank; the message names both shapes.
        """
        if device is not None:
            warnings.warn("the device argument is not used any more", FutureWarning, stacklevel=2)
        mask = _with_head_axis(attention_mask, input_shape)
        if attention_mask.dim() == 2 and self.config.is_decoder:
            mask = mask * _causal(input_shape[1], attention_mask)
        return (1.0 - mask.to(self.dtype)) * EXTENDED_FILL

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Any:
        """One head mask a layer, broadcastable to attention weights.

        Args:
            head_mask: ``[N]`` or ``[layers, N]``; 1 keeps a head, 0 silences it.
            num_hidden_layers: number of layers.
            is_attention_chunked: whether weights have one more axis at the end.

        Returns:
            ``[layers, 1, N, 1, 1]`` (one axis more if chunked), or a list of None.

        Raises:
            ValueError: another rank.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        if head_mask.dim() == 1:
            head_mask = head_mask.expand(num_hidden_layers, -1)
        if head_mask.dim() != 2:
            raise ValueError(
                f"head_mask has shape {tuple(head_mask.shape)}; accepted: [heads] or "
                "[layers, heads]"
            )
        mask = head_mask[:, None, :, None, None].to(self.dtype)
        return mask.unsqueeze(-1) if is_attention_chunked else mask

    def add_memory_hooks(self) -> None:
        """Note the process's resident memory around the forward of each submodule.

        Sets on each, in bytes: ``mem_rss_pre_forward``, ``mem_rss_post_forward`` and their
        differences added up, ``mem_rss_diff``.
        """
        for module in self.modules():
            module.register_forward_pre_hook(_note_memory_before)
            module.register_forward_hook(_note_memory_after)
        self.reset_memory_hooks_state()

    def reset_memory_hooks_state(self) -> None:
        """Set what the memory hooks keep to zero."""
        modules: Iterable[Any] = self.modules()
        for module in modules:
            module.mem_rss_diff = module.mem_rss_post_forward = module.mem_rss_pre_forward = 0


def _with_head_axis(mask: Tensor, input_shape: tuple[int, ...]) -> Tensor:
    if mask.dim() == 3:
        return mask[:, None, :, :]
    if mask.dim() == 2:
        return mask[:, None, None, :]
    raise ValueError(
        f"attention mask has shape {tuple(mask.shape)} for an input of shape {tuple(input_shape)}; "
        "accepted: [batch, keys] or [batch, queries, keys]"
    )


def _causal(length: int, mask_BS: Tensor) -> Tensor:
    """``[1, 1, L, S]``: each of the last L of S tokens sees itself and all before it."""
    keys = torch.arange(mask_BS.shape[1], device=mask_BS.device)
    return (keys[None, :] <= keys[-length:, None]).to(mask_BS.dtype)[None, None]


def _resident_bytes() -> int:
    return int(psutil.Process(os.getpid()).memory_info().rss)


def _note_memory_before(module: Any, *args: Any) -> None:
    module.mem_rss_pre_forward = _resident_bytes()


def _note_memory_after(module: Any, *args: Any) -> None:
    module.mem_rss_post_forward = _resident_bytes()
    module.mem_rss_diff += module.mem_rss_post_forward - module.mem_rss_pre_forward
