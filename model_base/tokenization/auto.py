"""AutoTokenizer: the tokenizer that a model's folder holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers, processors

from model_base.hub.files import HUB_OPTIONS, Folder, ModelFiles, model_files, pop_hub_options
from model_base.tokenization.base import (
    OLDER_SETTINGS,
    PreTrainedTokenizer,
    PreTrainedTokenizerFast,
)
from model_base.tokenization.ctc import CTC_TOKENS, CTCTokenizer, characters
from model_base.tokenization.files import READERS, TokenizerFiles, read_config, read_tokenizer
from model_base.tokenization.json_files import read_object
from model_base.tokenization.sentencepiece_files import BUILD_SETTINGS
from model_base.tokenization.settings import (
    BERT_SETTINGS,
    NAMES,
    UnsupportedTokenizer,
    check_size,
    content_of,
    read_settings,
)
from model_base.tokenization.tokens import TokenizerSettings

_TOKENS = (*NAMES, "additional_special_tokens")
_ATTRIBUTES = (
    "padding_side", "truncation_side", "model_max_length", "clean_up_tokenization_spaces",
    "model_input_names", "chat_template",
)  # fmt: skip
_AROUND = ("add_bos_token", "add_eos_token")
_CTC_SETTINGS = ("do_lower_case", "word_delimiter_token")
_FLAGS = tuple(dict.fromkeys([*BERT_SETTINGS, *_AROUND, *BUILD_SETTINGS]))
_OVERRIDES = (*_TOKENS, *_ATTRIBUTES, *_FLAGS, "word_delimiter_token")
"""Settings that a caller may give in place of what the files say."""
_NO_EFFECT = ("use_fast", "trust_remote_code", "subfolder", "verbose")
FILES = (
    *(name for names in READERS for name in names.split(" with ")),
    "tokenizer_config.json", *OLDER_SETTINGS, "config.json",
)  # fmt: skip
"""Whatever a tokenizer may be read from."""
_WITH_TYPES = ("bert", "albert", "electra", "mobilebert", "convbert", "layoutlm", "deberta",
               "xlnet", "pretrained", "tokenizers")  # fmt: skip
"""Families whose models tell two texts apart by token types, by how their names begin; as
``_family`` gives them."""
_PADDED_LEFT = ("llama", "gemma", "codellama", "mistral", "xlnet")
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
            kwargs: settings that win over the files', which are not looked at for them then,
                and may be wrong there: the special tokens, ``padding_side``,
                ``truncation_side``, ``model_max_length``, ``model_input_names``,
                ``clean_up_tokenization_spaces``, ``chat_template``, ``do_lower_case``,
                ``strip_accents``, ``tokenize_chinese_chars``, ``add_prefix_space``,
                ``add_bos_token``, ``add_eos_token``, ``word_delimiter_token``; of a SentencePiece
                model without ``tokenizer.json`` ``legacy``, ``keep_accents``. Of the hub:
                ``cache_dir``, ``force_download``, ``resume_download``, ``proxies``, ``mirror``,
                ``local_files_only``, ``revision``, ``use_auth_token`` (``token``), as for a
                model. Without effect: ``use_fast`` (there is one kind),
                ``trust_remote_code=False``, ``subfolder=""``, ``verbose``.

        Raises:
            TypeError: another argument.
            ValueError: an argument's value is not accepted.
            TokenizerNotFound: there are no tokenizer files.
            UnsupportedTokenizer: unreadable, or something is not implemented; named.
            HubUnavailable: the hub refused or cannot be reached.
        """
        _check_arguments(kwargs)
        options = pop_hub_options(kwargs)
        overrides = {key: kwargs[key] for key in _OVERRIDES if key in kwargs}
        folder = _folder(model_files(pretrained_model_name_or_path, **options))
        tokenizer = load(folder, overrides)
        tokenizer.name_or_path = str(pretrained_model_name_or_path)
        return tokenizer


