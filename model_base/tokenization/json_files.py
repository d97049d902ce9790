"""Reading the small JSON files of a model's folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 16 * 2**20
"""A config with 100,000 labels stays below 4 MiB."""


class TokenizerError(ValueError):
    """Raised when a model's tokenizer cannot be used; base of the others."""


class UnreadableFile(TokenizerError):
    """Raised when a file of the model is too large, is not JSON or holds the wrong kind of value.

    Attributes:
        file: name of the file, without its folder.
    """

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"{file}: {reason}")
        self.file = file


def read_json(path: Path) -> Any:
    """Content of a JSON file; None when there is no such file.

    Raises:
        UnreadableFile: larger than ``MAX_JSON_BYTES``, not UTF-8, or not JSON.
    """
    if not os.path.isfile(path):  # Path.is_file raises on a name that is too long
        return None
    num_bytes = path.stat().st_size
    if num_bytes > MAX_JSON_BYTES:
        raise UnreadableFile(path.name, f"{num_bytes} bytes, at most {MAX_JSON_BYTES} are read")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(path.name, f"not readable as JSON ({error})") from error


def read_object(path: Path) -> Mapping[str, Any]:
    """Content of a file that holds a JSON object; empty when there is no such file.

    Raises:
        UnreadableFile: as ``read_json``, or the file holds something else than an object.
    """
    content = read_json(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UnreadableFile(path.name, f"holds a {type(content).__name__}, not an object")
    return content
