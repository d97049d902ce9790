"""Life-cycle events, sent to everybody who listens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from service.core.messages import ModelEvent

_MAX_WAITING = 1000


class Events:
    """One publisher, any number of listeners; a listener that does not read loses the oldest."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[ModelEvent | None]] = set()
        self._closed = False

    def publish(self, event: ModelEvent) -> None:
        """Tell everybody."""
        self._put(event)

    def close(self) -> None:
        """End every listener's stream, and those to come after the present states."""
        self._closed = True
        self._put(None)

    def _put(self, event: ModelEvent | None) -> None:
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    async def listen(
        self, now: Callable[[], Iterable[ModelEvent]], wanted: Callable[[ModelEvent], bool]
    ) -> AsyncIterator[ModelEvent]:
        """The present events, then each that is published and wanted, until closed.

        Args:
            now: asked when the first event is, so that none is lost between.
            wanted: whether this listener is told of an event.
        """
        queue: asyncio.Queue[ModelEvent | None] = asyncio.Queue(_MAX_WAITING)
        self._listeners.add(queue)
        if self._closed:
            queue.put_nowait(None)
        try:
            for event in list(now()):
                yield event
            while (event_or_end := await queue.get()) is not None:
                if wanted(event_or_end):
                    yield event_or_end
        finally:
            self._listeners.discard(queue)
