import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from service.channel import messages as msg
from service.core.errors import BackendFailed, BadRequest, WorkerLost
from service.core.work import SequenceWork, Want
from service.engine.client import LoadError, WorkerClient, WorkerEnded
from service.engine.supervisor import TemplateFailed

pytestmark = pytest.mark.usefixtures("tidy_loop")
ORDER = msg.Load("/models/m", "auto", "cpu", ("mean",), 1, 64)


def text(length: int = 3) -> SequenceWork:
    return SequenceWork(np.zeros(length, np.int32), Want.EMBEDDING)


class Bench:
    """A client of a fake worker, and what it was told."""

    def __init__(self, make_supervisor: Callable[[], Any]) -> None:
        self.supervisor = make_supervisor()
        self.batches: list[msg.BatchDone] = []
        self.progress: list[Any] = []
        self.lost = asyncio.Event()
        self.client = WorkerClient(
            "m", "torch", self.supervisor, self.batches.append, self.lost.set
        )

    @property
    def worker(self) -> Any:
        return self.supervisor.workers[-1]

    async def load(self) -> Any:
        return await self.client.load(ORDER, self.progress.append)

    async def waiting_request(self) -> "asyncio.Task[Any]":
        """A request that the worker has and keeps."""
        self.worker.holding = True
        count = len(self.worker.submitted)
        task = asyncio.create_task(self.client.infer([text()]))
        await self.supervisor.until(lambda: len(self.worker.submitted) > count)
        return task


@pytest.fixture
def run(make_supervisor: Callable[[], Any]) -> Callable[..., None]:
    def start(test: Callable[[Bench], Coroutine[Any, Any, None]], *, load: bool = True) -> None:
        async def play() -> None:
            bench = Bench(make_supervisor)
            if load:
                await bench.load()
            async with asyncio.timeout(20):
                await test(bench)
            await bench.client.stop(0)
            await bench.supervisor.close()
            assert not bench.client._pending
            assert not bench.client._stats

        asyncio.run(play())

    return start


