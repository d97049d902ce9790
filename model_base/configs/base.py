"""PretrainedConfig: a model's hyperparameters, as config.json holds them.

Source: transformers 4.19.2, ``configuration_utils.PretrainedConfig``. Two differences:
``torch_dtype`` stays a string, since this module imports no framework, and is also read from
the key ``dtype`` that later versions write; a field that asks for mathematics we do not have
is refused by name (``check_supported``) instead of ignored.
"""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from model_base.configs.bounds import check_fields, check_pad_token
from model_base.configs.rotary import old_spelling
from model_base.constants import CONFIG_NAME, MAX_JSON_BYTES, UNLIMITED
from model_base.conversion.rules import Rule
from model_base.errors import ConfigNotFound, ConfigUnreadable, UnsupportedConfig
from model_base.hub.files import ModelFiles, model_files, pop_hub_options
from model_base.hub.push import PushToHubMixin, pop_push_options
from model_base.log import get_logger

logger = get_logger("configs")

DEFAULTS: dict[str, Any] = {
    "return_dict": True, "output_hidden_states": False, "output_attentions": False,
    "torchscript": False, "torch_dtype": None, "use_bfloat16": False, "tf_legacy_loss": False,
    "pruned_heads": {}, "tie_word_embeddings": True, "is_encoder_decoder": False,
    "is_decoder": False, "cross_attention_hidden_size": None, "add_cross_attention": False,
    "tie_encoder_decoder": False, "max_length": 20, "min_length": 0, "do_sample": False,
    "early_stopping": False, "num_beams": 1, "num_beam_groups": 1, "diversity_penalty": 0.0,
    "temperature": 1.0, "top_k": 50, "top_p": 1.0, "typical_p": 1.0, "repetition_penalty": 1.0,
    "length_penalty": 1.0, "no_repeat_ngram_size": 0, "encoder_no_repeat_ngram_size": 0,
    "bad_words_ids": None, "num_return_sequences": 1, "chunk_size_feed_forward": 0,
    "output_scores": False, "return_dict_in_generate": False, "forced_bos_token_id": None,
    "forced_eos_token_id": None, "remove_invalid_values": False,
    "exponential_decay_length_penalty": None, "architectures": None, "finetuning_task": None,
    "tokenizer_class": None, "prefix": None, "bos_token_id": None, "pad_token_id": None,
    "eos_token_id": None, "sep_token_id": None, "decoder_start_token_id": None,
    "task_specific_params": None, "problem_type": None,
}  # fmt: skip
"""Fields that every configuration has."""

MAX_LABELS = 10**6
"""Most labels that are given names; a config file must not be able to fill the memory."""

_PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
_NOT_OURS = ("quantization_config", "compression_config")
_NOT_STORED = ("transformers_version", "auto_map")


