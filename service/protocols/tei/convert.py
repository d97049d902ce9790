"""Text Embeddings Inference's words to ours and back. Pure."""

import os
from typing import Any

import service
from service.core.errors import ErrorKind, ModelNotReady, ServiceError
from service.core.messages import InferRequest, ModelFacts, ModelInfo
from service.core.settings import LimitSettings, Settings
from service.protocols.base import to_seconds
from service.protocols.inputs import EmptyInput, refuse_dimensions, to_inputs
from service.protocols.status import STATUS
from service.protocols.tei.schemas import EmbedBody

# TEI has statuses of its own for these; the rest follow the common table.
_STATUS = {ErrorKind.BAD_REQUEST: 422, ErrorKind.UNSUPPORTED: 422, ErrorKind.BACKEND: 424}
_TYPE = {
    ErrorKind.BAD_REQUEST: "validation",
    ErrorKind.UNSUPPORTED: "validation",
    ErrorKind.TOO_LARGE: "validation",
    ErrorKind.NOT_READY: "unhealthy",
    ErrorKind.WORKER_LOST: "unhealthy",
    ErrorKind.BACKEND: "backend",
}


def to_request(
    body: EmbedBody, model: str, timeout_ms: int | None, limits: LimitSettings
) -> InferRequest:
    """Translate a request for embeddings of ``model``.

    ``truncate`` and ``normalize`` are always sent, since TEI's defaults may not be the task's;
    the rest only if the client sent it.

    Raises:
        BadField: ``dimensions`` is set, or an input is of another type.
        EmptyInput: an input is empty.
        TooLarge: more inputs or token ids than ``limits`` allow.
    """
    refuse_dimensions(body.dimensions)
    parameters: dict[str, Any] = {"truncate": bool(body.truncate), "normalize": body.normalize}
    for name in ("truncation_direction", "prompt_name"):
        if name in body.model_fields_set:
            parameters[name] = getattr(body, name)
    return InferRequest(
        model=model,
        inputs=to_inputs(body.inputs, "inputs", limits),
        task="feature-extraction",
        parameters=parameters,
        timeout_s=to_seconds(timeout_ms),
        protocol="tei",
    )


def to_info(info: ModelInfo, settings: Settings) -> dict[str, Any]:
    """Describe the default model as TEI would.

    Raises:
        ModelNotReady: the model was never loaded, so its size and dtype are not known.
    """
    if info.facts is None:
        raise ModelNotReady(info.spec.name, info.state, info.reason)
    name, source = info.spec.name, info.spec.source
    return {
        "model_id": name if os.path.isabs(source) else source,
        "model_sha": None,
        "model_dtype": info.facts.dtype,
        "served_model_name": name,
        "model_type": _model_type(info.facts),
        "max_concurrent_requests": settings.limits.max_queued_requests,
        "max_input_length": info.facts.max_length,
        "max_batch_tokens": settings.batching.max_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": settings.limits.max_inputs,
        "auto_truncate": False,
        "tokenization_workers": settings.worker.threads or os.cpu_count() or 1,
        "version": service.__version__,
        "sha": None,
        "docker_label": None,
    }


def _model_type(facts: ModelFacts) -> dict[str, Any] | None:
    """TEI's word for what the model does; None for what TEI has no word for."""
    return {"embedding": {"pooling": facts.pooling}} if facts.pooling else None


def to_error(error: ServiceError) -> tuple[int, dict[str, Any]]:
    """Translate a failure to its status and body."""
    if isinstance(error, EmptyInput):
        return 400, {"error": error.message, "error_type": "empty"}
    status = _STATUS.get(error.kind, STATUS[error.kind][0])
    return status, {
        "error": error.message,
        "error_type": _TYPE.get(error.kind, error.kind.value),
    }
