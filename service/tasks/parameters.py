"""Reading a request's ``parameters`` into a task's own struct."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from service.core.errors import BadRequest


class TextParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Accepted by every task on texts.

    Attributes:
        truncate: cut texts that are too long; without it they are refused.
        truncation_direction: the end that is cut; None means the tokenizer's own setting.
        nullable: parameters for which null says something; for the others it means "not given".
    """

    nullable: ClassVar[frozenset[str]] = frozenset()
    truncate: bool = False
    truncation_direction: Literal["left", "right"] | None = None


ParametersT = TypeVar("ParametersT", bound=TextParameters)


def read_parameters(kind: type[ParametersT], given: Mapping[str, Any], task: str) -> ParametersT:
    """Check and convert parameters.

    Args:
        kind: the task's struct; its field names are the parameters.
        given: the client's values; null counts as not given unless ``kind.nullable`` names it.
        task: name for messages.

    Raises:
        BadRequest: an unknown parameter (named, with the accepted ones), a wrong type or a
            value out of range, or a required one is missing.
    """
    accepted = kind.__struct_fields__
    for name in given:
        if name not in accepted:
            raise BadRequest(
                f"parameter {name!r} is unknown to {task}; accepted: {', '.join(accepted)}"
            )
    values = {k: v for k, v in given.items() if v is not None or k in kind.nullable}
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"parameters of {task}: {error}") from error