def _check_arguments(kwargs: Mapping[str, Any]) -> None:
    accepted = (*_OVERRIDES, *HUB_OPTIONS, *_NO_EFFECT)
    if unknown := sorted(kwargs.keys() - set(accepted)):
        raise TypeError(f"{', '.join(unknown)}: not accepted; accepted: {', '.join(accepted)}")
    for name in ("trust_remote_code", "subfolder"):
        if kwargs.get(name):
            raise ValueError(f"{name} is {kwargs[name]!r}; accepted: none")


def load(folder: Path, overrides: Mapping[str, Any] | None = None) -> PreTrainedTokenizer:
    """The tokenizer of a folder; ``overrides`` and errors as ``AutoTokenizer.from_pretrained``."""
    changes = dict(overrides or {})
    _check_flags(changes)
    config = read_config(folder, changes)
    tokenizer: PreTrainedTokenizer
    name = config.get("tokenizer_class")
    if name in _CTC_CLASSES or (name is None and _family(folder, config) == "wav2vec2"):
        own = {name: changes.pop(name) for name in _CTC_SETTINGS if name in changes}
        config = {**CTC_TOKENS, **config, **own}
        backend = characters(folder, config)
        delimiter = content_of(config.get("word_delimiter_token")) or "|"
        settings = _settings(folder, config, None, changes)
        tokenizer = CTCTokenizer(backend, settings, delimiter, bool(config.get("do_lower_case")))
    else:
        files = read_tokenizer(folder, changes)
        settings = _settings(folder, files.config, files, changes)
        for name in files.config.keys() & BUILD_SETTINGS:  # it was built with them
            changes.pop(name, None)
        tokenizer = PreTrainedTokenizerFast(files.tokenizer, settings)
    _override(tokenizer, changes)
    return tokenizer


def _check_flags(changes: Mapping[str, Any]) -> None:
    for name in _FLAGS:
        value = changes.get(name, True)
        if not isinstance(value, bool) and (name, value) != ("strip_accents", None):
            raise ValueError(f"{name} is {value!r}; accepted: True, False")


def _override(tokenizer: PreTrainedTokenizer, changes: Mapping[str, Any]) -> None:
    """Let what the caller gave win over the files; what the backend cannot do is refused."""
    tokenizer.add_special_tokens({name: changes[name] for name in _TOKENS if name in changes})
    for name in _ATTRIBUTES:
        if name in changes:
            setattr(tokenizer, name, changes[name])
    around = {name: changes[name] for name in _AROUND if name in changes}
    for name, value in changes.items():
        if name in (*BERT_SETTINGS, "add_prefix_space"):
            _override_pipeline(tokenizer.backend_tokenizer, name, value)
        elif name in BUILD_SETTINGS:
            raise _not_done(name, value, "is not built from a SentencePiece model that has it")
        elif name == "word_delimiter_token":
            raise _not_done(name, value, "has no word delimiter")
    if around:
        _override_around(tokenizer, around)


def _override_pipeline(backend: Tokenizer, name: str, value: bool | None) -> None:
    if name == "add_prefix_space":
        if not hasattr(backend.pre_tokenizer, name):
            raise _not_done(name, value, "parts texts in another way")
        for part in (backend.pre_tokenizer, backend.post_processor):
            if hasattr(part, name):
                setattr(part, name, value)
    elif isinstance(backend.normalizer, normalizers.BertNormalizer):
        setattr(backend.normalizer, BERT_SETTINGS[name], value)
    else:
        raise _not_done(name, value, "does not normalize as BERT's does")


def _override_around(tokenizer: PreTrainedTokenizer, wanted: Mapping[str, bool]) -> None:
    """Put the tokens for begin and end around texts, or leave them off, as Llama's does."""
    backend = tokenizer.backend_tokenizer
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    for name, token in zip(_AROUND, (bos, eos), strict=True):
        if wanted.get(name) and token is None:
            raise _not_done(name, True, f"has no {name.removeprefix('add_')}")
    single, pair = backend.encode("").ids, backend.encode("", "").ids
    begins = bos is not None and single[:1] == [bos]
    ends = eos is not None and single[begins:][-1:] == [eos]
    does = dict(zip(_AROUND, (begins, ends), strict=True))
    changes = {name: on for name, on in wanted.items() if does[name] != on}
    if not changes:
        return
    if single != [bos] * begins + [eos] * ends or pair not in (single, single * 2):
        raise _not_done(*next(iter(changes.items())), "puts other tokens around texts, too")
    _put_around(tokenizer, **(does | changes))


