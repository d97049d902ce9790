"""A task's answers on their way to JSON."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from service.core.errors import BackendFailed, UnsupportedInput
from service.core.messages import Array, InferResponse
from service.protocols.tensors import from_texts


def vectors(response: InferResponse) -> Array:
    """One vector per input, ``[inputs, dims]`` float32.

    Raises:
        UnsupportedInput: the model gives a vector per token.
        BackendFailed: a vector holds NaN or infinity, which no client could use.
    """
    outputs = response.outputs
    if not isinstance(outputs, np.ndarray) or outputs.ndim != 2:
        raise UnsupportedInput(
            f"model {response.model!r} has no pooling (no modules.json): it gives one vector per "
            "token, on the native route "
            f"/models/{response.model}/predict; accepted here: a model with one vector per input"
        )
    if not np.isfinite(outputs).all():
        raise BackendFailed(f"model {response.model!r} computed a vector that is not finite")
    return np.ascontiguousarray(outputs, dtype=np.float32)


def jsonable(value: Any) -> Any:
    """Make nested outputs safe to write as JSON.

    JSON has no NaN and no infinity, and ``null`` would lose which of them it was: they become
    the texts ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``.

    Source: the JSON mapping of Protocol Buffers 3, where floats are written the same way.
    """
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return _name(value)
    return value


def _name(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _array(array: Array) -> Any:
    """Arrays stay arrays, so that they are written without a Python object per number."""
    if array.dtype == object:
        return from_texts(array)
    if array.dtype.itemsize <= 2 and array.dtype.kind in "fV":  # half precision, bfloat16
        array = array.astype(np.float32)
    if array.ndim == 0:
        return jsonable(array.item())
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return jsonable(array.tolist())
    return np.ascontiguousarray(array)