def test_loading_tells_each_step_and_ends_with_the_facts(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        assert (await bench.load()).architecture == "BertModel"
        assert bench.worker.order == ORDER
        assert bench.progress == [msg.Progress(50, 100), msg.Warming()]

    run(test, load=False)


def test_a_load_that_fails_gives_the_reason(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        bench.supervisor.load_fails = "no weights"
        with pytest.raises(LoadError, match="no weights"):
            await bench.load()
        assert not bench.lost.is_set()

    run(test, load=False)


@pytest.mark.parametrize("status", [-9, 0])
def test_a_worker_that_ends_while_loading_is_told_from_one_that_refuses(
    run: Callable[..., None], status: int
) -> None:
    async def test(bench: Bench) -> None:
        bench.supervisor.stalling = True
        loading = asyncio.create_task(bench.load())
        await bench.supervisor.until(
            lambda: bench.supervisor.workers and bench.worker.order is not None
        )
        bench.worker.die(status)
        with pytest.raises(WorkerEnded):
            await loading

    run(test, load=False)


def test_a_template_that_fails_is_passed_on(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        bench.supervisor.fails = [TemplateFailed("no torch")]
        with pytest.raises(TemplateFailed, match="no torch"):
            await bench.load()

    run(test, load=False)


def test_results_are_in_the_order_of_the_work(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        results = await bench.client.infer([text(n) for n in (5, 2, 9)])
        assert [float(r["embedding"][0]) for r in results] == [5, 2, 9]
        assert bench.batches[0].num_sequences == 3

    run(test)


def test_a_request_answered_in_parts_is_complete_with_the_last(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        bench.worker.holding = True
        task = asyncio.create_task(bench.client.infer([text(), text()]))
        await bench.supervisor.until(lambda: bool(bench.worker.submitted))
        for index in (1, 0):
            part = [{"embedding": np.full(1, index, np.float32)}]
            bench.worker.say(*msg.pack_results(bench.worker.submitted[0], [index], part))
        assert [float(r["embedding"][0]) for r in await task] == [0, 1]

    run(test)


@pytest.mark.parametrize(("is_input", "kind"), [(True, BadRequest), (False, BackendFailed)])
def test_a_failure_is_the_inputs_or_the_models(
    run: Callable[..., None], is_input: bool, kind: type[Exception]
) -> None:
    async def test(bench: Bench) -> None:
        task = await bench.waiting_request()
        bench.worker.say(msg.Failed(bench.worker.submitted[0], "why", is_input))
        with pytest.raises(kind, match="why"):
            await task

    run(test)


def test_a_cancelled_request_is_taken_out_of_the_worker(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        task = await bench.waiting_request()
        task.cancel()
        await bench.supervisor.until(lambda: bench.worker.cancelled == bench.worker.submitted)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(test)


def test_a_request_cancelled_as_the_worker_ends_is_still_cancelled(
    run: Callable[..., None],
) -> None:
    async def test(bench: Bench) -> None:
        task = await bench.waiting_request()
        bench.client._channel.close()  # closing, not yet lost
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(test)


def test_a_lost_worker_fails_what_is_in_flight_at_once_and_what_comes_after(
    run: Callable[..., None],
) -> None:
    async def test(bench: Bench) -> None:
        tasks = [await bench.waiting_request() for _ in range(3)]
        bench.worker.die(-9)
        for task in tasks:
            with pytest.raises(WorkerLost):
                await task
        await bench.lost.wait()
        with pytest.raises(WorkerLost):
            await bench.client.infer([text()])
        with pytest.raises(WorkerLost):
            await bench.client.stats(1, 8)

    run(test)


def test_an_exit_told_before_the_last_answer_was_read_loses_nothing(
    run: Callable[..., None],
) -> None:
    async def test(bench: Bench) -> None:
        task = await bench.waiting_request()
        bench.worker.release()
        bench.supervisor.tell_exit(bench.worker, 0)
        assert len(await task) == 1

    run(test)


def test_stats_are_asked_of_the_worker(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        assert (await bench.client.stats(1, 8)).num_parameters == 10

    run(test)


def test_stopping_lets_the_worker_finish_what_it_has(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        task = await bench.waiting_request()
        stopping = asyncio.create_task(bench.client.stop(60))
        await bench.supervisor.until(lambda: bench.worker._stopping)
        bench.worker.release()
        assert len(await task) == 1
        await stopping
        assert not bench.worker.was_killed
        assert not bench.lost.is_set()

    run(test)


def test_a_worker_that_does_not_stop_in_time_is_killed(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        task = await bench.waiting_request()
        await bench.client.stop(0.01)
        assert bench.worker.was_killed
        with pytest.raises(WorkerLost):
            await task
        assert not bench.lost.is_set()

    run(test)


@pytest.mark.parametrize("load", [True, False])
def test_stopping_twice_or_before_there_is_a_worker_is_no_error(
    run: Callable[..., None], load: bool
) -> None:
    async def test(bench: Bench) -> None:
        await bench.client.stop(1)
        await bench.client.stop(1)

    run(test, load=load)


def test_stopping_while_it_loads_ends_the_worker(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        bench.supervisor.stalling = True
        loading = asyncio.create_task(bench.load())
        await bench.supervisor.until(
            lambda: bench.supervisor.workers and bench.worker.order is not None
        )
        loading.cancel()
        await asyncio.wait({loading})
        await bench.client.stop(0)
        assert not bench.lost.is_set()

    run(test, load=False)


def test_stats_that_a_lost_worker_owes_fail_at_once(run: Callable[..., None]) -> None:
    async def test(bench: Bench) -> None:
        asked = asyncio.create_task(bench.client.stats(1, 8))
        await asyncio.sleep(0)  # it is sent, and the worker dies before it reads it
        bench.worker.die(-9)
        with pytest.raises(WorkerLost):
            await asked

    run(test)
