"""The arguments of ``from_pretrained`` that every stack has.

Source: transformers 4.19.2; arguments of later versions are taken where they change nothing.
"""

import contextlib
import inspect
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from model_base.configs.base import PretrainedConfig
from model_base.hub.files import file_at, pinned, pop_hub_options
from model_base.loading.resolve import Wish, find_weights
from model_base.loading.source import Source, open_source, rules_of

_FLAGS = ("from_pt", "from_tf", "from_flax")
_NO_EFFECT = ("_from_pipeline", "_from_auto", "_fast_init")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "trust_remote_code": (False, None), "use_safetensors": (None, True),
    "attn_implementation": ("sdpa", None), "device_map": ("cpu", None), "subfolder": ("", None),
    "variant": (None,), "quantization_config": (None,),
}  # fmt: skip
"""Arguments of later versions at the values that change nothing here."""


@dataclass(frozen=True, slots=True)
class LoadArguments:
    """What a caller asks of a load.

    Attributes:
        wish: which files may be read.
        ignore_mismatched: leave tensors of another shape out instead of raising.
        with_info: return the report, too.
        hub: arguments for the hub, at one commit of the model.
        given: the same as they were given, for what is of another repository.
    """

    wish: Wish
    ignore_mismatched: bool
    with_info: bool
    hub: Mapping[str, Any]
    given: Mapping[str, Any]

    @classmethod
    def taken_from(cls, kwargs: dict[str, Any], stack: str, name: Any) -> Self:
        """Take them, and what has no effect, out of the keyword arguments of ``stack``.

        All that is then read of ``name`` is of the commit that the hub has now.
        """
        flags = frozenset(flag for flag in _FLAGS if kwargs.pop(flag, False))
        for argument in _NO_EFFECT:
            kwargs.pop(argument, None)
        for argument, accepted in _NEUTRAL.items():
            if kwargs.get(argument) in accepted:
                kwargs.pop(argument, None)
        given = pop_hub_options(kwargs)
        return cls(
            Wish(stack, flags),
            kwargs.pop("ignore_mismatched_sizes", False),
            kwargs.pop("output_loading_info", False),
            pinned(name, given),
            given,
        )

    @contextlib.contextmanager
    def opened(self, name: Any, model_class: Any) -> Iterator[Source]:
        """The tensors of the files that ``name`` means.

        Raises:
            CheckpointNotFound, CheckpointUnreadable, HubUnavailable: as ``find_weights``.
        """
        files = find_weights(name, self.wish, **self.hub)
        with open_source(files, rules_of(model_class.config_class)) as source:
            yield source


def config_for(
    model_class: Any, name: Any, config: Any, asked: LoadArguments, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The configuration, and the keyword arguments that are the class's own.

    Args:
        model_class: has ``config_class``.
        name: of the model.
        config: the argument: a configuration, where it is, or None.
        asked: what else is asked of the load.
        kwargs: others; those that are fields of the configuration override it.

    Raises:
        UnsupportedConfig: it asks for what is not implemented.
        ValueError: neither name nor configuration.
    """
    if isinstance(config, PretrainedConfig):
        config.name_or_path = str(name or config.name_or_path)
    else:
        where, hub = (name, asked.hub) if config is None else (config, asked.given)
        if where is None:
            raise ValueError("without a path, from_pretrained needs config and state_dict")
        config, kwargs = model_class.config_class.from_pretrained(
            _folder_of(where), return_unused_kwargs=True, **hub, **kwargs
        )
        config.name_or_path = str(name)
    config.check_supported()
    return config, kwargs


def check_arguments(model_class: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuse what is neither an argument, nor a field of the config, nor the class's own.

    Raises:
        TypeError: naming the argument and its value.
    """
    parameters = inspect.signature(model_class.__init__).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    if unknown := sorted(set(kwargs) - {p.name for p in parameters}):
        neutral = ", ".join(f"{name}={_NEUTRAL[name][0]!r}" for name in _NEUTRAL)
        raise TypeError(
            f"{model_class.__name__}.from_pretrained got {unknown[0]}="
            f"{reprlib.repr(kwargs[unknown[0]])}: it is neither an argument nor a field of "
            f"{model_class.config_class.__name__}; accepted without effect: {neutral}"
        )


def _folder_of(where: Any) -> Any:
    """The folder beside a weight file; anything else as it is."""
    path = file_at(where)
    return where if path is None or path.suffix == ".json" else path.parent
