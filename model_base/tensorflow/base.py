"""TFPreTrainedModel: the base of all TensorFlow models.

Source: transformers 4.19.2, ``modeling_tf_utils.TFPreTrainedModel``.
"""

import os
import reprlib
import sys
from typing import Any, ClassVar, Self

import keras
import tensorflow as tf
from typing_extensions import override

from model_base.configs.base import PretrainedConfig
from model_base.errors import UnsupportedConfig
from model_base.loading.arguments import LoadArguments, config_for
from model_base.tensorflow import structures as structures  # outputs are known to Keras
from model_base.tensorflow.embeddings import EmbeddingsMixin
from model_base.tensorflow.layers import Tensor, to_be_filled
from model_base.tensorflow.loading import fill
from model_base.tensorflow.module_utils import TFModelUtilsMixin
from model_base.tensorflow.saving import SavingMixin
from model_base.tensorflow.serving import ServingMixin
from model_base.tensorflow.training import TrainingMixin

DUMMY_INPUTS = [[7, 6, 0, 0, 1], [1, 2, 3, 0, 0], [0, 0, 0, 4, 5]]


class TFPreTrainedModel(
    EmbeddingsMixin, SavingMixin, ServingMixin, TrainingMixin, TFModelUtilsMixin, keras.Model
):
    """Base class of all models: configuration, loading, saving, serving, training.

    Class attributes of a subclass: ``config_class``, ``base_model_prefix`` (name of the trunk
    inside the model), ``main_input_name``, ``can_be_pruned`` (whether attention is made without the
    heads of ``config.pruned_heads``), and two lists of name patterns that loading passes
    over.

    Args:
        config: the configuration; its fields must be supported.
        inputs: ignored; for subclasses.
        kwargs: ``name``, for Keras.

    Raises:
        TypeError: another argument than ``name``.
        ValueError: ``config`` is not a ``PretrainedConfig``.
        UnsupportedConfig: a field asks for mathematics that is not implemented.
    """

    config_class: ClassVar[Any] = None
    base_model_prefix: ClassVar[str] = ""
    main_input_name: ClassVar[str] = "input_ids"
    can_be_pruned: ClassVar[bool] = False
    _keys_to_ignore_on_load_missing: list[str] | None = None
    _keys_to_ignore_on_load_unexpected: list[str] | None = None

    def __init__(self, config: PretrainedConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(name=kwargs.pop("name", None))
        if not isinstance(config, PretrainedConfig):
            raise ValueError(
                f"{type(self).__name__}(config) got a {type(config).__name__}; accepted: a "
                f"PretrainedConfig. To load a model: {type(self).__name__}.from_pretrained(name)"
            )
        if kwargs:
            name, value = next(iter(kwargs.items()))
            raise TypeError(
                f"{type(self).__name__} got {name}={reprlib.repr(value)}: it is neither an "
                f"argument nor a field of {type(config).__name__}; accepted: name"
            )
        config.check_supported()
        if config.pruned_heads and not self.can_be_pruned:
            raise UnsupportedConfig("pruned_heads", config.pruned_heads, "none in this model")
        self.config = config
        self.name_or_path = config.name_or_path
        self._allow_non_tensor_positional_args = True
        self.built = True  # layers have their weights from the start

    @property
    def framework(self) -> str:
        """``"tf"``."""
        return "tf"

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """Inputs for one forward: int32 ``[3, 5]``."""
        return {"input_ids": tf.constant(DUMMY_INPUTS, tf.int32)}

    @property
    def base_layer(self) -> Any:
        """The trunk, a layer; the model itself if its layers are its own."""
        return getattr(self, self.base_model_prefix, self)

    @override
    def get_config(self) -> dict[str, Any]:
        """The configuration's fields."""
        fields: dict[str, Any] = self.config.to_dict()
        return fields

    @classmethod
    @override
    def from_config(cls, config: Any, **kwargs: Any) -> Self:
        """A new model of a configuration, or of its fields."""
        if isinstance(config, PretrainedConfig):
            return cls(config, **kwargs)
        return cls(cls.config_class.from_dict(config, **kwargs))

    _from_config = from_config

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *model_args: Any,
        **kwargs: Any,
    ) -> Any:
        """Load a model: made without random values, filled from files.

        Weights are float32 whatever the files hold.

        Args:
            pretrained_model_name_or_path: folder, hub id, or path of a weight file.
            model_args: passed to the class.
            kwargs: ``config``, ``from_pt`` (``.bin``), ``from_flax`` (msgpack),
                ``ignore_mismatched_sizes``, ``output_loading_info``, ``load_weight_prefix`` (no
                effect); of the hub ``cache_dir``, ``force_download``, ``resume_download``,
                ``proxies``, ``local_files_only``, ``use_auth_token``, ``revision``, ``mirror``.
                Others override fields of the config, or go to the class.

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
        """
        name = pretrained_model_name_or_path
        kwargs.pop("load_weight_prefix", None)
        asked = LoadArguments.taken_from(kwargs, "tf", name)
        config, kwargs = config_for(cls, name, kwargs.pop("config", None), asked, kwargs)
        with asked.opened(name, cls) as source:
            limit = sys.maxsize if asked.ignore_mismatched else source.num_bytes
            with to_be_filled(limit):
                model = cls(config, *model_args, **kwargs)
            report = fill(model, source, ignore_mismatched=asked.ignore_mismatched)
        report.log(cls.__name__, source.label)
        return (model, report.as_dict()) if asked.with_info else model