class PretrainedConfig(PushToHubMixin):
    """Base of all configurations.

    Class attributes of a subclass: ``model_type`` (the key in config.json), ``attribute_map``
    (other names for fields), ``weight_rules`` (how names stored by older versions became ours),
    ``handled`` (fields of which only some values are implemented, and those values), ``heads``
    (class name for each auto class), ``tasks`` (what such a head is for, where it is not what
    ``constants.TASKS`` says), ``base_config_key`` (the field under which the configuration of a
    larger model holds this one), ``pads_embedding`` (whether the padding token has a row in the
    table of embeddings).

    Args:
        kwargs: any field. Unknown ones are kept as attributes, as Transformers does.

    Raises:
        ValueError: ``problem_type`` is none of the three known ones.
    """

    model_type: ClassVar[str] = ""
    is_composition: ClassVar[bool] = False
    base_config_key: ClassVar[str] = ""
    pads_embedding: ClassVar[bool] = True
    attribute_map: ClassVar[dict[str, str]] = {}
    weight_rules: ClassVar[tuple[Rule, ...]] = ()
    handled: ClassVar[dict[str, tuple[Any, ...]]] = {}
    heads: ClassVar[dict[str, str]] = {}
    tasks: ClassVar[dict[str, str]] = {}
    _auto_class: ClassVar[str | None] = None

    def __init__(self, **kwargs: Any) -> None:
        if (dtype := kwargs.pop("dtype", None)) is not None:
            kwargs["torch_dtype"] = dtype
        fields = {name: kwargs.pop(name, copy.copy(value)) for name, value in DEFAULTS.items()}
        fields["torch_dtype"] = _dtype_name(fields["torch_dtype"])
        fields["pruned_heads"] = _numbered("pruned_heads", fields["pruned_heads"] or {})
        for name, value in fields.items():
            setattr(self, name, value)
        self._set_labels(kwargs)
        if self.problem_type is not None and self.problem_type not in _PROBLEM_TYPES:
            raise ValueError(
                f"problem_type is {self.problem_type!r}; accepted: {', '.join(_PROBLEM_TYPES)}"
            )
        self.name_or_path = str(kwargs.pop("name_or_path", ""))
        for name, value in kwargs.items():
            if name not in _NOT_STORED and not _is_ours(type(self), name):
                setattr(self, name, value)

    def _set_labels(self, kwargs: dict[str, Any]) -> None:
        id2label, label2id = kwargs.pop("id2label", None), kwargs.pop("label2id", None)
        num_labels = kwargs.pop("num_labels", None)
        self.id2label: dict[int, str]
        self.label2id: dict[str, int]
        if id2label and (num_labels is None or num_labels == len(id2label)):
            self.id2label = _numbered("id2label", id2label)
            self.label2id = label2id or {value: key for key, value in self.id2label.items()}
        else:
            self.num_labels = 2 if num_labels is None else num_labels

    def __setattr__(self, key: str, value: Any) -> None:
        super().__setattr__(type(self).attribute_map.get(key, key), value)

    def __getattribute__(self, key: str) -> Any:
        if key != "attribute_map":
            key = type(self).attribute_map.get(key, key)
        return super().__getattribute__(key)

    @property
    def num_labels(self) -> int:
        """Number of labels of a classifier; setting it calls them ``LABEL_0`` and so on."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, count: int) -> None:
        if type(count) is not int or not 0 <= count <= MAX_LABELS:
            raise ValueError(f"num_labels is {count}; accepted: 0 to {MAX_LABELS}")
        self.id2label = {i: f"LABEL_{i}" for i in range(count)}
        self.label2id = {label: i for i, label in self.id2label.items()}

    @property
    def use_return_dict(self) -> bool:
        """Whether a forward returns a ``ModelOutput``; never under torchscript."""
        return bool(self.return_dict and not self.torchscript)

    @property
    def max_tokens(self) -> int:
        """Longest sequence that the model has positions for; very many if it needs none."""
        return int(getattr(self, "max_position_embeddings", UNLIMITED))

    @property
    def id_limits(self) -> dict[str, int]:
        """For each input of ids the number of embeddings: valid ids are below it."""
        fields = {
            "input_ids": "vocab_size",
            "decoder_input_ids": "vocab_size",
            "token_type_ids": "type_vocab_size",
        }
        limits = {
            name: getattr(self, field) for name, field in fields.items() if hasattr(self, field)
        }
        return {**limits, "position_ids": self.max_tokens}

    def check_supported(self) -> None:
        """Refuse absurd values, and fields that ask for mathematics that is not implemented.

        Raises:
            UnsupportedConfig: naming the field, its value and the accepted ones.
        """
        check_fields(vars(self))
        if self.pads_embedding:
            check_pad_token(vars(self))
        for name, part in vars(self).items():
            if isinstance(part, PretrainedConfig):
                _check_part(name, part)
        for name in _NOT_OURS:
            if getattr(self, name, None):
                raise UnsupportedConfig(name, getattr(self, name), "none: quantised weights")
        for name, accepted in type(self).handled.items():
            if (value := getattr(self, name, accepted[0])) not in accepted:
                raise UnsupportedConfig(name, value, ", ".join(map(repr, accepted)))

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Any:
        """Read the configuration of a model folder, a hub id, or a config file.

        Args:
            pretrained_model_name_or_path: folder, hub id or path of a JSON file.
            kwargs: fields to override; also ``return_unused_kwargs``, and of the hub
                ``cache_dir``, ``force_download``, ``resume_download``, ``proxies``, ``revision``,
                ``mirror``, ``local_files_only``, ``use_auth_token``, as for a model.

        Raises:
            ConfigNotFound: there is no config.json.
            ConfigUnreadable: it is not one JSON object.
            HubUnavailable: the hub refused or cannot be reached.
        """
        fields, kwargs = cls.get_config_dict(pretrained_model_name_or_path, **kwargs)
        if isinstance(part := fields.get(cls.base_config_key), dict):
            fields = {**part, "name_or_path": fields["name_or_path"]}
        stored = fields.get("model_type")
        if stored and cls.model_type and stored != cls.model_type:
            logger.warning("a config of model_type %r is read as %s", stored, cls.__name__)
        return cls.from_dict(fields, **kwargs)

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields as stored, and the keyword arguments that were not used to find them."""
        options = pop_hub_options(kwargs)
        for unused in ("_from_auto", "_from_pipeline"):
            kwargs.pop(unused, None)
        path = Path(pretrained_model_name_or_path)
        if os.path.isfile(path):  # Path.is_file raises on what is too long
            return {**_read_json(path), "name_or_path": str(path)}, kwargs
        files = model_files(pretrained_model_name_or_path, **options)
        return {**read_config(files), "name_or_path": files.label}, kwargs

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Make a configuration of stored fields; ``kwargs`` override those that exist.

        Returns:
            The configuration, or with ``return_unused_kwargs=True`` the pair of it and the
            keyword arguments that name no field.
        """
        return_unused = kwargs.pop("return_unused_kwargs", False)
        overrides = {key: kwargs.pop(key) for key in ("num_labels", "id2label") if key in kwargs}
        config = cls(**old_spelling(config_dict, cls.attribute_map) | overrides)
        for key in [key for key in kwargs if key != "torch_dtype" and hasattr(config, key)]:
            setattr(config, key, kwargs.pop(key))
        return (config, kwargs) if return_unused else config

    @classmethod
    def from_json_file(cls, json_file: str | Path) -> Self:
        """Read a config from the path of a JSON file."""
        return cls(**_read_json(Path(json_file)))

    def to_dict(self) -> dict[str, Any]:
        """All fields, JSON-ready."""
        fields = copy.deepcopy(self.__dict__)
        fields.pop("name_or_path", None)
        for name, value in fields.items():
            if isinstance(value, PretrainedConfig):
                fields[name] = value.to_dict()
        if self.model_type:
            fields["model_type"] = self.model_type
        return {key: value for key, value in fields.items() if not key.startswith("_")}

    def to_diff_dict(self) -> dict[str, Any]:
        """The fields that the class itself adds, or that differ from its or the base's defaults."""
        base = PretrainedConfig().to_dict()
        own = {} if self.is_composition else type(self)().to_dict()
        return {
            key: value
            for key, value in self.to_dict().items()
            if key not in base or value != base[key] or value != own.get(key, value)
        }

    def to_json_string(self, use_diff: bool = True) -> str:
        """The JSON text of config.json: indent 2, sorted keys, final newline."""
        fields = self.to_diff_dict() if use_diff else self.to_dict()
        return json.dumps(fields, indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: str | Path, use_diff: bool = True) -> None:
        """Write the configuration to a file."""
        Path(json_file_path).write_text(self.to_json_string(use_diff), encoding="utf-8")

    def save_pretrained(
        self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any
    ) -> None:
        """Write config.json into a folder, made if need be.

        Args:
            save_directory: the folder.
            push_to_hub: save and push in one commit; the repository, by default named as the
                folder, is opened before anything is written.
            kwargs: for a push those of ``push_to_hub``; ``max_shard_size`` has no effect.

        Raises:
            HubUnavailable: the hub refuses the push or cannot be reached.
            NotADirectoryError: the path is a file.
            TypeError: an unknown keyword argument.
        """
        options = pop_push_options(kwargs, "max_shard_size")
        folder = Path(save_directory)
        if push_to_hub:
            self._save_pushing(folder, self.save_pretrained, options)
            return
        if folder.is_file():
            raise NotADirectoryError(f"{folder} is a file; a folder is needed to save into")
        folder.mkdir(parents=True, exist_ok=True)
        self.to_json_file(folder / CONFIG_NAME)

    def update(self, config_dict: Mapping[str, Any]) -> None:
        """Set fields."""
        for key, value in config_dict.items():
            setattr(self, key, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.__dict__ == other.__dict__

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string()}"


