"""AutoConfig and the auto classes: pick the class that a configuration names.

The tables are made of ``configs.CONFIGS`` and each configuration's ``heads``. Other packages add
theirs: with ``AutoConfig.register`` and ``AutoModel.register``, or by an entry point of the group
``model_base.architectures`` whose name is a ``model_type`` and whose object the configuration.
"""

import importlib
import pkgutil
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from model_base.configs import CONFIGS
from model_base.configs.base import PretrainedConfig
from model_base.errors import UnsupportedConfig
from model_base.hub.files import pinned, pop_hub_options

ENTRY_POINTS = "model_base.architectures"

_configs: dict[str, type[PretrainedConfig]] = {c.model_type: c for c in CONFIGS}
_models: dict[tuple[str, type[PretrainedConfig]], Any] = {}
_PREFIXES = {"torch": "", "tensorflow": "TF"}
"""Of the names of classes, by stack."""


def config_class(model_type: Any) -> type[PretrainedConfig]:
    """The configuration class of a ``model_type``.

    Raises:
        UnsupportedConfig: no architecture has it; the message lists those there are.
    """
    if isinstance(model_type, str) and model_type not in _configs:
        for entry in entry_points(group=ENTRY_POINTS, name=model_type):
            AutoConfig.register(model_type, entry.load())
    if not isinstance(model_type, str) or model_type not in _configs:
        raise UnsupportedConfig("model_type", model_type, ", ".join(_configs))
    return _configs[model_type]


