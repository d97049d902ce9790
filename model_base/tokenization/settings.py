"""What the settings files of a tokenizer may say, and the errors of reading one."""

import reprlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from model_base.tokenization.json_files import read_object

Direction = Literal["left", "right"]

MAX_TOKENIZER_BYTES = 200 * 2**20
"""The largest in use, of vocabularies of 260,000 entries, take 35 MiB."""

FILES = ("tokenizer.json", "vocab.txt", "vocab.json with merges.txt")
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
    "add_bos_token", "add_eos_token",
)  # fmt: skip


class TokenizerError(ValueError):
    """Raised when a model's tokenizer cannot be used; base of the two below."""


class TokenizerNotFound(TokenizerError):
    """Raised when a folder holds no tokenizer file."""

    def __init__(self) -> None:
        super().__init__(f"no tokenizer: looked for {', '.join(FILES)}")


class UnsupportedTokenizer(TokenizerError):
    """Raised when a tokenizer file is unreadable or asks for what is not implemented."""


@contextmanager
def failing_as(wrap: Callable[[str], Exception]) -> Iterator[None]:
    """Raise what ``wrap`` makes of the message of anything that the library raises.

    It raises bare ``Exception``; a panic of its compiled part is a ``BaseException``, which
    would pass every handler up to the end of the process.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        raise wrap(str(error)) from error


def read_settings(path: Path) -> Mapping[str, Any]:
    """Settings of one file; a wrong type is refused by file and key."""
    config = read_object(path)
    for key, value in config.items():
        if value is None:
            continue
        if key in _FLAGS and not isinstance(value, bool):
            raise wrong_type(path, key, value, "true or false")
        if key in NAMES and content_of(value) is None:
            raise wrong_type(path, key, value, "a token")
        if key == "additional_special_tokens" and not _are_tokens(value):
            raise wrong_type(path, key, value, "a list of tokens")
        if key == "tokenizer_class" and not isinstance(value, str):
            raise wrong_type(path, key, value, "a name")
    return config


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and all(content_of(token) is not None for token in value)


def wrong_type(path: Path, key: str, value: Any, accepted: str) -> UnsupportedTokenizer:
    """The error for a setting whose value is of another kind."""
    return UnsupportedTokenizer(
        f"{path.name}: {key} is {reprlib.repr(value)}; accepted: {accepted}"
    )


def check_size(path: Path) -> None:
    """Refuse a file that is larger than any in use.

    Raises:
        UnsupportedTokenizer: with both sizes.
    """
    num_bytes = path.stat().st_size
    if num_bytes > MAX_TOKENIZER_BYTES:
        raise UnsupportedTokenizer(
            f"{path.name}: {num_bytes} bytes, at most {MAX_TOKENIZER_BYTES} are read"
        )


def content_of(value: Any) -> str | None:
    """Text of a special token, which files write as a string or as an object."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None
