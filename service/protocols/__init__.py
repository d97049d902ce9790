"""The wire protocols. A new one is a package here and an entry in PROTOCOLS."""

from collections.abc import Callable

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from service.core.errors import BadRequest, ServiceError
from service.core.metrics import Metrics
from service.core.settings import Settings
from service.dataplane import DataPlane
from service.protocols.base import MAX_ECHO, UNKNOWN_MODEL, RouteNotFound, WireProtocol
from service.protocols.native.routes import Native
from service.protocols.openai.routes import OpenAI
from service.protocols.tei.routes import Tei
from service.protocols.tf_serving.routes import TfServing

Refuse = Callable[[Scope, ServiceError, int | None], Response]

# The first that owns a path answers it and words its refusals; native owns what is left.
PROTOCOLS: tuple[WireProtocol, ...] = (TfServing(), OpenAI(), Tei(), Native())


def is_inference(path: str) -> bool:
    """Whether some protocol says that a POST to ``path`` only computes."""
    return any(protocol.is_inference(path) for protocol in PROTOCOLS)


def refuser(metrics: Metrics) -> Refuse:
    """Make the function that answers and counts what ends before it reaches a route.

    It takes the ASGI scope, the error, and an HTTP status if not the table's.
    """

    def refuse(scope: Scope, error: ServiceError, status: int | None) -> Response:
        protocol = next(each for each in PROTOCOLS if each.owns(scope["path"]))
        response = protocol.encode_error(error, status)
        code = str(response.status_code)
        metrics.requests.labels(protocol.name, UNKNOWN_MODEL, code).inc()
        return response

    return refuse


def install(app: FastAPI, dataplane: DataPlane, settings: Settings, metrics: Metrics) -> None:
    """Mount every protocol; unknown paths and methods are refused in the path's protocol."""
    refuse = refuser(metrics)

    async def refuse_http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        response = refuse(request.scope, _worded(request, error), error.status_code)
        response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(HTTPException, refuse_http)
    for protocol in PROTOCOLS:
        protocol.install(app, dataplane, settings, metrics)


def _worded(request: Request, error: HTTPException) -> ServiceError:
    path = request.scope["path"]
    if error.status_code == 404:
        return RouteNotFound(request.method, path)
    if error.status_code == 405:
        return BadRequest(f"{request.method} is not allowed on {path[:MAX_ECHO]}")
    return BadRequest(error.detail)