def model_module(config: type[PretrainedConfig], stack: str = "torch") -> ModuleType:
    """The model file of an architecture: ``configs/foo.py`` → ``torch/models/foo.py``.

    Raises:
        UnsupportedConfig: the architecture is not in that stack.
    """
    package, _, name = config.__module__.rpartition(".configs.")
    try:
        return importlib.import_module(f"{package}.{stack}.models.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.endswith(f"{stack}.models.{name}"):
            raise
        raise UnsupportedConfig(
            "model_type", config.model_type, f"in {stack}: {', '.join(_names_in(package, stack))}"
        ) from None


def _names_in(package: str, stack: str) -> list[str]:
    """Names of the files of models in a stack."""
    models = importlib.import_module(f"{package}.{stack}.models")
    return sorted(module.name for module in pkgutil.iter_modules(models.__path__))


def head_class(auto: str, config: PretrainedConfig, stack: str = "torch") -> Any:
    """The class of a stack for an auto class, named without prefix, and a configuration.

    Raises:
        UnsupportedConfig: the architecture is not in that stack.
        ValueError: the architecture has no such head.
    """
    kind = type(config)
    if (_PREFIXES[stack] + auto, kind) in _models:
        return _models[_PREFIXES[stack] + auto, kind]
    name = _PREFIXES[stack] + kind.heads.get(auto, "")
    if auto not in kind.heads or not hasattr(module := model_module(kind, stack), name):
        raise ValueError(f"{kind.__name__} has no class for {_PREFIXES[stack]}{auto}")
    return getattr(module, name)


def stored_head(config: PretrainedConfig) -> str:
    """The auto class whose head a checkpoint was saved with, by ``config.architectures``.

    A checkpoint that names none, or one that we do not have, is taken for a bare trunk.
    """
    names = [
        str(name).removeprefix("TF").removeprefix("Flax") for name in config.architectures or ()
    ]
    for auto, head in type(config).heads.items():
        if head in names:
            return auto
    return "AutoModel"


def stored_model(config: PretrainedConfig, stack: str = "torch") -> tuple[str, Any]:
    """The class of a stack that a checkpoint was saved from, and the auto class of its head.

    A class of ours that no auto class picks counts as a bare trunk; a checkpoint that names no
    class of ours is one.
    """
    auto = stored_head(config)
    if auto == "AutoModel":
        for name in config.architectures or ():
            own = getattr(model_module(type(config), stack), _PREFIXES[stack] + str(name), None)
            if own is not None and getattr(own, "config_class", None) is type(config):
                return auto, own
    return auto, head_class(auto, config, stack)


class AutoConfig:
    """Reads a configuration of whatever architecture."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """As ``PretrainedConfig.from_pretrained``; the class is picked by ``model_type``.

        Raises:
            UnsupportedConfig: the architecture is not one of ours.
        """
        name = pretrained_model_name_or_path
        fields, kwargs = PretrainedConfig.get_config_dict(name, **kwargs)
        return config_class(fields.get("model_type")).from_dict(fields, **kwargs)

    @classmethod
    def for_model(cls, model_type: str, **kwargs: Any) -> PretrainedConfig:
        """A configuration with default values."""
        return config_class(model_type)(**kwargs)

    @staticmethod
    def register(model_type: str, config: type[PretrainedConfig]) -> None:
        """Add an architecture's configuration.

        Raises:
            ValueError: the class says another ``model_type``, or the type is taken.
        """
        if config.model_type != model_type:
            raise ValueError(
                f"{config.__name__}.model_type is {config.model_type!r}; accepted: {model_type!r}"
            )
        if _configs.setdefault(model_type, config) is not config:
            taken = _configs[model_type].__name__
            raise ValueError(f"model_type {model_type!r} is taken by {taken}")


class _AutoModel:
    """Base of the auto classes: each picks one head of an architecture in one stack."""

    _stack: ClassVar[str]
    _head: ClassVar[str]

    def __init__(self) -> None:
        name = type(self).__name__
        raise OSError(
            f"{name} is not a model: use {name}.from_pretrained(name) or {name}.from_config(config)"
        )

    @classmethod
    def register(cls, config_class: type[PretrainedConfig], model_class: Any) -> None:
        """Make ``model_class`` what this auto class picks for a configuration.

        Raises:
            ValueError: the model belongs to another configuration, or the place is taken.
        """
        if model_class.config_class is not config_class:
            raise ValueError(
                f"{model_class.__name__}.config_class is {model_class.config_class!r}; accepted: "
                f"{config_class.__name__}"
            )
        key = cls.__name__, config_class
        if cls._is_ours(config_class) or _models.get(key, model_class) is not model_class:
            raise ValueError(f"{config_class.__name__} has a class for {cls.__name__}")
        _models[key] = model_class

    @classmethod
    def _is_ours(cls, config_class: type[PretrainedConfig]) -> bool:
        """Whether this library has a class for the place."""
        if cls._head not in config_class.heads:
            return False
        try:
            module = model_module(config_class, cls._stack)
        except UnsupportedConfig:
            return False
        return hasattr(module, _PREFIXES[cls._stack] + config_class.heads[cls._head])

    @classmethod
    def from_config(cls, config: PretrainedConfig, **kwargs: Any) -> Any:
        """A new model with initialised weights."""
        return head_class(cls._head, config, cls._stack)._from_config(config, **kwargs)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a model; arguments as ``from_pretrained`` of its class.

        Raises:
            UnsupportedConfig: the architecture is not one of ours.
            ValueError: the architecture has no such head.
        """
        config = kwargs.pop("config", None)
        name = pretrained_model_name_or_path
        if not isinstance(config, PretrainedConfig):
            given = pop_hub_options(kwargs)
            hub = pinned(name, given) if config is None else given
            config, kwargs = AutoConfig.from_pretrained(
                config or name, return_unused_kwargs=True, **hub, **kwargs
            )
            kwargs |= hub
        return head_class(cls._head, config, cls._stack).from_pretrained(
            name, *model_args, config=config, **kwargs
        )


def _auto(head: str, stack: str = "torch") -> type[_AutoModel]:
    doc = f"Picks an architecture's class for {head.removeprefix('AutoModelFor')} in {stack}."
    fields = {"__doc__": doc, "__module__": __name__, "_stack": stack, "_head": head}
    return type(_PREFIXES[stack] + head, (_AutoModel,), fields)


AutoModel = _auto("AutoModel")
AutoModelForPreTraining = _auto("AutoModelForPreTraining")
AutoModelForMaskedLM = _auto("AutoModelForMaskedLM")
AutoModelForCausalLM = _auto("AutoModelForCausalLM")
AutoModelForSeq2SeqLM = _auto("AutoModelForSeq2SeqLM")
AutoModelForSequenceClassification = _auto("AutoModelForSequenceClassification")
AutoModelForTokenClassification = _auto("AutoModelForTokenClassification")
AutoModelForQuestionAnswering = _auto("AutoModelForQuestionAnswering")
AutoModelForNextSentencePrediction = _auto("AutoModelForNextSentencePrediction")
AutoModelForMultipleChoice = _auto("AutoModelForMultipleChoice")
AutoModelForImageClassification = _auto("AutoModelForImageClassification")
AutoModelForMaskedImageModeling = _auto("AutoModelForMaskedImageModeling")
AutoModelForZeroShotImageClassification = _auto("AutoModelForZeroShotImageClassification")
AutoModelForCTC = _auto("AutoModelForCTC")
AutoModelForSpeechSeq2Seq = _auto("AutoModelForSpeechSeq2Seq")
AutoModelForAudioClassification = _auto("AutoModelForAudioClassification")
TFAutoModel = _auto("AutoModel", "tensorflow")
TFAutoModelForPreTraining = _auto("AutoModelForPreTraining", "tensorflow")
TFAutoModelForMaskedLM = _auto("AutoModelForMaskedLM", "tensorflow")
TFAutoModelForCausalLM = _auto("AutoModelForCausalLM", "tensorflow")
TFAutoModelForSeq2SeqLM = _auto("AutoModelForSeq2SeqLM", "tensorflow")
TFAutoModelForSequenceClassification = _auto("AutoModelForSequenceClassification", "tensorflow")
TFAutoModelForTokenClassification = _auto("AutoModelForTokenClassification", "tensorflow")
TFAutoModelForQuestionAnswering = _auto("AutoModelForQuestionAnswering", "tensorflow")
TFAutoModelForNextSentencePrediction = _auto("AutoModelForNextSentencePrediction", "tensorflow")
TFAutoModelForMultipleChoice = _auto("AutoModelForMultipleChoice", "tensorflow")
TFAutoModelForImageClassification = _auto("AutoModelForImageClassification", "tensorflow")
