import asyncio
from collections.abc import Callable

import pytest

from service.core.errors import Overloaded
from service.core.messages import ModelEvent, ModelState
from service.repository.events import _MAX_WAITING, MAX_LISTENERS, Events


def event(name: str, state: ModelState = ModelState.READY) -> ModelEvent:
    return ModelEvent(name, "1", state)


def everything(_: ModelEvent) -> bool:
    return True


def nothing() -> list[ModelEvent]:
    return []


def play(test: Callable[[Events], object]) -> None:
    async def run() -> None:
        async with asyncio.timeout(10):
            await test(Events())  # type: ignore[misc]

    asyncio.run(run())


def test_a_listener_hears_the_present_first_and_then_what_it_wants() -> None:
    async def test(events: Events) -> None:
        stream = events.listen(lambda: [event("now")], lambda e: e.name == "m")
        assert (await anext(stream)).name == "now"
        events.publish(event("other"))
        events.publish(event("m"))
        assert (await anext(stream)).name == "m"
        await stream.aclose()
        assert not events._listeners

    play(test)


def test_nothing_is_lost_between_the_present_and_what_follows() -> None:
    async def test(events: Events) -> None:
        now: list[ModelEvent] = []
        stream = events.listen(lambda: now, everything)
        now.append(event("before the first is asked for"))
        first = await anext(stream)
        events.publish(event("while the first is handled"))
        assert first.name == "before the first is asked for"
        assert (await anext(stream)).name == "while the first is handled"
        await stream.aclose()

    play(test)


def test_every_listener_hears_everything_at_its_own_speed() -> None:
    async def test(events: Events) -> None:
        streams = [events.listen(lambda: [event("now")], everything) for _ in range(3)]
        for stream in streams:
            await anext(stream)
        for name in "abc":
            events.publish(event(name))
        for stream in streams:
            assert [(await anext(stream)).name for _ in range(3)] == list("abc")
            await stream.aclose()

    play(test)


def test_a_listener_that_does_not_read_loses_the_oldest_and_stops_nobody() -> None:
    async def test(events: Events) -> None:
        stream = events.listen(lambda: [event("now")], everything)
        await anext(stream)
        for number in range(_MAX_WAITING + 5):
            events.publish(event(str(number)))
        assert (await anext(stream)).name == "5"
        events.close()
        names = [e.name async for e in stream]
        assert names[-1] == str(_MAX_WAITING + 4)

    play(test)


def test_closing_ends_every_stream_after_what_was_told() -> None:
    async def test(events: Events) -> None:
        stream = events.listen(lambda: [event("now")], everything)
        await anext(stream)
        events.publish(event("last"))
        events.close()
        assert [e.name async for e in stream] == ["last"]
        events.close()

    play(test)


def test_a_stream_opened_after_the_end_tells_the_present_and_ends() -> None:
    async def test(events: Events) -> None:
        events.close()
        stream = events.listen(lambda: [event("now")], everything)
        assert [e.name async for e in stream] == ["now"]

    play(test)


def test_a_stream_nobody_began_to_read_holds_nothing() -> None:
    async def test(events: Events) -> None:
        events.listen(nothing, everything)
        assert not events._listeners

    play(test)


def test_a_listener_too_many_is_refused_at_once_and_may_come_when_another_left() -> None:
    async def test(events: Events) -> None:
        streams = [events.listen(lambda: [event("now")], everything) for _ in range(MAX_LISTENERS)]
        await anext(streams[0])
        with pytest.raises(Overloaded, match="256 streams of events are open"):
            events.listen(nothing, everything)
        await streams[0].aclose()
        streams[0] = events.listen(nothing, everything)
        with pytest.raises(Overloaded):
            events.listen(nothing, everything)
        streams.pop()  # dropped by a client that left before the first event
        streams.append(events.listen(nothing, everything))
        events.close()
        for stream in streams:
            async for _ in stream:
                pass
        assert not events._places

    play(test)
