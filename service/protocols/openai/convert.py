"""OpenAI's words to ours and back. Pure."""

import base64
from collections.abc import Iterable
from typing import Any

from service.core.errors import ErrorKind, ModelNotFound, ServiceError
from service.core.messages import Array, InferRequest, InferResponse, ModelInfo
from service.core.settings import LimitSettings
from service.protocols.base import BadField, to_seconds
from service.protocols.inputs import refuse_dimensions, to_inputs
from service.protocols.openai.schemas import EmbeddingsBody
from service.protocols.outputs import vectors

# kind                         type                      code
_WORDS: dict[ErrorKind, tuple[str, str | None]] = {
    ErrorKind.BAD_REQUEST:     ("invalid_request_error", None),
    ErrorKind.UNSUPPORTED:     ("invalid_request_error", None),
    ErrorKind.TOO_LARGE:       ("invalid_request_error", "request_too_large"),
    ErrorKind.UNAUTHENTICATED: ("invalid_request_error", "invalid_api_key"),
    ErrorKind.FORBIDDEN:       ("invalid_request_error", "insufficient_permissions"),
    ErrorKind.NOT_FOUND:       ("invalid_request_error", None),
    ErrorKind.CONFLICT:        ("invalid_request_error", "conflict"),
    ErrorKind.NOT_READY:       ("server_error", "model_not_ready"),
    ErrorKind.WORKER_LOST:     ("server_error", "worker_lost"),
    ErrorKind.OVERLOADED:      ("rate_limit_error", "rate_limit_exceeded"),
    ErrorKind.DEADLINE:        ("server_error", "timeout"),
    ErrorKind.OUT_OF_MEMORY:   ("server_error", "out_of_memory"),
    ErrorKind.BACKEND:         ("server_error", None),
}  # fmt: skip


def to_request(body: EmbeddingsBody, timeout_ms: int | None, limits: LimitSettings) -> InferRequest:
    """Translate a request for embeddings.

    Raises:
        BadField: ``dimensions`` is set, or an input is of another type.
        EmptyInput: an input is empty.
        TooLarge: more inputs or token ids than ``limits`` allow.
    """
    refuse_dimensions(body.dimensions)
    return InferRequest(
        model=body.model,
        inputs=to_inputs(body.input, "input", limits),
        task="feature-extraction",
        timeout_s=to_seconds(timeout_ms),
        protocol="openai",
    )


def to_embeddings(response: InferResponse, encoding_format: str | None) -> dict[str, Any]:
    """Translate vectors.

    Raises:
        UnsupportedInput: the model does not give one vector per input.
    """
    encode = _base64 if encoding_format == "base64" else _float
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(vectors(response))
        ],
        "model": response.model,
        "usage": {"prompt_tokens": response.num_tokens, "total_tokens": response.num_tokens},
    }


def _float(vector: Array) -> Array:
    return vector


def _base64(vector: Array) -> str:
    return base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode("ascii")


def to_model(info: ModelInfo) -> dict[str, Any]:
    """Translate one model."""
    return {
        "id": info.spec.name,
        "object": "model",
        "created": int(info.created_s),
        "owned_by": "model-base",
    }


def to_models(infos: Iterable[ModelInfo]) -> dict[str, Any]:
    """Translate the list: every known name once, whatever its state and versions."""
    by_name = {info.spec.name: to_model(info) for info in infos}
    return {"object": "list", "data": list(by_name.values())}


def to_error(error: ServiceError) -> dict[str, Any]:
    """Translate a failure."""
    kind, code = _WORDS[error.kind]
    if isinstance(error, ModelNotFound):
        code = "model_not_found"
    param = error.field.split(".")[0] if isinstance(error, BadField) else None
    return {"error": {"message": error.message, "type": kind, "param": param, "code": code}}
