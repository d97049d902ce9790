"""The native routes' JSON to our messages and back. Pure."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import orjson

from service.core.errors import ServiceError
from service.core.messages import (
    Array,
    InferRequest,
    InferResponse,
    Inputs,
    ModelEvent,
    ModelInfo,
    ModelSpec,
    ModelStats,
    Readiness,
    TensorInputs,
)
from service.core.settings import LimitSettings
from service.protocols.base import BadField, to_seconds
from service.protocols.inputs import TEXT_OR_TOKENS, EmptyInput, check_count, to_inputs
from service.protocols.native.schemas import LoadBody, PredictBody
from service.protocols.outputs import jsonable

_MAX_TENSORS = 64
_UNLIMITED = 2**31 - 1
"""What a model says whose positions are relative."""
# types of the nested lists' elements -> dtype of the tensor; the first that fits
_DTYPES: tuple[tuple[set[type], type[np.generic]], ...] = (
    ({bool}, np.bool_),
    ({bool, int}, np.int64),
    ({bool, int, float}, np.float32),
)
_FACTS = (
    "task", "framework", "architecture", "dtype", "device", "num_parameters", "num_bytes",
    "max_length",
)  # fmt: skip


def to_request(
    name: str, body: PredictBody, timeout_ms: int | None, limits: LimitSettings
) -> InferRequest:
    """Translate a prediction.

    Raises:
        EmptyInput: an input is empty.
        BadField: an input is of another type, a tensor is ragged or not of numbers, or the
            question is given twice; the message names it.
        TooLarge: more inputs or token ids than ``limits`` allow.
    """
    inputs, parameters = body.inputs, body.parameters
    if _is_question(inputs):
        if "question" in parameters:
            raise BadField("parameters.question", "given a second time; inputs has one")
        parameters = parameters | {"question": inputs["question"]}
        inputs = inputs["context"]
    return InferRequest(
        model=name,
        inputs=_inputs(inputs, limits),
        parameters=parameters,
        timeout_s=to_seconds(timeout_ms),
        protocol="native",
    )


def _is_question(value: Any) -> bool:
    """Whether it is what huggingface_hub's client sends for question-answering."""
    return (
        isinstance(value, dict)
        and value.keys() == {"question", "context"}
        and all(isinstance(text, str) for text in value.values())
    )


def _inputs(value: Any, limits: LimitSettings) -> Inputs:
    if not isinstance(value, dict):
        accepted = f"{TEXT_OR_TOKENS}, or an object of tensors by name"
        return to_inputs(value, "inputs", limits, accepted)
    if not value:
        raise EmptyInput("inputs", "is empty; expected tensors by name")
    if len(value) > _MAX_TENSORS:
        raise BadField("inputs", f"{len(value)} tensors; expected at most {_MAX_TENSORS}")
    for name, nested in value.items():
        if isinstance(nested, str):
            raise BadField(
                f"inputs.{name}",
                "got text, but an object means tensors by name; texts go in a string or a list",
            )
        check_count(len(nested) if isinstance(nested, list) else 0, limits)
    return TensorInputs({name: to_tensor(name, nested) for name, nested in value.items()})


def to_tensor(name: str, nested: Any) -> Array:
    """Make a tensor of nested lists: int64 of integers, float32 of numbers, bool of booleans.

    Raises:
        EmptyInput: it has no element.
        BadField: it is ragged, no list, of anything but numbers, or out of its dtype's range.
    """
    field = f"inputs.{name}"
    array = np.array(nested, dtype=object)  # one pointer per element, whatever they are
    if array.ndim == 0:
        raise BadField(field, "expected nested lists, the first level being the batch")
    if array.size == 0:
        raise EmptyInput(field, "is empty")
    kinds = set(map(type, array.ravel()))
    if list in kinds:
        raise BadField(field, "the lists in one level differ in length")
    dtype = next((dtype for known, dtype in _DTYPES if kinds <= known), None)
    if dtype is None:
        raise BadField(field, "expected integers, numbers or booleans only")
    try:
        with np.errstate(over="ignore"):
            tensor: Array = array.astype(dtype)
    except OverflowError:
        raise BadField(field, "expected integers below 2**63") from None
    if not np.isfinite(tensor).all():
        raise BadField(field, "has a number out of the range of float32")
    return tensor


def to_prediction(response: InferResponse) -> dict[str, Any]:
    """Translate an answer; for numbers JSON cannot write see ``jsonable``."""
    return {
        "model": response.model,
        "version": response.version,
        "task": response.task,
        "outputs": jsonable(response.outputs),
        "num_tokens": response.num_tokens,
    }


def to_spec(body: LoadBody) -> ModelSpec:
    """Translate what is to be loaded."""
    return ModelSpec(**body.model_dump())


def to_row(info: ModelInfo) -> dict[str, Any]:
    """Translate one model version. An absolute source is this machine's business, not told."""
    row: dict[str, Any] = {
        "name": info.spec.name,
        "version": info.spec.version,
        "state": info.state,
        "reason": info.reason,
        "created": int(info.created_s),
    }
    row |= {name: getattr(info.facts, name, None) for name in _FACTS}
    if row["max_length"] == _UNLIMITED:
        row["max_length"] = None
    if not os.path.isabs(info.spec.source):
        row["source"] = info.spec.source
    return row


def to_stats(name: str, stats: ModelStats) -> dict[str, Any]:
    """Translate a model's size and cost."""
    sizes: Mapping[str, int] = stats.num_bytes_by_dtype
    return {"name": name, **asdict(stats), "num_bytes_by_dtype": dict(sizes)}


def to_ready(readiness: Readiness) -> dict[str, Any]:
    """Translate readiness."""
    return {"ready": readiness.ready, "waiting_for": list(readiness.waiting_for)}


def to_sse(event: ModelEvent) -> bytes:
    """Write one event for a ``text/event-stream``; the data are the fields of ``ModelEvent``."""
    return b"event: state\ndata: " + orjson.dumps(event) + b"\n\n"


def to_error(error: ServiceError) -> dict[str, Any]:
    """Translate a failure."""
    return {"error": {"type": error.kind.value, "message": error.message}}
