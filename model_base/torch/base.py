"""PreTrainedModel: the base of all PyTorch models.

Source: transformers 4.19.2, ``modeling_utils.PreTrainedModel``.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from typing_extensions import override

from model_base.configs.base import PretrainedConfig
from model_base.loading.arguments import LoadArguments, check_arguments, config_for
from model_base.loading.source import Source, rules_of
from model_base.torch import layers
from model_base.torch.arrays import float_dtype
from model_base.torch.embeddings import EmbeddingsMixin
from model_base.torch.empty import without_memory
from model_base.torch.loading import (
    default_dtype,
    fill,
    load_tf_weights,
    pick_dtype,
    state_dict_source,
)
from model_base.torch.module_utils import ModuleUtilsMixin
from model_base.torch.pruning import PruningMixin
from model_base.torch.saving import SavingMixin

_initialises = ContextVar("_initialises", default=True)
"""Whether new models initialise their weights; each thread has its own."""


@contextlib.contextmanager
def no_init_weights(_enable: bool = True) -> Iterator[None]:
    """Inside the block, new models do not initialise their weights."""
    before = _initialises.set(not _enable and _initialises.get())
    try:
        yield
    finally:
        _initialises.reset(before)


class PreTrainedModel(EmbeddingsMixin, PruningMixin, SavingMixin, ModuleUtilsMixin, nn.Module):
    """Base class of all models: configuration, loading, saving, and what all can do.

    Class attributes of a subclass: ``config_class``, ``base_model_prefix`` (name of the trunk
    inside a model with a head), ``main_input_name``, ``supports_gradient_checkpointing``,
    ``load_tf_weights`` (copies a TensorFlow 1 checkpoint into an existing model), and three lists
    of name patterns that loading and saving pass over.

    Args:
        config: the configuration; its fields must be supported.
        inputs, kwargs: ignored; for subclasses.

    Raises:
        ValueError: ``config`` is not a ``PretrainedConfig``.
        UnsupportedConfig: a field asks for mathematics that is not implemented.
    """

    config_class: ClassVar[Any] = None
    base_model_prefix: str = ""
    main_input_name: str = "input_ids"
    is_parallelizable: ClassVar[bool] = False
    supports_gradient_checkpointing: ClassVar[bool] = False
    load_tf_weights: ClassVar[Any] = staticmethod(load_tf_weights)
    _auto_class: ClassVar[str | None] = None
    _keys_to_ignore_on_load_missing: list[str] | None = None
    _keys_to_ignore_on_load_unexpected: list[str] | None = None
    _keys_to_ignore_on_save: list[str] | None = None

    def __init__(self, config: PretrainedConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__()
        if not isinstance(config, PretrainedConfig):
            raise ValueError(
                f"{type(self).__name__}(config) got a {type(config).__name__}; accepted: a "
                f"PretrainedConfig. To load a model: {type(self).__name__}.from_pretrained(name)"
            )
        config.check_supported()
        self.config: Any = config
        self.name_or_path = config.name_or_path
        self.warnings_issued: dict[str, bool] = {}

    def post_init(self) -> None:
        """To be called at the end of a subclass's ``__init__``."""
        self.init_weights()
        if self.supports_gradient_checkpointing and getattr(
            self.config, "gradient_checkpointing", False
        ):
            self.gradient_checkpointing_enable()
            delattr(self.config, "gradient_checkpointing")

    @property
    def framework(self) -> str:
        """``"pt"``."""
        return "pt"

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Inputs for one forward: int64 ``[3, 5]``."""
        ids = [[7, 6, 0, 0, 1], [1, 2, 3, 0, 0], [0, 0, 0, 4, 5]]
        return {"input_ids": torch.tensor(ids)}

    @property
    def max_tokens(self) -> int:
        """Longest sequence that the model has positions for; very many if it needs none."""
        return int(self.config.max_tokens)

    @property
    def id_limits(self) -> dict[str, int]:
        """For each input of ids the number of embeddings: valid ids are below it."""
        limits: dict[str, int] = self.config.id_limits
        return limits

    @property
    def base_model(self) -> nn.Module:
        """The trunk; the model itself if it has no head."""
        return getattr(self, self.base_model_prefix, self) if self.base_model_prefix else self

    @classmethod
    def _from_config(cls, config: PretrainedConfig, **kwargs: Any) -> Self:
        """A new model with initialised weights; ``torch_dtype`` picks the dtype.

        Raises:
            ValueError: the dtype is not floating.
        """
        dtype = kwargs.pop("torch_dtype", None)
        with default_dtype(None if dtype is None else float_dtype(dtype, cls.__name__)):
            return cls(config, **kwargs)

    def init_weights(self) -> None:
        """Prune heads as the configuration says, initialise the weights, tie them."""
        if self.config.pruned_heads:
            self.prune_heads(self.config.pruned_heads)
        if _initialises.get():
            modules: dict[nn.Module, None] = {}
            self.apply(modules.setdefault)  # those within others first, shared ones once
            for module in modules:
                self._init_weights(module)
            self.tie_weights()

    @override
    def _init_weights(self, module: nn.Module) -> None:
        """Normal weights of the configuration's ``initializer_range``, zero biases, unit norms.

        Raises:
            NotImplementedError: the configuration has none, and the class no way of its own.
        """
        if not hasattr(self.config, "initializer_range"):
            super()._init_weights(module)
        layers.normal_init(module, self.config.initializer_range)

    def gradient_checkpointing_enable(self) -> None:
        """Recompute activations in the backward pass instead of keeping them.

        Raises:
            ValueError: the class does not support it.
        """
        if not self.supports_gradient_checkpointing:
            raise ValueError(f"{type(self).__name__} does not support gradient checkpointing.")
        self._set_gradient_checkpointing(True)

    def gradient_checkpointing_disable(self) -> None:
        """Keep activations again."""
        if self.supports_gradient_checkpointing:
            self._set_gradient_checkpointing(False)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether any submodule recomputes."""
        return any(getattr(m, "gradient_checkpointing", False) for m in self.modules())

    def _set_gradient_checkpointing(self, value: bool) -> None:
        modules: Iterable[Any] = self.modules()
        for module in modules:
            if hasattr(module, "gradient_checkpointing"):
                module.gradient_checkpointing = value

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str] | None,
        *model_args: Any,
        **kwargs: Any,
    ) -> Any:
        """Load a model: built empty, filled from memory-mapped files, in eval mode.

        Weights stay mapped until they are touched, in the dtype asked for; a change of dtype
        copies. A private mapping: training does not write to the file. With
        ``low_cpu_mem_usage=False`` all are copied, and the files may then be overwritten.

        Args:
            pretrained_model_name_or_path: folder, hub id, or path of a weight file; None with
                ``config`` and ``state_dict``.
            model_args: passed to the class.
            kwargs: ``config``, ``state_dict``, ``cache_dir``, ``from_tf``, ``from_flax``,
                ``ignore_mismatched_sizes``, ``force_download``, ``output_loading_info``,
                ``local_files_only``, ``use_auth_token`` (a token; True is the stored one),
                ``revision``, ``mirror`` (address of another hub), ``proxies`` (as requests takes
                them), ``resume_download`` (continue what a killed process began; the files'
                hashes are checked), ``torch_dtype`` (a dtype,
                its name, ``"auto"``; None is torch's default; ``dtype`` is the same),
                ``low_cpu_mem_usage`` (True); ``_fast_init`` is accepted, it is always so. Others
                override fields of the config, or go to the class.

        Returns:
            The model; with ``output_loading_info`` the pair of it and a dict of
            ``missing_keys``, ``unexpected_keys``, ``mismatched_keys``, ``error_msgs``.

        Raises:
            ConfigNotFound, ConfigUnreadable: the config is absent or damaged.
            UnsupportedConfig: it asks for what is not implemented.
            CheckpointNotFound: no weights of the kind asked for.
            CheckpointUnreadable: damaged or unsafe files.
            CheckpointMismatch: other shapes than the model's.
            CorruptCheckpoint: contradictory names.
            HubUnavailable: the hub refused or cannot be reached.
            ValueError: an unusable ``torch_dtype``.
        """
        name, state_dict = pretrained_model_name_or_path, kwargs.pop("state_dict", None)
        copied = kwargs.pop("low_cpu_mem_usage", None) is False
        torch_dtype = kwargs.pop("torch_dtype", kwargs.pop("dtype", None))
        progress = kwargs.pop("_progress", None)
        device = kwargs.pop("_device", "cpu")
        check = kwargs.pop("_check", None)
        asked = LoadArguments.taken_from(kwargs, "pt", name)
        config, kwargs = config_for(cls, name, kwargs.pop("config", None), asked, kwargs)
        with _open(cls, name, state_dict, asked) as source:
            dtype = pick_dtype(torch_dtype, config, source, cls.__name__)
            check_arguments(cls, kwargs)
            model = cls._build_empty(config, dtype, model_args, kwargs)
            report = fill(
                model, source, device=device, ignore_mismatched=asked.ignore_mismatched,
                copied=copied, progress=progress, check=check,
            )  # fmt: skip
        model.tie_weights()
        model.eval()
        report.log(cls.__name__, source.label)
        return (model, report.as_dict()) if asked.with_info else model

    @classmethod
    def _build_empty(
        cls, config: Any, dtype: torch.dtype | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """The model without memory: every tensor on the meta device, tied as it will be."""
        with default_dtype(dtype), without_memory(), no_init_weights():
            model = cls(config, *args, **kwargs)
        model.tie_weights()
        return model


@contextlib.contextmanager
def _open(cls: Any, name: Any, state_dict: Any, asked: LoadArguments) -> Iterator[Source]:
    """The tensors given, else those of the files that ``name`` means."""
    if state_dict is not None:
        yield state_dict_source(state_dict, rules_of(cls.config_class))
        return
    if name is None:
        raise ValueError("without a path, from_pretrained needs config and state_dict")
    with asked.opened(name, cls) as source:
        yield source
