"""OpenAI's routes: parse, call the data plane, encode."""

from fastapi import APIRouter, FastAPI, Request, Response
from typing_extensions import override

from service.core.errors import ServiceError
from service.core.metrics import Metrics
from service.core.settings import LimitSettings, Settings
from service.dataplane import DataPlane
from service.protocols.base import (
    Answers,
    JsonResponse,
    TimeoutMs,
    WireProtocol,
    error_response,
    route_class,
)
from service.protocols.openai.convert import (
    to_embeddings,
    to_error,
    to_model,
    to_models,
    to_request,
)
from service.protocols.openai.schemas import (
    EmbeddingsAnswer,
    EmbeddingsBody,
    ErrorAnswer,
    ModelsAnswer,
    ModelWithVersions,
)
from service.protocols.status import STATUS
from service.protocols.versions import version_status

_FAILURES: Answers = {"default": {"model": ErrorAnswer, "description": "Why there is no answer"}}


class OpenAI(WireProtocol):
    """What OpenAI's clients need for embeddings."""

    name = "openai"

    @override
    def owns(self, path: str) -> bool:
        return path == "/v1" or path.startswith("/v1/")

    @override
    def encode_error(self, error: ServiceError, status: int | None = None) -> Response:
        return error_response(to_error(error), status or STATUS[error.kind][0], error)

    @override
    def is_inference(self, path: str) -> bool:
        return path == "/v1/embeddings"

    @override
    def install(
        self, app: FastAPI, dataplane: DataPlane, settings: Settings, metrics: Metrics
    ) -> None:
        router = APIRouter(
            prefix="/v1",
            tags=["OpenAI"],
            route_class=route_class(self, dataplane, metrics),
            responses=_FAILURES,
        )
        _add_embeddings(router, dataplane, settings.limits)
        _add_models(router, dataplane)
        app.include_router(router)


def _add_embeddings(router: APIRouter, dataplane: DataPlane, limits: LimitSettings) -> None:
    @router.post(
        "/embeddings",
        summary="Embed texts",
        responses={200: {"model": EmbeddingsAnswer, "description": "One vector per input"}},
    )
    async def embeddings(
        http: Request, body: EmbeddingsBody, timeout_ms: TimeoutMs = None
    ) -> Response:
        """Embed a text, a list of texts, or token ids.

        An input longer than the model takes is refused, not cut.
        """
        http.state.model = body.model
        response = await dataplane.infer(to_request(body, timeout_ms, limits))
        return JsonResponse(to_embeddings(response, body.encoding_format))


def _add_models(router: APIRouter, dataplane: DataPlane) -> None:
    @router.get(
        "/models",
        summary="List models",
        responses={200: {"model": ModelsAnswer, "description": "Every name once"}},
    )
    async def models() -> Response:
        """List every model the service knows, ready or not."""
        return JsonResponse(to_models(dataplane.models()))

    @router.get(
        "/models/{name:path}",
        summary="Describe a model",
        responses={200: {"model": ModelWithVersions, "description": "The model"}},
    )
    async def model(name: str) -> Response:
        """Describe one model; its versions are as TensorFlow Serving tells them on this path."""
        model = to_model(dataplane.model(name))
        versions = [info for info in dataplane.models() if info.spec.name == name]
        return JsonResponse(model | {"model_version_status": version_status(versions)})
