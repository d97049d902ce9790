"""What orchestrators and Prometheus ask."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.core.metrics import Metrics
from service.dataplane import DataPlane
from service.protocols.base import Answers, JsonResponse
from service.protocols.native.convert import to_ready
from service.protocols.native.schemas import LiveAnswer, ReadyAnswer

_LIVE: Answers = {200: {"model": LiveAnswer, "description": "The process answers"}}
_READY: Answers = {
    200: {"model": ReadyAnswer, "description": "Every model asked for at start is ready"},
    503: {"model": ReadyAnswer, "description": "Loading or draining"},
}
_METRICS: Answers = {200: {"description": "Prometheus text format", "content": {"text/plain": {}}}}


def add_health(router: APIRouter, dataplane: DataPlane) -> None:
    """Add liveness and readiness."""

    async def live() -> Response:
        """Answer as long as the process can."""
        return JsonResponse({"live": True})

    async def ready() -> Response:
        """Tell whether the service takes traffic, and what it waits for if not."""
        readiness = dataplane.readiness()
        return JsonResponse(to_ready(readiness), status_code=200 if readiness.ready else 503)

    routes = (
        ("/health/live", live, "Is the process alive", _LIVE),
        ("/health/ready", ready, "Does the service take traffic", _READY),
        ("/health", ready, "Does the service take traffic (TEI's path)", _READY),
    )
    for path, endpoint, summary, answers in routes:
        router.get(path, tags=["Health"], summary=summary, responses=answers)(endpoint)
        router.head(path, include_in_schema=False)(endpoint)


def add_metrics(router: APIRouter, metrics: Metrics) -> None:
    """Add the page Prometheus scrapes."""

    @router.get(
        "/metrics",
        tags=["Health"],
        summary="Metrics",
        response_class=Response,
        responses=_METRICS,
    )
    def scrape() -> Response:  # not async: rendering runs in a thread, off the event loop
        """Render every metric in Prometheus' text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
