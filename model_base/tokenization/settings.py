"""What the settings files of a tokenizer may say, and the errors of reading one."""

import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from model_base.tokenization.json_files import TokenizerError, read_object

Direction = Literal["left", "right"]

MAX_TOKENIZER_BYTES = 200 * 2**20
"""The largest in use, of vocabularies of 260,000 entries, take 35 MiB."""

NAMES = (
    "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token",
)  # fmt: skip
BERT_SETTINGS = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_FLAGS = (
    *BERT_SETTINGS, "do_basic_tokenize", "split_special_tokens", "add_prefix_space",
    "add_bos_token", "add_eos_token", "clean_up_tokenization_spaces", "legacy", "keep_accents",
)  # fmt: skip
MAX_EXTRA_IDS = 10_000
PATTERN_FAILED = "a regular expression of tokenizer.json takes too many steps on this text"


class TokenizerNotFound(TokenizerError):
    """Raised when a folder holds no tokenizer file; with the names of those looked for."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(f"no tokenizer: looked for {', '.join(names)}")


class UnsupportedTokenizer(TokenizerError):
    """Raised when a tokenizer file is unreadable or asks for what is not implemented."""


@contextmanager
def failing_as(wrap: Callable[[str], Exception]) -> Iterator[None]:
    """Raise what ``wrap`` makes of the message of anything that the library raises.

    It raises bare ``Exception``; a panic of its compiled part is a ``BaseException``, which
    would pass every handler up to the end of the process. The message of a pattern that goes
    over the limit of the library's regular expressions is ``PATTERN_FAILED``.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        why = PATTERN_FAILED if "Regex search error" in str(error) else str(error)
        raise wrap(why) from error


def read_settings(path: Path, ignored: Collection[str] = ()) -> Mapping[str, Any]:
    """Settings of one file, less the ``ignored`` keys; a wrong type is refused by file and key."""
    config = {key: value for key, value in read_object(path).items() if key not in ignored}
    for key, value in config.items():
        if value is None or key not in _ACCEPTED:
            continue
        is_accepted, accepted = _ACCEPTED[key]
        if not is_accepted(value):
            raise wrong_type(path, key, value, accepted)
    return config


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _is_token(value: Any) -> bool:
    content = content_of(value)  # of lone surrogates nothing can be made
    return content is not None and content == content.encode(errors="ignore").decode()


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_token, value))


def _are_further_tokens(value: Any) -> bool:
    return _are_tokens(list(value.values()) if isinstance(value, dict) else value)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _is_side(value: Any) -> bool:
    return value in get_args(Direction)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value) and 0 <= value <= MAX_EXTRA_IDS


def _is_template(value: Any) -> bool:
    if not isinstance(value, list):
        return isinstance(value, str)
    return all(
        isinstance(entry, dict) and _are_names([entry.get("name"), entry.get("template")])
        for entry in value
    )


_ACCEPTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(_FLAGS, (_is_flag, "true or false")),
    **dict.fromkeys(NAMES, (_is_token, "a token")),
    **dict.fromkeys(("padding_side", "truncation_side"), (_is_side, "'left', 'right'")),
    "additional_special_tokens": (_are_tokens, "a list of tokens"),
    "extra_special_tokens": (_are_further_tokens, "a list of tokens, or tokens by name"),
    "tokenizer_class": (_is_name, "a name"),
    "model_input_names": (_are_names, "a list of names"),
    "model_max_length": (_is_number, "a number"),
    "extra_ids": (_is_count, f"0 to {MAX_EXTRA_IDS}"),
    "chat_template": (_is_template, "a text, or a list of objects with name and template"),
}
"""What each setting may be: a test, and its words."""


def class_name(
    folder: Path,
    config: Mapping[str, Any],
    accepted: Collection[str],
    by_model: Mapping[str, str],
) -> str:
    """The class that a vocabulary is of, from its settings or the kind of its model.

    Raises:
        UnsupportedTokenizer: it is not ``accepted``.
    """
    name = config.get("tokenizer_class")
    model = read_object(folder / "config.json").get("model_type")
    if name is None and isinstance(model, str):
        name = by_model.get(model)
    if name not in accepted:
        seen = f"tokenizer_class {name!r}" if name else f"model_type {model!r}"
        raise UnsupportedTokenizer(f"{seen} needs a tokenizer.json")
    return str(name)


def wrong_type(path: Path, key: str, value: Any, accepted: str) -> UnsupportedTokenizer:
    """The error for a setting whose value is of another kind."""
    return UnsupportedTokenizer(
        f"{path.name}: {key} is {reprlib.repr(value)}; accepted: {accepted}"
    )


def check_size(path: Path, limit: int | None = None) -> None:
    """Refuse a file that is larger than any in use; ``MAX_TOKENIZER_BYTES`` if no limit is given.

    Raises:
        UnsupportedTokenizer: with both sizes.
    """
    num_bytes, limit = path.stat().st_size, limit or MAX_TOKENIZER_BYTES
    if num_bytes > limit:
        raise UnsupportedTokenizer(f"{path.name}: {num_bytes} bytes, at most {limit} are read")


def content_of(value: Any) -> str | None:
    """Text of a special token, which files write as a string or as an object."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None
