"""AutoTokenizer: the tokenizer that a model's folder holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_base.hub.files import Folder, ModelFiles, model_files
from model_base.tokenization.base import PreTrainedTokenizer, TokenizerSettings
from model_base.tokenization.ctc import CTC_TOKENS, CTCTokenizer, characters
from model_base.tokenization.files import TokenizerFiles, read_config, read_tokenizer
from model_base.tokenization.json_files import read_object
from model_base.tokenization.settings import NAMES, check_size, content_of

_HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision")
_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "chat_template.jinja", "config.json",
)  # fmt: skip
_WITH_TYPES = ("Bert", "Albert", "Electra", "MobileBert", "ConvBert", "LayoutLM", "MPNet",
               "Deberta", "XLNet", "PreTrained", "Tokenizers")  # fmt: skip
"""Classes, by how their names begin, whose models tell two texts apart by token types."""
_PADDED_LEFT = ("Llama", "Gemma", "CodeLlama", "XLNet")
_CTC_CLASSES = ("Wav2Vec2CTCTokenizer", "Wav2Vec2Tokenizer")


class AutoTokenizer:
    """Reads a tokenizer of whatever architecture."""

    def __init__(self) -> None:
        raise OSError("AutoTokenizer is no tokenizer: use AutoTokenizer.from_pretrained(name)")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, **kwargs: Any
    ) -> PreTrainedTokenizer:
        """Read the tokenizer of a folder or a hub id.

        Args:
            pretrained_model_name_or_path: folder or hub id.
            kwargs: ``cache_dir``, ``force_download``, ``local_files_only``, ``revision``,
                ``use_auth_token``; ``use_fast`` is accepted, there is one kind.

        Raises:
            TokenizerNotFound: there are no tokenizer files.
            UnsupportedTokenizer: unreadable, or something is not implemented; named.
            HubUnavailable: the hub refused or cannot be reached.
        """
        options = {key: kwargs[key] for key in _HUB_OPTIONS if key in kwargs}
        if (token := kwargs.get("use_auth_token")) is not None:
            options["token"] = token
        return load(_folder(model_files(pretrained_model_name_or_path, **options)))


def load(folder: Path) -> PreTrainedTokenizer:
    """The tokenizer of a folder; errors as ``AutoTokenizer.from_pretrained``."""
    config = read_config(folder)
    if config.get("tokenizer_class") in _CTC_CLASSES:
        config = {**CTC_TOKENS, **config}
        backend = characters(folder, config)
        delimiter = content_of(config.get("word_delimiter_token")) or "|"
        settings = _settings(folder, config, None)
        return CTCTokenizer(backend, settings, delimiter, bool(config.get("do_lower_case")))
    files = read_tokenizer(folder)
    return PreTrainedTokenizer(files.tokenizer, _settings(folder, files.config, files))


def _folder(files: ModelFiles) -> Path:
    """A folder that has all tokenizer files that there are."""
    if isinstance(files, Folder):
        return files.path
    found = [path for name in _FILES if (path := files.find(name)) is not None]
    return found[0].parent if found else Path()


def _settings(
    folder: Path, config: Mapping[str, Any], files: TokenizerFiles | None
) -> TokenizerSettings:
    name = str(config.get("tokenizer_class") or "PreTrained")
    inputs = config.get("model_input_names") or (
        ("input_ids", "token_type_ids", "attention_mask")
        if name.startswith(_WITH_TYPES)
        else ("input_ids", "attention_mask")
    )
    contents = {key: content_of(config.get(key)) for key in NAMES}
    side = config.get("padding_side") or ("left" if name.startswith(_PADDED_LEFT) else "right")
    return TokenizerSettings(
        special={key: text for key, text in contents.items() if text},
        additional=_additional(config),
        model_input_names=tuple(inputs),
        model_max_length=files.model_max_length if files else None,
        padding_side="left" if side == "left" else "right",
        truncation_side=files.truncation_side if files else "right",
        clean_up_spaces=config.get("clean_up_tokenization_spaces") is not False,
        chat_template=_chat_template(folder, config),
    )


def _additional(config: Mapping[str, Any]) -> tuple[str, ...]:
    values: list[Any] = list(config.get("additional_special_tokens") or ())
    extra = config.get("extra_special_tokens") or ()
    values += extra.values() if isinstance(extra, Mapping) else extra
    return tuple(text for value in values if (text := content_of(value)))


def _chat_template(folder: Path, config: Mapping[str, Any]) -> str | Mapping[str, str] | None:
    """Jinja source; a file of its own wins over the settings."""
    if (path := folder / "chat_template.jinja").is_file():
        check_size(path)
        return path.read_text(encoding="utf-8")
    own = read_object(folder / "chat_template.json").get("chat_template")
    own = own or config.get("chat_template")
    if isinstance(own, list):
        return {str(entry["name"]): str(entry["template"]) for entry in own}
    return own if isinstance(own, str) else None
