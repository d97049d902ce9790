"""What every wire protocol shares: the interface, JSON in and out, errors in its own words."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
import orjson
from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from typing_extensions import override

from service.core.errors import BackendFailed, BadRequest, ErrorKind, ServiceError
from service.core.metrics import Metrics
from service.core.settings import Settings
from service.dataplane import DataPlane

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Answers = dict[int | str, dict[str, Any]]

UNKNOWN_MODEL = "unknown"
CLIENT_CLOSED = 499
MAX_ECHO = 200
_log = logging.getLogger(__name__)

TimeoutMs = Annotated[
    int | None,
    Header(
        alias="X-Request-Timeout-Ms",
        gt=0,
        le=86_400_000,
        description="Milliseconds the client gives the request; after them it ends with 504.",
    ),
]


class BadField(BadRequest):
    """Raised when one named part of a request is wrong.

    Attributes:
        field: dotted name as the client wrote it, e.g. ``inputs`` or ``inputs.3``.
    """

    def __init__(self, field: str, problem: str) -> None:
        self.field = field[:MAX_ECHO]
        super().__init__(f"{self.field}: {problem}")


class RouteNotFound(ServiceError):
    """Raised when no route has this path."""

    kind = ErrorKind.NOT_FOUND

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"{method} {path[:MAX_ECHO]} is not a route; /docs lists them")


class WireProtocol(Protocol):
    """One way of speaking HTTP with clients. Translates; decides nothing.

    Attributes:
        name: label in metrics.
    """

    name: str

    def owns(self, path: str) -> bool:
        """Whether refusals on ``path`` are to be worded by this protocol."""

    def is_inference(self, path: str) -> bool:
        """Whether a POST to ``path`` only computes; every other POST needs an admin key."""

    def install(
        self, app: FastAPI, dataplane: DataPlane, settings: Settings, metrics: Metrics
    ) -> None:
        """Mount the protocol's routes on ``app``."""

    def encode_error(self, error: ServiceError, status: int | None = None) -> Response:
        """Word ``error`` for this protocol's clients.

        Args:
            error: what went wrong.
            status: HTTP status where HTTP itself asks for another than the table's (405, 408).
        """


class JsonRequest(Request):
    """A request whose JSON body is read strictly.

    NaN, infinities, lone surrogates, bytes that are not UTF-8 and more than 1,024 levels of
    nesting are malformed, and reach the client as such.
    """

    @override
    async def json(self) -> Any:
        return orjson.loads(await self.body())


class JsonResponse(Response):
    """JSON without a detour through response models; numpy arrays are written as they are."""

    media_type = "application/json"

    @override
    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(value: Any) -> Any:
    """Turn an array that orjson does not write (strided, half precision) into lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def error_response(content: Mapping[str, Any], status: int, error: ServiceError) -> JsonResponse:
    """Answer with an error body, and ``Retry-After`` in whole seconds where trying again helps."""
    response = JsonResponse(content, status_code=status)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return response


def to_seconds(timeout_ms: int | None) -> float | None:
    """Translate ``X-Request-Timeout-Ms``."""
    return None if timeout_ms is None else timeout_ms / 1000


def to_bad_field(error: RequestValidationError) -> BadField:
    """Name the first part of the request that did not fit. Values are never repeated."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return BadField("body", f"not valid JSON: {first['ctx']['error']}")
    if isinstance(first.get("input"), bytes):
        return BadField("body", "not read as JSON; send Content-Type: application/json")
    _part, *inner = first["loc"]
    return BadField(".".join(str(step) for step in inner) or "body", first["msg"])


@dataclass(frozen=True, slots=True)
class Meter:
    """Counts answers. A model's name becomes a label only if it is served here."""

    protocol: str
    dataplane: DataPlane
    metrics: Metrics

    def count(self, request: Request, status: int) -> None:
        """Count one answer and the time since the request's first byte."""
        model = self._label(request)
        started_s = getattr(request.state, "received_s", None) or time.monotonic()
        self.metrics.requests.labels(self.protocol, model, str(status)).inc()
        self.metrics.request_seconds.labels(self.protocol, model).observe(
            time.monotonic() - started_s
        )

    def _label(self, request: Request) -> str:
        name = getattr(request.state, "model", None) or request.path_params.get("name")
        if not name:
            return UNKNOWN_MODEL
        try:
            self.dataplane.model(name)
        except ServiceError:
            return UNKNOWN_MODEL
        return str(name)


async def _answer(handle: Handler, request: Request, protocol: WireProtocol) -> Response:
    """Run a route; every failure comes back in the protocol's own words."""
    try:
        return await handle(request)
    except ServiceError as error:
        return protocol.encode_error(error)
    except RequestValidationError as error:
        return protocol.encode_error(to_bad_field(error))
    except HTTPException:
        raise
    except Exception:
        request_id = getattr(request.state, "request_id", "-")
        _log.exception("request %s failed", request_id)
        return protocol.encode_error(
            BackendFailed(f"the service failed on this request; its log knows it as {request_id}")
        )


def route_class(protocol: WireProtocol, dataplane: DataPlane, metrics: Metrics) -> type[APIRoute]:
    """Make the route class of one protocol: strict JSON, its error shape, its metrics.

    A route that learns its model from the body puts the name in ``request.state.model``.
    """
    meter = Meter(protocol.name, dataplane, metrics)

    class ProtocolRoute(APIRoute):
        @override
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def answer_and_count(request: Request) -> Response:
                request = JsonRequest(request.scope, request.receive)
                try:
                    response = await _answer(handle, request, protocol)
                except asyncio.CancelledError:
                    meter.count(request, CLIENT_CLOSED)
                    raise
                meter.count(request, response.status_code)
                return response

            return answer_and_count

    return ProtocolRoute
