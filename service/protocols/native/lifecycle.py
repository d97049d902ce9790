"""Models come and go: load, unload, and the stream of what happens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from fastapi import APIRouter, Response
from starlette.responses import StreamingResponse

from service.core.messages import ModelInfo
from service.dataplane import DataPlane
from service.protocols.base import Answers, JsonResponse
from service.protocols.native.convert import to_row, to_spec, to_sse
from service.protocols.native.schemas import LoadBody, ModelRow, PathName

_Event = TypeVar("_Event")
KEEP_ALIVE_S = 15.0
_ACCEPTED: Answers = {202: {"model": ModelRow, "description": "Accepted; watch its events"}}
_STREAM: Answers = {
    200: {
        "description": "`event: state` with a model's name, version, state, bytes and reason; "
        "the present state first, then each change, until the client leaves",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def add_lifecycle(router: APIRouter, dataplane: DataPlane) -> None:
    """Add the routes that change which models are served, and those that tell of it."""
    _add_changes(router, dataplane)
    _add_events(router, dataplane)


def _add_changes(router: APIRouter, dataplane: DataPlane) -> None:
    @router.post(
        "/models", tags=["Models"], summary="Load a model", status_code=202, responses=_ACCEPTED
    )
    async def load(body: LoadBody) -> Response:
        """Start loading a model or a new version; returns at once."""
        return _accepted(await dataplane.load(to_spec(body)))

    @router.post(
        "/models/{name:path}/load",
        tags=["Models"],
        summary="Load a model again",
        status_code=202,
        responses=_ACCEPTED,
    )
    async def reload(name: PathName) -> Response:
        """Load a model again that was unloaded or failed; returns at once."""
        return _accepted(await dataplane.reload(name))

    @router.post(
        "/models/{name:path}/unload",
        tags=["Models"],
        summary="Unload a model",
        status_code=202,
        responses=_ACCEPTED,
    )
    async def unload(name: PathName) -> Response:
        """Drain a model and end its worker; its entry stays. Returns at once."""
        return _accepted(await dataplane.unload(name))


def _accepted(info: ModelInfo) -> Response:
    headers = {"Location": f"/models/{info.spec.name}"}
    return JsonResponse(to_row(info), status_code=202, headers=headers)


def _add_events(router: APIRouter, dataplane: DataPlane) -> None:
    @router.get(
        "/models/events",
        tags=["Models"],
        summary="Watch all models",
        response_class=Response,
        responses=_STREAM,
    )
    async def events() -> Response:
        """Stream the life of every model as server-sent events."""
        return event_stream(dataplane.events(), to_sse)

    @router.get(
        "/models/{name:path}/events",
        tags=["Models"],
        summary="Watch a model",
        response_class=Response,
        responses=_STREAM,
    )
    async def model_events(name: PathName) -> Response:
        """Stream the life of one model as server-sent events."""
        dataplane.model(name)  # an unknown name is a 404, not a broken stream
        return event_stream(dataplane.events(name), to_sse)


def event_stream(events: AsyncIterator[_Event], encode: Callable[[_Event], bytes]) -> Response:
    """Answer with events for as long as there are any, and the client listens."""
    return StreamingResponse(
        stream(events, KEEP_ALIVE_S, encode),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def stream(
    events: AsyncIterator[_Event], keep_alive_s: float, encode: Callable[[_Event], bytes]
) -> AsyncIterator[bytes]:
    """Write events as they come, and a comment after ``keep_alive_s`` seconds without one.

    The next event is awaited in a task of its own, so that a keep-alive does not end the wait;
    the task is cancelled when the stream is closed, which ends ``events`` too.
    """
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=keep_alive_s)
            if not done:
                yield b": keep-alive\n\n"
                continue
            event = coming.result()
            if event is None:
                return
            coming = asyncio.ensure_future(anext(events, None))
            yield encode(event)
    finally:
        coming.cancel()
