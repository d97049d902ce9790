"""Texts or token ids, as several protocols spell them: ``str | [str] | [int] | [[int]]``.

A body may hold millions of elements. So the wire schema only describes them, and ``to_inputs``
reads them: how many there are first, then each once, up to the first that is wrong.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import WithJsonSchema

from service.core.errors import TooLarge
from service.core.messages import TextInputs, TokenInputs
from service.core.settings import LimitSettings
from service.protocols.base import BadField

TEXT_OR_TOKENS = "a text, a list of texts, a list of token ids or a list of such lists"
_MAX_TOKEN_ID = 2**31 - 1
_JSON_NAMES = {
    str: "text", bool: "boolean", int: "integer", float: "number", list: "list", dict: "object",
    type(None): "null",
}  # fmt: skip
_TOKEN_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": _MAX_TOKEN_ID}}
TEXT_OR_TOKENS_SCHEMAS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "array", "items": {"type": "string"}},
    _TOKEN_IDS,
    {"type": "array", "items": _TOKEN_IDS},
]
TextOrTokens = Annotated[Any, WithJsonSchema({"anyOf": TEXT_OR_TOKENS_SCHEMAS})]


class EmptyInput(BadField):
    """Raised when there is nothing to compute on."""


def kind_of(value: Any) -> str:
    """JSON's word for what ``value`` is; never the value."""
    return _JSON_NAMES.get(type(value), "something else")


def check_count(count: int, limits: LimitSettings) -> None:
    """Refuse more inputs than a request may have.

    Raises:
        TooLarge: over ``limits.max_inputs``.
    """
    if count > limits.max_inputs:
        raise TooLarge("inputs in one request", count, limits.max_inputs, "limits.max_inputs")


def to_inputs(
    value: Any, field: str, limits: LimitSettings, accepted: str = TEXT_OR_TOKENS
) -> TextInputs | TokenInputs:
    """Read a ``TextOrTokens``; its first element says which kind it is.

    Args:
        value: what the client sent.
        field: its name there, for the error.
        limits: how many inputs, and how many token ids in each.
        accepted: what the field may hold, for the error.

    Raises:
        BadField: it is of another type; names the first wrong element.
        EmptyInput: the whole or one of its elements is empty.
        TooLarge: over ``limits.max_inputs`` or ``limits.max_input_tokens``.
    """
    if not isinstance(value, str | list):
        raise BadField(field, f"expected {accepted}; got {kind_of(value)}")
    if not value:
        raise EmptyInput(field, f"is empty; expected {accepted}")
    if isinstance(value, str):
        return TextInputs([value])
    first = value[0]
    if type(first) is int:
        _check_token_ids(value, field, limits)
        return TokenInputs([value])
    if not isinstance(first, str | list):
        raise BadField(f"{field}.0", f"expected a text, a token id or a list; got {kind_of(first)}")
    check_count(len(value), limits)
    if isinstance(first, str):
        _check_elements(value, field, str)
        return TextInputs(value)
    _check_elements(value, field, list)
    for index, token_ids in enumerate(value):
        _check_token_ids(token_ids, f"{field}.{index}", limits)
    return TokenInputs(value)


def _check_elements(value: Sequence[Any], field: str, kind: type[str | list[Any]]) -> None:
    """Refuse elements that are empty or unlike the first."""
    for index, item in enumerate(value):
        if not isinstance(item, kind):
            raise BadField(
                f"{field}.{index}",
                f"expected a {_JSON_NAMES[kind]} like the first element; got {kind_of(item)}",
            )
        if not item:
            raise EmptyInput(f"{field}.{index}", "is empty")


def _check_token_ids(token_ids: Sequence[Any], field: str, limits: LimitSettings) -> None:
    """Refuse too many token ids, and what is none."""
    count, limit = len(token_ids), limits.max_input_tokens
    if count > limit:
        raise TooLarge(f"token ids in {field}", count, limit, "limits.max_input_tokens")
    for index, item in enumerate(token_ids):
        if type(item) is not int or not 0 <= item <= _MAX_TOKEN_ID:
            seen = item if type(item) is int else kind_of(item)
            raise BadField(
                f"{field}.{index}",
                f"expected a token id, an integer from 0 to {_MAX_TOKEN_ID}; got {seen}",
            )


def refuse_dimensions(dimensions: object) -> None:
    """Refuse a request for vectors of another size than the model's.

    Raises:
        BadField: ``dimensions`` is set.
    """
    if dimensions is not None:
        raise BadField(
            "dimensions", "not supported: a model's vectors have one size and are not truncated"
        )
