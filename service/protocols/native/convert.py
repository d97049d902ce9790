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
from service.protocols.base import BadField, to_seconds
from service.protocols.inputs import EmptyInput, to_inputs
from service.protocols.native.schemas import LoadBody, PredictBody
from service.protocols.outputs import jsonable

# kind of the nested list's numbers -> dtype of the tensor
_DTYPES: dict[str, type[np.generic]] = {"b": np.bool_, "i": np.int64, "f": np.float32}
_FACTS = (
    "task", "framework", "architecture", "dtype", "device", "num_parameters", "num_bytes",
    "max_length",
)  # fmt: skip


def to_request(name: str, body: PredictBody, timeout_ms: int | None) -> InferRequest:
    """Translate a prediction.

    Raises:
        EmptyInput: an input is empty.
        BadField: a tensor is ragged or not of numbers; the message names it.
    """
    return InferRequest(
        model=name,
        inputs=_inputs(body.inputs),
        parameters=body.parameters,
        timeout_s=to_seconds(timeout_ms),
        protocol="native",
    )


def _inputs(value: str | list[Any] | dict[str, Any]) -> Inputs:
    if not isinstance(value, dict):
        return to_inputs(value, "inputs")
    if not value:
        raise EmptyInput("inputs", "is empty; expected tensors by name")
    return TensorInputs({name: to_tensor(name, nested) for name, nested in value.items()})


def to_tensor(name: str, nested: Any) -> Array:
    """Make a tensor of nested lists: int64 of integers, float32 of numbers, bool of booleans.

    Raises:
        EmptyInput: it has no element.
        BadField: it is ragged, no list, of anything but numbers, or out of its dtype's range.
    """
    field = f"inputs.{name}"
    try:
        array = np.array(nested)
    except ValueError:
        raise BadField(field, "the lists in one level differ in length") from None
    if array.ndim == 0:
        raise BadField(field, "expected nested lists, the first level being the batch")
    if array.size == 0:
        raise EmptyInput(field, "is empty")
    dtype = _DTYPES.get(array.dtype.kind)
    if dtype is None:
        raise BadField(field, "expected integers below 2**63, numbers or booleans only")
    with np.errstate(over="ignore"):
        tensor: Array = array.astype(dtype)
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
