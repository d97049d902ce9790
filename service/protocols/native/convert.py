"""The native routes' JSON to our messages and back. Pure."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import orjson

from service.core.errors import ServiceError
from service.core.messages import (
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
from service.protocols.inputs import TEXT_OR_TOKENS, to_inputs
from service.protocols.native.schemas import LoadBody, PredictBody
from service.protocols.outputs import jsonable
from service.protocols.tensors import to_tensors

_UNLIMITED = 2**31 - 1
"""What a model says whose positions are relative."""
_FACTS = (
    "task", "framework", "architecture", "dtype", "device", "num_parameters", "num_bytes",
    "max_length", "signatures",
)  # fmt: skip


def to_request(
    name: str, body: PredictBody, timeout_ms: int | None, limits: LimitSettings
) -> InferRequest:
    """Translate a prediction.

    Raises:
        EmptyInput: an input is empty.
        BadField: an input is of another type, a tensor is ragged, the question is given twice, or
            a signature is given without tensors; the message names it.
        TooLarge: more inputs or token ids than ``limits`` allow.
    """
    inputs, parameters = body.inputs, body.parameters
    if _is_question(inputs):
        if "question" in parameters:
            raise BadField("parameters.question", "given a second time; inputs has one")
        parameters = parameters | {"question": inputs["question"]}
        inputs = inputs["context"]
    if body.signature is not None and not isinstance(inputs, dict):
        raise BadField("signature", "is for tensors by name; inputs has none")
    return InferRequest(
        model=name,
        inputs=_inputs(inputs, limits),
        parameters=parameters,
        signature=body.signature,
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
    for name, nested in value.items():
        if isinstance(nested, str):
            raise BadField(
                f"inputs.{name}",
                "got text, but an object means tensors by name; texts go in a string or a list",
            )
    return TensorInputs(to_tensors(value, limits))


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
    row["signatures"] = row["signatures"] or None
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
