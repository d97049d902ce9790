"""Nested lists by name to tensors, as several protocols spell them, and texts in tensors back."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from service.core.messages import Array
from service.core.settings import LimitSettings
from service.protocols.base import BadField
from service.protocols.inputs import EmptyInput, check_count

_MAX_TENSORS = 64
# types of the nested lists' elements -> dtype of the tensor; the first that fits
_DTYPES: tuple[tuple[set[type], type[np.generic]], ...] = (
    ({bool}, np.bool_),
    ({bool, int}, np.int64),
    ({bool, int, float}, np.float64),
)


def to_tensors(value: Mapping[str, Any], limits: LimitSettings) -> dict[str, Array]:
    """Make tensors of nested lists by name.

    Raises:
        EmptyInput, BadField: see ``to_tensor``; there is none, or there are too many.
        TooLarge: one has more rows than ``limits.max_inputs``.
    """
    if not value:
        raise EmptyInput("inputs", "is empty; expected tensors by name")
    if len(value) > _MAX_TENSORS:
        raise BadField("inputs", f"{len(value)} tensors; expected at most {_MAX_TENSORS}")
    for nested in value.values():
        check_count(len(nested) if isinstance(nested, list) else 0, limits)
    return {name: to_tensor(name, nested) for name, nested in value.items()}


def to_tensor(name: str, nested: Any) -> Array:
    """Make a tensor of nested lists, or of a lone value, which has no axis.

    Integers become int64, numbers float64, booleans bool; texts, and bytes as ``{"b64": "..."}``,
    become an object array of byte strings (a text's in UTF-8).

    Raises:
        EmptyInput: it has no element.
        BadField: it is ragged, of anything else, mixed, or out of float64's or int64's range.
    """
    field = f"inputs.{name}"
    array = np.array(nested, dtype=object)  # one pointer per element, whatever they are
    if array.size == 0:
        raise EmptyInput(field, "is empty")
    kinds = set(map(type, array.ravel()))
    if list in kinds:
        raise BadField(field, "the lists in one level differ in length")
    if kinds <= {str, dict}:
        return _to_texts(field, array)
    dtype = next((dtype for known, dtype in _DTYPES if kinds <= known), None)
    if dtype is None:
        raise BadField(field, "expected integers, numbers or booleans only, or texts only")
    try:
        tensor: Array = array.astype(dtype)
    except OverflowError:
        raise BadField(field, "expected integers below 2**63") from None
    if not np.isfinite(tensor).all():
        raise BadField(field, "has a number out of the range of float64")
    return tensor


def _to_texts(field: str, array: Array) -> Array:
    texts = np.empty(array.size, object)
    for index, value in enumerate(array.ravel()):
        texts[index] = value.encode() if isinstance(value, str) else _from_base64(field, value)
    return texts.reshape(array.shape)


def _from_base64(field: str, value: dict[str, Any]) -> bytes:
    if value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except binascii.Error:
            pass
    raise BadField(field, 'has an object that is not {"b64": "..."} with base64 in it')


def from_texts(array: Array, *, as_bytes: bool = False) -> Any:
    """Nested lists of an object array: texts where the bytes are UTF-8, ``{"b64": ...}`` elsewhere.

    Args:
        array: of byte strings.
        as_bytes: always ``{"b64": ...}``.
    """
    values = np.empty(array.shape, object)
    for index, value in np.ndenumerate(array):
        values[index] = _from_bytes(bytes(value), as_bytes)
    return values.tolist()


def _from_bytes(value: bytes, as_bytes: bool) -> str | dict[str, str]:
    if not as_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode("ascii")}
