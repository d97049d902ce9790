"""Life-cycle events, sent to everybody who listens."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterable

from service.core.errors import Overloaded
from service.core.messages import ModelEvent

MAX_LISTENERS = 256
_MAX_WAITING = 1000
_RETRY_AFTER_S = 5.0

Queue = asyncio.Queue[ModelEvent | None]


class Events:
    """One publisher, 256 listeners; a listener that does not read loses the oldest.

    A listener has its place from ``listen`` until its stream ends or is dropped unread, and is
    told of events from when it first asks.
    """

    def __init__(self) -> None:
        self._places: weakref.WeakSet[Queue] = weakref.WeakSet()
        self._listeners: set[Queue] = set()
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

    def listen(
        self, now: Callable[[], Iterable[ModelEvent]], wanted: Callable[[ModelEvent], bool]
    ) -> AsyncIterator[ModelEvent]:
        """The present events, then each that is published and wanted, until closed.

        Args:
            now: asked when the first event is, so that none is lost between.
            wanted: whether this listener is told of an event.

        Raises:
            Overloaded: 256 listen already. Raised at once, not by the stream.
        """
        if len(self._places) >= MAX_LISTENERS:
            raise Overloaded(
                f"{MAX_LISTENERS} streams of events are open, the limit", _RETRY_AFTER_S
            )
        queue: Queue = asyncio.Queue(_MAX_WAITING)
        self._places.add(queue)
        return self._stream(queue, now, wanted)

    async def _stream(
        self,
        queue: Queue,
        now: Callable[[], Iterable[ModelEvent]],
        wanted: Callable[[ModelEvent], bool],
    ) -> AsyncIterator[ModelEvent]:
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
            self._places.discard(queue)
