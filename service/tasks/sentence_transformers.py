"""What a sentence-transformers folder says about pooling, normalising, lengths and prompts.

Source: sentence-transformers 6.2.0, whose older file layouts are read too. What changes the
vectors and is not implemented here is refused by name; nothing is skipped over.
"""

import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from model_base.tokenization.json_files import read_json, read_object
from service.core.work import Pooling

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The older flags, in the order in which their vectors are concatenated."""
_MODES = frozenset(_FLAGS.values())
_PIPELINES = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
TRANSFORMER_FILES = ("sentence_bert_config.json",) + tuple(
    f"sentence_{name}_config.json"
    for name in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_TRANSFORMER_DEFAULTS: Mapping[str, Any] = {
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
}
_EMBEDDING_KEY = "sentence_embedding"


class UnsupportedModule(ValueError):
    """Raised when a sentence-transformers folder asks for something that is not implemented.

    Attributes:
        file: the file that asks for it.
    """

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file


@dataclass(frozen=True, slots=True)
class SentenceTransformersConfig:
    """One folder's settings.

    Attributes:
        folder: of the transformer module: its weights, config.json and tokenizer.
        pooling: how token vectors become one.
        normalize: True when vectors are scaled to length 1.
        max_length: tokens, special ones included; None means the tokenizer's own limit.
        do_lower_case: texts are lower-cased before the tokenizer's own normalising.
        prompts: text put before an input, by name.
        default_prompt_name: the prompt of a request that names none.
    """

    folder: Path
    pooling: Pooling
    normalize: bool = False
    max_length: int | None = None
    do_lower_case: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None


def read_sentence_transformers(folder: Path) -> SentenceTransformersConfig | None:
    """Settings of a model's folder; None when it holds no ``modules.json``.

    Raises:
        UnsupportedModule: a module, or one of its settings, is not implemented; names it.
        UnreadableFile: one of the files is not JSON or too large.
    """
    modules = read_json(folder / "modules.json")
    if modules is None:
        return None
    kinds, folders = _read_modules(folder, modules)
    if len(kinds) == len(_PIPELINES[1]):
        _check_normalize(folders[2])
    max_length, do_lower_case = _read_transformer(folders[0])
    prompts, default_prompt_name = _read_prompts(folder)
    return SentenceTransformersConfig(
        folder=folders[0],
        pooling=_read_pooling(folders[1]),
        normalize="Normalize" in kinds,
        max_length=max_length,
        do_lower_case=do_lower_case,
        prompts=prompts,
        default_prompt_name=default_prompt_name,
    )


def _read_modules(folder: Path, modules: object) -> tuple[list[str], list[Path]]:
    """Names and folders of the modules, in order."""
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise UnsupportedModule("modules.json", "must hold a list of modules")
    kinds = [_module_kind(module.get("type")) for module in modules]
    if kinds not in _PIPELINES:
        accepted = " or ".join(", ".join(pipeline) for pipeline in _PIPELINES)
        seen = ", ".join(kinds) or "none"
        raise UnsupportedModule("modules.json", f"modules {seen}; accepted: {accepted}")
    return kinds, [_module_folder(folder, module.get("path")) for module in modules]


def _module_kind(type_name: object) -> str:
    """Last part of a module's class name; only the library's own classes are known."""
    package, _, kind = str(type_name).rpartition(".")
    if package.partition(".")[0] != "sentence_transformers" or kind not in _PIPELINES[1]:
        accepted = ", ".join(_PIPELINES[1])
        raise UnsupportedModule(
            "modules.json", f"module type {type_name!r} is not supported; accepted: {accepted}"
        )
    return kind


def _module_folder(folder: Path, path: object) -> Path:
    """Folder of one module, which must lie in the model's folder."""
    if isinstance(path, str) and not {"\\", ":", "\0"} & set(path):
        parts = PurePosixPath(path)
        is_plain = not parts.is_absolute() and ".." not in parts.parts
        if is_plain and _is_inside(folder / parts, folder):
            return folder / parts
    raise UnsupportedModule("modules.json", f"module path {path!r} is not inside the model")


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a link that leads to itself
        return False


