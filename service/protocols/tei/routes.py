"""Text Embeddings Inference's routes: parse, call the data plane, encode."""

from fastapi import APIRouter, FastAPI, Request, Response
from typing_extensions import override

from service.core.errors import ServiceError
from service.core.metrics import Metrics
from service.core.settings import Settings
from service.dataplane import DataPlane
from service.protocols.base import (
    Answers,
    JsonResponse,
    TimeoutMs,
    WireProtocol,
    error_response,
    route_class,
)
from service.protocols.outputs import vectors
from service.protocols.tei.convert import to_error, to_info, to_request
from service.protocols.tei.schemas import EmbedBody, ErrorAnswer, InfoAnswer

_FAILURES: Answers = {"default": {"model": ErrorAnswer, "description": "Why there is no answer"}}
_VECTORS: Answers = {200: {"model": list[list[float]], "description": "One vector per input"}}


class Tei(WireProtocol):
    """What clients of Text Embeddings Inference need; they mean the default model."""

    name = "tei"

    @override
    def owns(self, path: str) -> bool:
        return path in ("/", "/embed", "/info")

    @override
    def encode_error(self, error: ServiceError, status: int | None = None) -> Response:
        own_status, body = to_error(error)
        return error_response(body, status or own_status, error)

    @override
    def is_inference(self, path: str) -> bool:
        return path in ("/", "/embed")

    @override
    def install(
        self, app: FastAPI, dataplane: DataPlane, settings: Settings, metrics: Metrics
    ) -> None:
        router = APIRouter(
            tags=["Text Embeddings Inference"],
            route_class=route_class(self, dataplane, metrics),
            responses=_FAILURES,
        )

        @router.post("/", summary="Embed texts, as huggingface_hub asks", responses=_VECTORS)
        @router.post("/embed", summary="Embed texts", responses=_VECTORS)
        async def embed(http: Request, body: EmbedBody, timeout_ms: TimeoutMs = None) -> Response:
            """Embed a text, a list of texts, or token ids with the default model."""
            http.state.model = dataplane.default_model()
            request = to_request(body, http.state.model, timeout_ms, settings.limits)
            return JsonResponse(vectors(await dataplane.infer(request)))

        @router.get(
            "/info",
            summary="Describe the default model",
            responses={200: {"model": InfoAnswer, "description": "The model and its limits"}},
        )
        async def info(http: Request) -> Response:
            """Describe the default model and the limits of the service."""
            http.state.model = dataplane.default_model()
            return JsonResponse(to_info(dataplane.model(http.state.model), settings))

        app.include_router(router)
