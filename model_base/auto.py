"""AutoConfig and the auto classes: pick the class that a configuration names.

The tables are made of ``configs.CONFIGS`` and each configuration's ``heads``.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from model_base.configs import CONFIGS
from model_base.configs.base import PretrainedConfig
from model_base.errors import UnsupportedConfig

TASKS = {
    "AutoModel": "feature-extraction",
    "AutoModelForPreTraining": "fill-mask",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForSeq2SeqLM": "text2text-generation",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForNextSentencePrediction": "text-classification",
    "AutoModelForMultipleChoice": "multiple-choice",
}
"""What a model with that head is for, in huggingface_hub's task names."""


_HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "use_auth_token")


def config_class(model_type: Any) -> type[PretrainedConfig]:
    """The configuration class of a ``model_type``.

    Raises:
        UnsupportedConfig: no architecture has it; the message lists those there are.
    """
    for candidate in CONFIGS:
        if candidate.model_type == model_type:
            return candidate
    known = ", ".join(c.model_type for c in CONFIGS)
    raise UnsupportedConfig("model_type", model_type, known)


def model_module(config: type[PretrainedConfig]) -> ModuleType:
    """The torch model file of a configuration's architecture."""
    name = config.__module__.rpartition(".")[2]
    return importlib.import_module(f"model_base.torch.models.{name}")


def model_class(name: str, config: PretrainedConfig) -> Any:
    """The torch class ``name`` of a configuration's architecture."""
    return getattr(model_module(type(config)), name)


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


class _AutoModel:
    """Base of the auto classes: each picks one head of an architecture."""

    def __init__(self) -> None:
        name = type(self).__name__
        raise OSError(
            f"{name} is not a model: use {name}.from_pretrained(name) or {name}.from_config(config)"
        )

    @classmethod
    def _class_for(cls, config: PretrainedConfig) -> Any:
        head = type(config).heads.get(cls.__name__)
        if head is None:
            raise ValueError(f"{type(config).__name__} has no class for {cls.__name__}")
        return model_class(head, config)

    @classmethod
    def from_config(cls, config: PretrainedConfig, **kwargs: Any) -> Any:
        """A new model with initialised weights."""
        return cls._class_for(config)._from_config(config, **kwargs)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a model; arguments as ``PreTrainedModel.from_pretrained``.

        Raises:
            UnsupportedConfig: the architecture is not one of ours.
            ValueError: the architecture has no such head.
        """
        config = kwargs.pop("config", None)
        name = pretrained_model_name_or_path
        if not isinstance(config, PretrainedConfig):
            hub = {option: kwargs[option] for option in _HUB_OPTIONS if option in kwargs}
            config, kwargs = AutoConfig.from_pretrained(
                config or name, return_unused_kwargs=True, **kwargs
            )
            kwargs |= hub
        return cls._class_for(config).from_pretrained(name, *model_args, config=config, **kwargs)


def _auto(name: str) -> type[_AutoModel]:
    doc = f"Picks an architecture's class for {name.removeprefix('AutoModelFor')}."
    return type(name, (_AutoModel,), {"__doc__": doc, "__module__": __name__})


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
