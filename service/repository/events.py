"""Life-cycle events, sent to everybody who listens."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from service.core.messages import ModelEvent

_MAX_WAITING = 1000


class Events:
    """One publisher, any number of listeners; a listener that does not read loses the oldest."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[ModelEvent | None]] = set()

    def publish(self, event: ModelEvent) -> None:
        """Tell everybody."""
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    def close(self) -> None:
        """End every listener's stream."""
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    async def listen(
        self, now: Iterable[ModelEvent], wanted: Callable[[ModelEvent], bool]
    ) -> AsyncIterator[ModelEvent]:
        """The events of ``now``, then each that is published and wanted, until closed."""
        queue: asyncio.Queue[ModelEvent | None] = asyncio.Queue(_MAX_WAITING)
        self._listeners.add(queue)
        try:
            for event in now:
                yield event
            while (event_or_end := await queue.get()) is not None:
                if wanted(event_or_end):
                    yield event_or_end
        finally:
            self._listeners.discard(queue)
