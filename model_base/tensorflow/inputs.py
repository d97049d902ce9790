"""The many ways in which a Keras model is given its inputs, made one.

Source: transformers 4.19.2, ``modeling_tf_utils``: ``input_processing``, ``booleans_processing``,
``unpack_inputs``, ``keras_serializable``.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from model_base.configs.base import PretrainedConfig
from model_base.log import get_logger
from model_base.tensorflow.layers import Tensor, height_and_width

logger = get_logger("inputs")

_DEPRECATED = {
    "inputs": "input_ids", "past": "past_key_values", "decoder_cached_states": "past_key_values",
}  # fmt: skip
_BOOLEANS = ("output_attentions", "output_hidden_states", "return_dict", "use_cache")


def booleans_processing(config: Any, **kwargs: Any) -> dict[str, Any]:
    """The outputs that are asked for, from arguments and the configuration.

    In a graph the configuration alone decides, and ``return_dict`` is True.

    Args:
        config: the configuration.
        kwargs: ``output_attentions``, ``output_hidden_states``, ``return_dict``, ``use_cache``.
    """
    if tf.executing_eagerly():
        defaults = {**vars(config), "return_dict": config.use_return_dict}
        return {
            name: defaults.get(name) if value is None else value for name, value in kwargs.items()
        }
    ignored = [
        name
        for name, value in kwargs.items()
        if value is not None and name != "use_cache" and value != getattr(config, name, value)
    ]
    if ignored:
        logger.warning("in a graph these arguments give way to the config: %s", ", ".join(ignored))
    decided = {name: getattr(config, name, None) for name in kwargs}
    if kwargs.get("use_cache") is not None:
        decided["use_cache"] = kwargs["use_cache"]
    return {**decided, **({"return_dict": True} if "return_dict" in kwargs else {})}


def input_processing(
    func: Callable[..., Any], config: Any, input_ids: Any, **kwargs: Any
) -> dict[str, Any]:
    """The arguments of ``func`` by name.

    Args:
        func: ``call`` of a model or layer.
        config: decides the booleans that are not given.
        input_ids: the first argument: a tensor, all inputs by name, or a list of tensors in the
            order of the arguments.
        kwargs: the other arguments.

    Raises:
        ValueError: an argument that ``func`` does not have, or a first one of another kind.
    """
    parameters = [p for p in inspect.signature(func).parameters if p not in ("self", "kwargs")]
    if "past" in parameters and "past_key_values" in kwargs:
        kwargs["past"] = kwargs.pop("past_key_values")
    main, given = parameters[0], {k: v for k, v in kwargs.items() if k in parameters}
    for name in kwargs.keys() - given.keys():
        if name not in _DEPRECATED:
            raise ValueError(f"got the argument {name!r}; accepted: {', '.join(parameters)}")
        given[_renamed(name)] = kwargs[name]
    if isinstance(input_ids, Mapping):
        given.update(_from_mapping(input_ids, parameters))
    elif isinstance(input_ids, tuple | list):
        given.update(_from_list(input_ids, parameters))
    elif input_ids is None or tf.is_tensor(input_ids) or hasattr(input_ids, "shape"):
        if input_ids is not None:
            given[main] = input_ids
    else:
        raise ValueError(
            f"{main} is a {type(input_ids).__name__}; accepted: a tensor, a mapping, a list of "
            "tensors"
        )
    asked = {name: given.get(name) for name in _BOOLEANS if name in parameters}
    return {**given, **booleans_processing(config, **asked)}


def _renamed(name: str) -> str:
    warnings.warn(f"{name} is called {_DEPRECATED[name]} now", FutureWarning, stacklevel=4)
    return _DEPRECATED[name]


def _from_mapping(inputs: Mapping[str, Any], parameters: list[str]) -> dict[str, Any]:
    found = {}
    for name, value in inputs.items():
        name = _renamed(name) if name in _DEPRECATED and name not in parameters else name
        if name in parameters:
            found[name] = value
        else:
            logger.warning("the input %r is not used; accepted: %s", name, ", ".join(parameters))
    return found


def _from_list(inputs: Any, parameters: list[str]) -> dict[str, Any]:
    """Symbolic tensors that are named as an argument go by their names, others by position."""
    found = {}
    for position, value in enumerate(inputs):
        name = "" if tf.is_tensor(value) and tf.executing_eagerly() else _name_of(value)
        found[name if name in parameters else parameters[position]] = value
    return found


def _name_of(tensor: Any) -> str:
    return str(getattr(tensor, "name", "")).split(":")[0]


def unpack_inputs(call: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``call`` of a model be given its inputs in every way that ``input_processing`` knows."""

    @functools.wraps(call)
    def unpacked(self: Any, *args: Any, **kwargs: Any) -> Any:
        names = [name for name in inspect.signature(call).parameters if name != "self"]
        first, *rest = args or (kwargs.pop(names[0], None),)
        kwargs.update(zip(names[1:], rest, strict=False))
        return call(self, **input_processing(call, self.config, first, **kwargs))

    return unpacked


def keras_serializable(cls: type) -> type:
    """Let Keras save and load a layer whose only argument is a configuration.

    Raises:
        AttributeError: the class has no ``config_class``.
    """
    config_class = getattr(cls, "config_class", None)
    if config_class is None:
        raise AttributeError(f"{cls.__name__} needs config_class to be serializable")
    build: Any = cls.__init__  # type: ignore[misc]

    @functools.wraps(build)
    def init(self: Any, config: Any, **kwargs: Any) -> None:
        if isinstance(config, Mapping):
            config = config_class.from_dict(config)
        if not isinstance(config, PretrainedConfig):
            raise ValueError(
                f"config is a {type(config).__name__}; accepted: a PretrainedConfig or a mapping"
            )
        build(self, config, **kwargs)
        self._config = config

    def get_config(self: Any) -> dict[str, Any]:
        return {"config": self._config.to_dict(), "name": self.name}

    cls.__init__ = init  # type: ignore[misc]
    cls.get_config = get_config  # type: ignore[attr-defined]
    registered: type = keras.saving.register_keras_serializable(package="model_base")(cls)
    return registered


class ImageInputs:
    """A model that reads images and no tokens; a mixin."""

    config: Any
    main_input_name: ClassVar[str] = "pixel_values"

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Three images."""
        return example_images(self.config)

    @property
    def input_signature(self) -> dict[str, Any]:
        """Images."""
        return image_signature()

    def resize_token_embeddings(self, new_num_tokens: int | None = None) -> Any:
        """Not for images.

        Raises:
            NotImplementedError: there is no vocabulary.
        """
        raise NotImplementedError(f"{type(self).__name__} reads images: it has no tokens to resize")


def image_signature() -> dict[str, Any]:
    """Images, ``[B, C, Y, X]``."""
    return {"pixel_values": tf.TensorSpec([None] * 4, tf.float32, name="pixel_values")}


def example_images(config: Any) -> dict[str, Tensor]:
    """Three images of zeros, float32 ``[3, C, Y, X]``."""
    size = height_and_width(config.image_size)
    return {"pixel_values": tf.zeros((3, config.num_channels, *size))}
