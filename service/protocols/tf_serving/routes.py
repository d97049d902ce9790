"""TensorFlow Serving's routes: parse, call the data plane, encode.

``GET /v1/models/{name}`` is OpenAI's as well: its answer has what both protocols' clients read.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from typing_extensions import override

from service.core.errors import ServiceError
from service.core.metrics import Metrics
from service.core.settings import LimitSettings, Settings
from service.dataplane import DataPlane
from service.protocols.base import (
    Answers,
    Handler,
    JsonResponse,
    TimeoutMs,
    WireProtocol,
    error_response,
    route_class,
)
from service.protocols.status import STATUS
from service.protocols.tf_serving.convert import (
    is_finite,
    to_error,
    to_metadata,
    to_predictions,
    to_request,
)
from service.protocols.tf_serving.schemas import (
    ErrorAnswer,
    MetadataAnswer,
    Predictions,
    StatusAnswer,
    TfPredictBody,
)
from service.protocols.versions import version_status

_FAILURES: Answers = {"default": {"model": ErrorAnswer, "description": "Why there is no answer"}}
_PREDICTED: Answers = {200: {"model": Predictions, "description": "In the format asked in"}}
_STATUS: Answers = {200: {"model": StatusAnswer, "description": "The version's state"}}
_METADATA: Answers = {200: {"model": MetadataAnswer, "description": "Every signature"}}
_MODEL = "/v1/models/{name:path}"
# A label is a version that is not a number.
_VERSIONS = (f"{_MODEL}/versions/{{version}}", f"{_MODEL}/labels/{{version}}")
_PREDICT = ":predict"
_CONTENT_TYPE = b"content-type"
_OWN_PATH = re.compile(r"/v1/models/.+(:[A-Za-z]+|/metadata|/(versions|labels)/[^/]+)")


class TfServing(WireProtocol):
    """Status, metadata and predictions of SavedModels, and of any model that takes raw tensors."""

    name = "tf_serving"

    @override
    def owns(self, path: str) -> bool:
        return _OWN_PATH.fullmatch(path) is not None

    @override
    def encode_error(self, error: ServiceError, status: int | None = None) -> Response:
        return error_response(to_error(error), status or STATUS[error.kind][0], error)

    @override
    def is_inference(self, path: str) -> bool:
        return path.startswith("/v1/models/") and path.endswith(_PREDICT)

    @override
    def install(
        self, app: FastAPI, dataplane: DataPlane, settings: Settings, metrics: Metrics
    ) -> None:
        router = APIRouter(
            tags=["TensorFlow Serving"],
            route_class=_any_content_type(route_class(self, dataplane, metrics)),
            responses=_FAILURES,
        )
        # What follows a version is matched before what follows a name, which may hold a slash.
        _add_predict(router, dataplane, settings.limits)
        _add_metadata(router, dataplane)
        _add_status(router, dataplane)
        app.include_router(router)


def _any_content_type(route: type[APIRoute]) -> type[APIRoute]:
    """Read every body as JSON: clients of TensorFlow Serving say nothing, or that it is a form."""

    class JsonRoute(route):  # type: ignore[valid-type, misc]
        @override
        def get_route_handler(self) -> Handler:
            handle: Handler = super().get_route_handler()

            async def handle_as_json(request: Request) -> Response:
                others = [pair for pair in request.scope["headers"] if pair[0] != _CONTENT_TYPE]
                headers = [*others, (_CONTENT_TYPE, b"application/json")]
                scope = {**request.scope, "headers": headers}
                return await handle(Request(scope, request.receive))

            return handle_as_json

    return JsonRoute


def _add_predict(router: APIRouter, dataplane: DataPlane, limits: LimitSettings) -> None:
    async def answer(
        name: str, version: str | None, body: TfPredictBody, timeout_ms: int | None
    ) -> Response:
        request = to_request(dataplane.model(name, version), version, body, timeout_ms, limits)
        response = await dataplane.infer(request)
        kind = JsonResponse if is_finite(response) else _BareWords
        return kind(to_predictions(response, body))

    async def predict_version(
        name: str, version: str, body: TfPredictBody, timeout_ms: TimeoutMs = None
    ) -> Response:
        """Ask one version of a model, by row (instances) or by column (inputs)."""
        return await answer(name, version, body, timeout_ms)

    async def predict(name: str, body: TfPredictBody, timeout_ms: TimeoutMs = None) -> Response:
        """Ask the version that takes the traffic, by row (instances) or by column (inputs)."""
        return await answer(name, None, body, timeout_ms)

    _add(router.post, _PREDICT, predict_version, predict, "Predict", _PREDICTED)


def _add_metadata(router: APIRouter, dataplane: DataPlane) -> None:
    async def metadata_version(name: str, version: str) -> Response:
        """Tell what one version of a model takes and gives."""
        return JsonResponse(to_metadata(dataplane.model(name, version)))

    async def metadata(name: str) -> Response:
        """Tell what a model takes and gives."""
        return JsonResponse(to_metadata(dataplane.model(name)))

    _add(router.get, "/metadata", metadata_version, metadata, "Metadata", _METADATA)


def _add_status(router: APIRouter, dataplane: DataPlane) -> None:
    async def status(name: str, version: str) -> Response:
        """Tell the state of one version."""
        info = dataplane.model(name, version)
        return JsonResponse({"model_version_status": version_status([info])})

    _add(router.get, "", status, None, "Status", _STATUS)


def _add(
    method: Callable[..., Any], suffix: str, of_version: Callable[..., Any],
    of_model: Callable[..., Any] | None, summary: str, answers: Answers,
) -> None:  # fmt: skip
    """Add one kind of route for versions, labels and, if there is one, the name alone."""
    for path in _VERSIONS:
        method(path + suffix, summary=f"{summary} of a version", responses=answers)(of_version)
    if of_model is not None:
        method(_MODEL + suffix, summary=summary, responses=answers)(of_model)


class _BareWords(Response):
    """JSON with NaN, Infinity and -Infinity, as TensorFlow Serving writes them."""

    media_type = "application/json"

    @override
    def render(self, content: Any) -> bytes:
        return json.dumps(content, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
