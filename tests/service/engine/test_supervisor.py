import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import psutil
import pytest

from service.channel import messages as msg
from service.core.errors import BackendFailed, BadRequest, WorkerLost
from service.core.work import SequenceWork, Want
from service.engine import supervisor as module
from service.engine.client import LoadError, WorkerClient, WorkerEnded
from service.engine.supervisor import Supervisor, TemplateFailed
from service.engine.template_process import start_template

pytestmark = pytest.mark.usefixtures("quick_framework", "tidy_loop", "nothing_is_left")


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    yield
    assert psutil.Process().children(recursive=True) == []


def ids(first: int) -> list[SequenceWork]:
    return [SequenceWork(np.array([first], np.int32), Want.EMBEDDING)]


async def load(supervisor: Supervisor, folder: str = "ok") -> WorkerClient:
    client = WorkerClient("m", "torch", supervisor, lambda _: None, lambda: None)
    await client.load(msg.Load(folder, "auto", "cpu", ("mean",), 1, 64), lambda _: None)
    return client


async def pid_of(client: WorkerClient) -> int:
    return int((await client.infer(ids(1)))[0]["embedding"][0])


def template() -> psutil.Process:
    (process,) = psutil.Process().children()
    return process


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.01)


def play(test: Callable[[Supervisor], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        supervisor = Supervisor()
        try:
            async with asyncio.timeout(30):
                await test(supervisor)
        finally:
            await supervisor.close()

    asyncio.run(run())


def test_a_worker_is_a_fork_of_the_template_and_answers() -> None:
    async def test(supervisor: Supervisor) -> None:
        clients = [await load(supervisor) for _ in range(2)]
        pids = {await pid_of(client) for client in clients}
        assert pids == {child.pid for child in template().children()}
        for client in clients:
            await client.stop(10)

    play(test)


def test_workers_are_forked_side_by_side() -> None:
    async def test(supervisor: Supervisor) -> None:
        clients = await asyncio.gather(*(load(supervisor) for _ in range(5)))
        pids = [await pid_of(client) for client in clients]
        assert len(set(pids)) == 5
        await asyncio.gather(*(client.stop(10) for client in clients))

    play(test)


def test_a_fork_that_nobody_waits_for_any_more_ends_and_the_next_is_another() -> None:
    async def test(supervisor: Supervisor) -> None:
        first = await load(supervisor)
        statuses: list[int] = []
        forgotten = asyncio.create_task(supervisor.fork("torch", statuses.append))
        done, _ = await asyncio.wait({forgotten}, timeout=0)
        assert not done
        forgotten.cancel()
        second = await load(supervisor)
        pids = {await pid_of(first), await pid_of(second)}
        async with asyncio.timeout(10):
            while not statuses or {child.pid for child in template().children()} != pids:
                await asyncio.sleep(0.01)
        assert statuses == [0]

    play(test)


def test_an_end_is_told_with_its_status() -> None:
    async def test(supervisor: Supervisor) -> None:
        status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        fork = await supervisor.fork("torch", status.set_result)
        fork.kill()
        assert await status == -signal.SIGKILL
        fork.socket.close()

    play(test)


def test_a_killed_template_takes_no_worker_with_it_and_the_next_fork_has_another() -> None:
    async def test(supervisor: Supervisor) -> None:
        old = await load(supervisor)
        old_pid, old_template = await pid_of(old), template()
        old_template.kill()
        new = await load(supervisor)
        assert template().pid != old_template.pid
        assert await pid_of(old) == old_pid
        assert await pid_of(new) != old_pid
        os.kill(old_pid, signal.SIGSTOP)  # so that it has to be killed, without its template
        await old.stop(0)
        await gone(old_pid)

    play(test)


def test_a_template_killed_between_two_forks_is_noticed_by_the_second() -> None:
    async def test(supervisor: Supervisor) -> None:
        await supervisor.prepare("torch")
        process = template()
        process.kill()
        process.wait(10)  # the event loop has not run: the supervisor cannot know yet
        client = await load(supervisor)
        assert await pid_of(client) > 0

    play(test)


def test_a_template_that_dies_is_no_zombie() -> None:
    async def test(supervisor: Supervisor) -> None:
        await supervisor.prepare("torch")
        template().kill()
        async with asyncio.timeout(10):
            while psutil.Process().children():
                await asyncio.sleep(0.01)

    play(test)


def test_a_template_that_runs_already_is_used() -> None:
    async def run() -> None:
        started = start_template("torch")
        supervisor = Supervisor([started])
        await load(supervisor)
        assert template().pid == started.process.pid
        await supervisor.close()

    asyncio.run(run())


def test_closing_ends_a_template_that_was_never_used() -> None:
    started = start_template("torch")
    asyncio.run(Supervisor([started]).close())
    assert started.process.returncode is not None
    assert started.control.fileno() == -1


def test_a_framework_that_cannot_be_imported_is_refused_and_leaves_nothing() -> None:
    async def test(supervisor: Supervisor) -> None:
        with pytest.raises(TemplateFailed, match="of nonsense did not start"):
            await supervisor.fork("nonsense", lambda _: None)

    play(test)


def test_a_template_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_START_TIMEOUT_S", 0.001)

    async def test(supervisor: Supervisor) -> None:
        with pytest.raises(TemplateFailed, match="did not start within"):
            await supervisor.fork("torch", lambda _: None)
        assert psutil.Process().children() == []

    play(test)


def test_a_start_that_is_cancelled_leaves_no_process() -> None:
    async def test(supervisor: Supervisor) -> None:
        starting = asyncio.create_task(supervisor.prepare("torch"))
        async with asyncio.timeout(10):
            while not psutil.Process().children():
                await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        assert psutil.Process().children() == []
        await supervisor.prepare("torch")

    play(test)


def test_a_template_that_does_not_answer_is_killed_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_END_TIMEOUT_S", 0.05)

    async def test(supervisor: Supervisor) -> None:
        await supervisor.prepare("torch")
        template().suspend()

    play(test)


def test_no_signal_of_a_terminal_or_a_service_manager_ends_a_worker() -> None:
    async def test(supervisor: Supervisor) -> None:
        client = await load(supervisor)
        pid = await pid_of(client)
        for sig in (signal.SIGINT, signal.SIGTERM):
            template().send_signal(sig)
            os.kill(pid, sig)
        assert await pid_of(client) == pid
        assert os.getsid(pid) != os.getsid(0)
        await client.stop(10)

    play(test)


def test_closing_ends_workers_that_were_not_stopped() -> None:
    async def test(supervisor: Supervisor) -> None:
        await load(supervisor)

    play(test)


def test_a_worker_killed_under_a_request_fails_that_request_only() -> None:
    async def test(supervisor: Supervisor) -> None:
        one, other = await load(supervisor), await load(supervisor)
        with pytest.raises(WorkerLost):
            await one.infer(ids(9))
        assert await pid_of(other) > 0

    play(test)


def test_a_model_that_raises_tells_the_client_nothing_and_goes_on() -> None:
    async def test(supervisor: Supervisor) -> None:
        client = await load(supervisor)
        with pytest.raises(BackendFailed) as failed:
            await client.infer(ids(13))
        assert "secret" not in failed.value.message
        with pytest.raises(BadRequest, match="14 is not taken"):
            await client.infer(ids(14))
        with pytest.raises(BadRequest, match="over 64"):
            await client.stats(1, 65)
        assert (await client.stats(2, 64)).batch_size == 2
        assert await pid_of(client) > 0
        await client.stop(10)

    play(test)


@pytest.mark.parametrize(("folder", "kind"), [("fail", LoadError), ("die", WorkerEnded)])
def test_a_load_that_fails_ends_its_worker(folder: str, kind: type[Exception]) -> None:
    async def test(supervisor: Supervisor) -> None:
        with pytest.raises(kind):
            await load(supervisor, folder)
        async with asyncio.timeout(10):
            while template().children():
                await asyncio.sleep(0.01)

    play(test)


def test_a_load_that_is_cancelled_can_be_ended_at_once() -> None:
    async def test(supervisor: Supervisor) -> None:
        client = WorkerClient("m", "torch", supervisor, lambda _: None, lambda: None)
        order = msg.Load("hang", "auto", "cpu", (), 1, 64)
        loading = asyncio.create_task(client.load(order, lambda _: None))
        async with asyncio.timeout(10):
            while not (psutil.Process().children() and template().children()):
                await asyncio.sleep(0.01)
        loading.cancel()
        await asyncio.wait({loading})
        await client.stop(0)
        async with asyncio.timeout(10):
            while template().children():
                await asyncio.sleep(0.01)

    play(test)