def _check_normalize(folder: Path) -> None:
    """Refuse a Normalize that works on anything but the pooled vector."""
    config = read_object(folder / "config.json")
    for key, value in config.items():
        known = key in {"module_input_name", "module_output_name"}
        if value and not (known and value == _EMBEDDING_KEY):
            raise UnsupportedModule("Normalize config.json", f"{key}={value!r} is not supported")


def _read_transformer(folder: Path) -> tuple[int | None, bool]:
    """``max_seq_length`` and ``do_lower_case`` of the transformer module."""
    file = next((n for n in TRANSFORMER_FILES if os.path.isfile(folder / n)), None)
    config = dict(read_object(folder / file)) if file else {}
    file = file or TRANSFORMER_FILES[0]
    max_length = config.pop("max_seq_length", None)
    if max_length is not None and (type(max_length) is not int or max_length < 1):
        raise UnsupportedModule(file, f"max_seq_length={max_length!r}, not a positive number")
    do_lower_case = _flag(file, config, "do_lower_case")
    config.pop("unpad_inputs", None)  # how it is computed, not what
    for key, value in config.items():
        if value and value != _TRANSFORMER_DEFAULTS.get(key):
            raise UnsupportedModule(file, f"{key}={value!r} is not supported")
    return max_length, do_lower_case


def _read_pooling(folder: Path) -> Pooling:
    """Modes of the pooling module, new key or older flags."""
    file = f"{folder.name}/config.json"
    config = dict(read_object(folder / "config.json"))
    if not config:
        raise UnsupportedModule(file, "the Pooling module has no settings")
    config.pop("embedding_dimension", None)
    config.pop("word_embedding_dimension", None)
    if not _flag(file, config, "include_prompt", default=True):
        raise UnsupportedModule(file, "include_prompt=false is not supported")
    flags = [mode for flag, mode in _FLAGS.items() if _flag(file, config, flag)]
    modes = config.pop("pooling_mode", None) or flags or ["mean"]
    for key, value in config.items():
        if value:
            raise UnsupportedModule(file, f"{key}={value!r} is not supported")
    return Pooling(modes=_check_modes(file, [modes] if isinstance(modes, str) else modes))


def _check_modes(file: str, modes: object) -> tuple[str, ...]:
    """The modes, if each is known and there once: every one makes the vector longer."""
    listed = modes if isinstance(modes, list) else []
    known = [mode for mode in listed if isinstance(mode, str) and mode in _MODES]
    if not known or len(known) != len(listed) or len(set(known)) != len(known):
        accepted = ", ".join(_FLAGS.values())
        raise UnsupportedModule(
            file, f"pooling_mode {reprlib.repr(modes)}; accepted, each once: {accepted}"
        )
    return tuple(known)


def _flag(file: str, config: dict[str, Any], key: str, *, default: bool = False) -> bool:
    """Take a setting that is true, false, null or absent."""
    value = config.pop(key, None)
    if not isinstance(value, bool | None):
        raise UnsupportedModule(file, f"{key}={value!r}; accepted: true or false")
    return default if value is None else value


def _read_prompts(folder: Path) -> tuple[Mapping[str, str], str | None]:
    """Prompts and the default one's name."""
    file = "config_sentence_transformers.json"
    config = dict(read_object(folder / file))
    config.pop("__version__", None)
    config.pop("similarity_fn_name", None)  # of vectors among each other, not of one
    if (kind := config.pop("model_type", None)) not in (None, "SentenceTransformer"):
        raise UnsupportedModule(file, f"model_type={kind!r} is not supported")
    prompts = config.pop("prompts", None) or {}
    if not isinstance(prompts, dict) or not all(isinstance(p, str) for p in prompts.values()):
        raise UnsupportedModule(file, "prompts must map names to texts")
    default = config.pop("default_prompt_name", None)
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise UnsupportedModule(file, f"default_prompt_name={default!r} is not one of the prompts")
    for key, value in config.items():
        if value:
            raise UnsupportedModule(file, f"{key}={value!r} is not supported")
    return prompts, default