def _put_around(tokenizer: PreTrainedTokenizer, add_bos_token: bool, add_eos_token: bool) -> None:
    bos, eos = [tokenizer.bos_token] * add_bos_token, [tokenizer.eos_token] * add_eos_token
    first = [*(f"{t}:0" for t in bos), "$A:0", *(f"{t}:0" for t in eos)]
    second = [*(f"{t}:1" for t in bos), "$B:1", *(f"{t}:1" for t in eos)]
    template = processors.TemplateProcessing(
        single=first, pair=first + second,
        special_tokens=[(t, tokenizer.convert_tokens_to_ids(t)) for t in {*bos, *eos}],
    )  # fmt: skip
    backend = tokenizer.backend_tokenizer
    old = backend.post_processor
    steps: Any = old if isinstance(old, processors.Sequence) else [old]
    kept = [step for step in steps if isinstance(step, processors.ByteLevel)]
    backend.post_processor = processors.Sequence([*kept, template])


def _not_done(name: str, value: Any, why: str) -> UnsupportedTokenizer:
    return UnsupportedTokenizer(f"{name}={value}: not possible, the tokenizer {why}")


def _folder(files: ModelFiles) -> Path:
    """The folder of the files that the hub has; all of them are brought into one."""
    if isinstance(files, Folder):
        return files.path
    found = [path for name in FILES if (path := files.find(name)) is not None]
    return found[0].parent if found else Path()


def _settings(
    folder: Path,
    config: Mapping[str, Any],
    files: TokenizerFiles | None,
    overrides: Mapping[str, Any],
) -> TokenizerSettings:
    family = _family(folder, config)
    inputs = config.get("model_input_names") or (
        ("input_ids", "token_type_ids", "attention_mask")
        if family.startswith(_WITH_TYPES)
        else ("input_ids", "attention_mask")
    )
    contents = {key: content_of(config.get(key)) for key in NAMES}
    side = config.get("padding_side") or ("left" if family.startswith(_PADDED_LEFT) else "right")
    return TokenizerSettings(
        special={key: text for key, text in contents.items() if text},
        additional=_additional(config),
        model_input_names=tuple(inputs),
        model_max_length=files.model_max_length if files else None,
        padding_side="left" if side == "left" else "right",
        truncation_side=files.truncation_side if files else "right",
        clean_up_spaces=config.get("clean_up_tokenization_spaces") is not False,
        chat_template=_chat_template(folder, config, overrides),
    )


def _family(folder: Path, config: Mapping[str, Any]) -> str:
    """Whose tokenizer it is, in small letters: by its class, else by the kind of the model."""
    name = config.get("tokenizer_class") or read_object(folder / "config.json").get("model_type")
    return str(name or "PreTrained").replace("-", "").replace("_", "").lower()


def _additional(config: Mapping[str, Any]) -> tuple[str, ...]:
    values: list[Any] = list(config.get("additional_special_tokens") or ())
    extra = config.get("extra_special_tokens") or ()
    values += extra.values() if isinstance(extra, Mapping) else extra
    return tuple(dict.fromkeys(text for value in values if (text := content_of(value))))


def _chat_template(
    folder: Path, config: Mapping[str, Any], overrides: Mapping[str, Any]
) -> str | Mapping[str, str] | None:
    """Jinja source; a file of its own wins over the settings."""
    if (path := folder / "chat_template.jinja").is_file():
        check_size(path)
        return path.read_text(encoding="utf-8")
    own = read_settings(folder / "chat_template.json", overrides).get("chat_template")
    own = own or config.get("chat_template")
    if isinstance(own, list):
        return {str(entry["name"]): str(entry["template"]) for entry in own}
    return own if isinstance(own, str) else None
