"""Texts or token ids, as several protocols spell them: ``str | [str] | [int] | [[int]]``."""

from typing import Annotated, Any, cast

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from service.core.messages import TextInputs, TokenInputs
from service.protocols.base import BadField

TEXT_OR_TOKENS = "a text, a list of texts, a list of token ids or a list of such lists"
_JSON_NAMES = {
    str: "text", bool: "boolean", int: "integer", float: "number", list: "list", dict: "object",
    type(None): "null",
}  # fmt: skip


class EmptyInput(BadField):
    """Raised when there is nothing to compute on."""


def _describe(value: Any) -> str:
    if not isinstance(value, list):
        return _JSON_NAMES.get(type(value), "something else")
    kinds = sorted({_JSON_NAMES.get(type(item), "something else") for item in value})
    return f"a list of {' and '.join(kinds)}" if kinds else "an empty list"


def expecting(what: str) -> WrapValidator:
    """Say ``what`` fits when no branch of a union does, instead of one branch's complaint."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError(
                "inputs", "expected {what}; got {seen}", {"what": what, "seen": _describe(value)}
            ) from None

    return WrapValidator(validate)


TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]
TextOrTokens = Annotated[
    str | list[str] | list[TokenId] | list[list[TokenId]],
    expecting(f"{TEXT_OR_TOKENS} (token ids are integers from 0 to 2147483647)"),
]


def to_inputs(value: str | list[Any], field: str) -> TextInputs | TokenInputs:
    """Translate a validated ``TextOrTokens``.

    Args:
        value: what the client sent.
        field: its name there, for the error.

    Raises:
        EmptyInput: the whole or one of its elements is empty.
    """
    if not value:
        raise EmptyInput(field, f"is empty; expected {TEXT_OR_TOKENS}")
    batch = [value] if isinstance(value, str) or isinstance(value[0], int) else value
    for index, item in enumerate(batch):
        if not item:
            raise EmptyInput(f"{field}.{index}", "is empty")
    if isinstance(batch[0], str):
        return TextInputs(cast(list[str], batch))
    return TokenInputs(cast(list[list[int]], batch))
