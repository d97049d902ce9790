import asyncio
import http.client
import threading

import pytest

from service.core.errors import Overloaded
from service.core.messages import ModelEvent, ModelState
from service.protocols.native.convert import to_sse
from service.protocols.native.lifecycle import stream

EVENT = ModelEvent("mini", "1", ModelState.READY)


class Feed:
    """Events one by one; knows when nobody listens any more."""

    def __init__(self):
        self.queue = asyncio.Queue()
        self.ended = asyncio.Event()

    async def events(self):
        try:
            while True:
                yield await self.queue.get()
        finally:
            self.ended.set()


def test_silence_is_filled_with_comments_and_loses_no_event():
    async def listen():
        feed = Feed()
        lines = stream(feed.events(), keep_alive_s=0.001, encode=to_sse)
        assert await anext(lines) == b": keep-alive\n\n"
        assert await anext(lines) == b": keep-alive\n\n"
        feed.queue.put_nowait(EVENT)
        while (line := await anext(lines)) == b": keep-alive\n\n":
            pass
        assert line.startswith(b"event: state\n")
        await lines.aclose()
        await asyncio.wait_for(feed.ended.wait(), 5)

    asyncio.run(listen())


def test_a_stream_ends_with_its_events():
    async def two():
        yield EVENT
        yield EVENT

    async def listen():
        return [line async for line in stream(two(), keep_alive_s=60, encode=to_sse)]

    assert len(asyncio.run(listen())) == 2


def test_a_failure_of_the_feed_ends_the_stream():
    async def broken():
        yield EVENT
        raise RuntimeError("feed")

    async def listen():
        lines = stream(broken(), keep_alive_s=60, encode=to_sse)
        await anext(lines)
        with pytest.raises(RuntimeError, match="feed"):
            await anext(lines)

    asyncio.run(listen())


def test_a_stream_too_many_is_refused_before_it_starts(call, dataplane):
    def refuse(name=None):
        raise Overloaded("enough", 5.0)

    dataplane.events = refuse
    for path in ("/models/events", "/models/mini/events"):
        reply = call("GET", path)
        assert (reply.status_code, reply.headers["Retry-After"]) == (429, "5")
        assert reply.json()["error"]["type"] == "overloaded"


def test_a_client_that_leaves_ends_the_feed(app, dataplane, serve):
    ended = threading.Event()

    async def events(name=None):
        try:
            yield EVENT
            await asyncio.Event().wait()
        finally:
            ended.set()

    dataplane.events = events
    connection = http.client.HTTPConnection(serve(app).removeprefix("http://"), timeout=30)
    connection.request("GET", "/models/events")
    answer = connection.getresponse()
    assert answer.readline() == b"event: state\n"
    answer.close()
    connection.close()
    assert ended.wait(30)
