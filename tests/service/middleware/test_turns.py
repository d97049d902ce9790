"""What a crowd of requests does to the one that asks whether the service lives."""

import asyncio

import pytest

from service.app import create_service
from service.core.settings import Settings
from service.middleware.auth import Auth
from service.middleware.limits import Limits
from service.middleware.request_id import RequestId
from service.middleware.turns import _SIZE, Turns


class Crowd:
    """An application that notes who began, and requests to it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._turns = Turns(self._app)

    async def _app(self, scope, receive, send) -> None:
        self.begun.append(scope["path"])

    def ask(self, path: str, kind: str = "http") -> asyncio.Task[None]:
        return asyncio.create_task(self._turns({"type": kind, "path": path}, None, None))


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/health", "/metrics"])
def test_health_does_not_wait_behind_a_crowd(path: str) -> None:
    async def test() -> None:
        crowd = Crowd()
        tasks = [crowd.ask(f"/{number}") for number in range(1000)]
        await asyncio.sleep(0)
        tasks.append(crowd.ask(path))
        await asyncio.sleep(0)
        assert crowd.begun.index(path) <= 3 * _SIZE
        await asyncio.gather(*tasks)

    asyncio.run(test())


def test_a_crowd_begins_a_few_in_a_turn_in_the_order_it_came() -> None:
    async def test() -> None:
        crowd = Crowd()
        tasks = [crowd.ask(f"/{number}") for number in range(1000)]
        seen = 0
        while len(crowd.begun) < len(tasks):
            await asyncio.sleep(0)
            assert len(crowd.begun) - seen <= _SIZE
            seen = len(crowd.begun)
        assert crowd.begun == [f"/{number}" for number in range(1000)]
        assert [task.done() for task in tasks if not task.done()] == []

    asyncio.run(test())


def test_who_left_while_waiting_takes_no_turn() -> None:
    async def test() -> None:
        crowd = Crowd()
        tasks = [crowd.ask(f"/{number}") for number in range(5 * _SIZE)]
        await asyncio.sleep(0)
        for task in tasks[_SIZE : 4 * _SIZE]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left = [*range(_SIZE), *range(4 * _SIZE, 5 * _SIZE)]
        assert crowd.begun == [f"/{number}" for number in left]
        await crowd.ask("/later")
        assert crowd.begun[-1] == "/later"

    asyncio.run(test())


def test_a_lone_request_and_the_lifespan_begin_at_once() -> None:
    async def test() -> None:
        crowd = Crowd()
        tasks = [crowd.ask("/one"), *(crowd.ask("/life", "lifespan") for _ in range(2 * _SIZE))]
        await asyncio.sleep(0)
        assert len(crowd.begun) == len(tasks)

    asyncio.run(test())


def test_the_service_lets_requests_in_before_it_reads_them() -> None:
    order = [each.cls for each in create_service(Settings()).app.user_middleware]
    assert order == [RequestId, Turns, Auth, Limits]
