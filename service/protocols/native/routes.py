"""The service's own routes: parse, call the data plane, encode."""

from typing import Annotated

from fastapi import APIRouter, FastAPI, Query, Response
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
from service.protocols.native.convert import (
    to_error,
    to_prediction,
    to_request,
    to_row,
    to_stats,
)
from service.protocols.native.hub import add_hub
from service.protocols.native.lifecycle import add_lifecycle
from service.protocols.native.operations import add_health, add_metrics
from service.protocols.native.schemas import (
    ErrorAnswer,
    ModelRow,
    PathName,
    PredictAnswer,
    PredictBody,
    StatsAnswer,
)
from service.protocols.status import STATUS

_FAILURES: Answers = {"default": {"model": ErrorAnswer, "description": "Why there is no answer"}}
Size = Annotated[int, Query(ge=1, le=1_000_000)]


class Native(WireProtocol):
    """Models, predictions, health and metrics in our own words."""

    name = "native"

    @override
    def owns(self, path: str) -> bool:
        return True

    @override
    def encode_error(self, error: ServiceError, status: int | None = None) -> Response:
        return error_response(to_error(error), status or STATUS[error.kind][0], error)

    @override
    def is_inference(self, path: str) -> bool:
        return path.startswith("/models/") and path.endswith("/predict")

    @override
    def install(
        self, app: FastAPI, dataplane: DataPlane, settings: Settings, metrics: Metrics
    ) -> None:
        router = APIRouter(route_class=route_class(self, dataplane, metrics), responses=_FAILURES)
        # A name may hold a slash, so what follows a name is matched before a name alone.
        _add_actions(router, dataplane, settings.limits)
        add_lifecycle(router, dataplane)
        add_hub(router, dataplane)
        _add_models(router, dataplane)
        add_health(router, dataplane)
        add_metrics(router, metrics)
        app.include_router(router)


def _add_actions(router: APIRouter, dataplane: DataPlane, limits: LimitSettings) -> None:
    @router.post(
        "/models/{name:path}/predict",
        tags=["Predictions"],
        summary="Ask a model",
        responses={200: {"model": PredictAnswer, "description": "One output per input"}},
    )
    async def predict(name: PathName, body: PredictBody, timeout_ms: TimeoutMs = None) -> Response:
        """Run the model's own task on texts, token ids or raw tensors."""
        request = to_request(name, body, timeout_ms, limits)
        return JsonResponse(to_prediction(await dataplane.infer(request)))

    @router.get(
        "/models/{name:path}/stats",
        tags=["Models"],
        summary="Size and cost of a model",
        responses={200: {"model": StatsAnswer, "description": "Parameters, bytes and operations"}},
    )
    async def stats(
        name: PathName, batch_size: Size = 1, sequence_length: Size | None = None
    ) -> Response:
        """Count parameters, bytes, and the operations of one forward of the given shape.

        A sequence has 128 tokens (of sound: frames), or as many as the model takes if those are
        fewer, unless ``sequence_length`` says how many. Models of images take none. ``inputs`` in
        the answer has the shapes that were counted.
        """
        answer = await dataplane.stats(name, batch_size, sequence_length)
        return JsonResponse(to_stats(name, answer))


def _add_models(router: APIRouter, dataplane: DataPlane) -> None:
    @router.get(
        "/models",
        tags=["Models"],
        summary="List models",
        responses={200: {"model": list[ModelRow], "description": "A row per version"}},
    )
    async def models() -> Response:
        """List every version the service knows, in the order they came."""
        return JsonResponse([to_row(info) for info in dataplane.models()])

    @router.get(
        "/models/{name:path}",
        tags=["Models"],
        summary="Describe a model",
        responses={200: {"model": ModelRow, "description": "The version that takes the traffic"}},
    )
    async def model(name: PathName) -> Response:
        """Describe the version of a model that takes the traffic."""
        return JsonResponse(to_row(dataplane.model(name)))

    @router.delete(
        "/models/{name:path}",
        tags=["Models"],
        summary="Forget a model",
        status_code=204,
        response_description="Unloaded and forgotten",
    )
    async def delete(name: PathName) -> Response:
        """Drain the model, end its worker, and forget it."""
        await dataplane.delete(name)
        return Response(status_code=204)