def _numbered(name: str, value: Any) -> dict[int, Any]:
    """A mapping by number, whose keys JSON has made text."""
    try:
        return {int(number): entry for number, entry in value.items()}
    except (AttributeError, TypeError, ValueError):
        seen = repr(value)[:100]
        raise ValueError(f"{name} is {seen}; accepted: a mapping by number") from None


def _is_ours(cls: type[PretrainedConfig], name: str) -> bool:
    """Whether ``name`` is private or part of the class: a config file must not replace those."""
    return name.startswith("_") or hasattr(cls, name)


def _check_part(name: str, part: PretrainedConfig) -> None:
    """``check_supported`` of a part, whose name then precedes the field's."""
    try:
        part.check_supported()
    except UnsupportedConfig as error:
        accepted = str(error).rpartition("; accepted: ")[2]
        raise UnsupportedConfig(f"{name}.{error.field}", error.value, accepted) from None


def fields_of(name: str, config: Any) -> Mapping[str, Any]:
    """The fields of the part ``name`` of a configuration: given as one, a mapping, or None.

    Raises:
        ValueError: given as something else.
    """
    if isinstance(config, PretrainedConfig):
        return config.to_dict()
    if config is not None and not isinstance(config, Mapping):
        seen = repr(config)[:100]
        raise ValueError(f"{name} is {seen}; accepted: a mapping of fields")
    return config or {}


def _dtype_name(dtype: Any) -> str | None:
    """``torch.float16``, its name, or None → ``float16`` or None."""
    return None if dtype is None else str(dtype).removeprefix("torch.")


def read_config(files: ModelFiles) -> dict[str, Any]:
    """The fields of a model's config.json as stored.

    Raises:
        ConfigNotFound: there is none.
        ConfigUnreadable: not one JSON object.
    """
    path = files.find(CONFIG_NAME)
    if path is None:
        raise ConfigNotFound(f"{files.label!r} has no {CONFIG_NAME}")
    return _read_json(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if (size := path.stat().st_size) > MAX_JSON_BYTES:
            raise ValueError(f"{size} bytes is over the limit of {MAX_JSON_BYTES}")
        fields = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigUnreadable(f"{path} cannot be read as a config: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigUnreadable(f"{path} holds a {type(fields).__name__}, not one JSON object")
    return fields
