"""TensorFlow Serving's words to ours and back. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.core.errors import ModelNotFound, ModelNotReady, ServiceError, UnsupportedInput
from service.core.messages import (
    Array,
    InferRequest,
    InferResponse,
    ModelFacts,
    ModelInfo,
    SignatureFacts,
    TensorFacts,
    TensorInputs,
)
from service.core.settings import LimitSettings
from service.core.signatures import DEFAULT_SIGNATURE, choose_signature
from service.protocols.base import BadField, to_seconds
from service.protocols.inputs import EmptyInput
from service.protocols.tensors import from_texts, to_tensors
from service.protocols.tf_serving.schemas import TfPredictBody

_DTYPES = {
    "float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "bool": "DT_BOOL",
    "bfloat16": "DT_BFLOAT16", "string": "DT_STRING",
}  # fmt: skip


def to_request(
    info: ModelInfo, version: str | None, body: TfPredictBody, timeout_ms: int | None,
    limits: LimitSettings,
) -> InferRequest:  # fmt: skip
    """Translate a prediction.

    Raises:
        ModelNotReady: what the model takes is not known yet.
        BadRequest: no such signature.
        BadField: both or neither of ``instances`` and ``inputs``, or a part of it does not fit.
        EmptyInput: there is nothing to compute on.
        TooLarge: more rows than ``limits`` allow.
    """
    if info.facts is None:
        raise ModelNotReady(info.spec.name, info.state, info.reason)
    signature = choose_signature(body.signature_name or None, info.facts)
    columns = _columns(body, _input_names(info.facts, signature))
    return InferRequest(
        model=info.spec.name,
        inputs=TensorInputs(to_tensors(columns, limits)),
        version=version,
        signature=signature or None,
        timeout_s=to_seconds(timeout_ms),
        protocol="tf_serving",
    )


def _input_names(facts: ModelFacts, signature: str) -> Sequence[str]:
    return tuple(facts.signatures[signature].inputs) if signature else facts.inputs


def _columns(body: TfPredictBody, names: Sequence[str]) -> dict[str, Any]:
    """The tensors by name, whichever format they came in."""
    if (body.instances is None) == (body.inputs is None):
        raise BadField("instances", "expected either instances (by row) or inputs (by column)")
    if body.inputs is not None:
        named = _is_named(body.inputs)
        return dict(body.inputs) if named else {_only(names, "inputs"): body.inputs}
    rows = body.instances
    if not isinstance(rows, list):
        raise BadField("instances", "expected a list with an entry for each row")
    if not rows:
        raise EmptyInput("instances", "is empty; expected at least one")
    if not any(map(_is_named, rows)):
        return {_only(names, "instances"): rows}
    for index, row in enumerate(rows):
        if not _is_named(row) or row.keys() != rows[0].keys():
            raise BadField(f"instances.{index}", "has other inputs than the first entry")
    return {name: [row[name] for row in rows] for name in rows[0]}


def _is_named(value: Any) -> bool:
    """Whether it is an object of inputs by name, and not of bytes in base64."""
    return isinstance(value, dict) and value.keys() != {"b64"}


def _only(names: Sequence[str], field: str) -> str:
    if len(names) == 1:
        return names[0]
    raise BadField(
        field, f"has no names, and the model does not have one input; accepted: {', '.join(names)}"
    )


def to_predictions(response: InferResponse, body: TfPredictBody) -> dict[str, Any]:
    """Translate an answer into the format of its question.

    Raises:
        UnsupportedInput: in the row format, an output has not one row for each entry.
    """
    outputs: Mapping[str, Array] = response.outputs
    values = {name: _value(name, array) for name, array in outputs.items()}
    if body.instances is None:
        return {"outputs": _unnamed(values)}
    count = len(body.instances)
    for name, array in outputs.items():
        if not array.ndim or len(array) != count:
            raise UnsupportedInput(
                f"output {name!r} has the shape {list(array.shape)} for {count} instances; "
                "accepted: the columnar format (inputs)"
            )
    if len(values) == 1:
        return {"predictions": _unnamed(values)}
    return {"predictions": [{name: v[row] for name, v in values.items()} for row in range(count)]}


def _unnamed(values: Mapping[str, Any]) -> Any:
    return next(iter(values.values())) if len(values) == 1 else values


def _value(name: str, array: Array) -> Any:
    if array.dtype == object:
        return from_texts(array, as_bytes=name.endswith("_bytes"))
    if array.dtype.itemsize <= 2 and array.dtype.kind in "fV":  # half precision, bfloat16
        array = array.astype(np.float32)
    return np.ascontiguousarray(array) if array.ndim else array.item()


def is_finite(response: InferResponse) -> bool:
    """Whether plain JSON can write every number."""
    arrays: list[Array] = list(response.outputs.values())
    return all(np.isfinite(array).all() for array in arrays if array.dtype.kind in "fV")


def to_metadata(info: ModelInfo) -> dict[str, Any]:
    """Translate signatures; of a model without, the inputs that its forward needs.

    Raises:
        ModelNotReady: they are not known yet.
    """
    facts = info.facts
    if facts is None:
        raise ModelNotReady(info.spec.name, info.state, info.reason)
    inputs = {name: TensorFacts("", None) for name in facts.inputs}
    signatures = facts.signatures or {DEFAULT_SIGNATURE: SignatureFacts(inputs, {})}
    return {
        "model_spec": {
            "name": info.spec.name, "signature_name": "", "version": info.spec.version
        },
        "metadata": {
            "signature_def": {
                "signature_def": {name: _signature(each) for name, each in signatures.items()}
            }
        },
    }  # fmt: skip


def _signature(facts: SignatureFacts) -> dict[str, Any]:
    return {
        "inputs": {name: _tensor(name, each) for name, each in facts.inputs.items()},
        "outputs": {name: _tensor(name, each) for name, each in facts.outputs.items()},
        "method_name": "tensorflow/serving/predict",
    }


def _tensor(name: str, facts: TensorFacts) -> dict[str, Any]:
    dims = [{"size": str(-1 if n is None else n), "name": ""} for n in facts.shape or ()]
    known = _DTYPES.get(facts.dtype) or f"DT_{facts.dtype.upper() or 'INVALID'}"
    return {
        "dtype": known,
        "tensor_shape": {"dim": dims, "unknown_rank": facts.shape is None},
        "name": name,
    }


def to_error(error: ServiceError) -> dict[str, Any]:
    """Translate a failure."""
    if isinstance(error, ModelNotFound):
        wanted = f"Specific({error.name}, {error.version})" if error.version else None
        return {"error": f"Servable not found for request: {wanted or f'Latest({error.name})'}"}
    return {"error": error.message}
