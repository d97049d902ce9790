"""A worker that is no process: the far end of a channel, answering as it is told to."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn

from service.channel import messages as msg
from service.channel.frames import AsyncChannel
from service.core.messages import ModelFacts, ModelStats
from service.engine.supervisor import Fork, TemplateFailed

FACTS = ModelFacts(
    architecture="BertModel",
    framework="torch",
    dtype="float32",
    device="cpu",
    task="feature-extraction",
    num_parameters=1,
    num_bytes=4,
    max_length=64,
    pooling="mean",
)
STATS = ModelStats(10, 9, 8, {"float32": 40}, 1, 8, {"input_ids": (1, 8)}, 1, 2, 3)


class FakeWorker:
    """Loads at once and answers every sequence by its number of tokens, unless it is held.

    Attributes:
        order: what it was told to load.
        submitted: ids of the requests that have come, those cancelled included.
        cancelled: ids of the requests that were cancelled.
        holding: whether it keeps answers back until ``release``.
    """

    def __init__(self, pid: int, sock: socket.socket, supervisor: "FakeSupervisor") -> None:
        self.pid = pid
        self.order: msg.Load | None = None
        self.submitted: list[int] = []
        self.cancelled: list[int] = []
        self.holding = supervisor.holding
        self.was_killed = False
        self.closed = asyncio.Event()
        self._supervisor = supervisor
        self._held: list[tuple[msg.Submit, memoryview]] = []
        self._socket = sock
        self._stopping = False

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, self._channel = await loop.create_unix_connection(
            lambda: AsyncChannel(msg.ToWorker, self._obey, self.closed.set), sock=self._socket
        )

    def _obey(self, message: Any, block: memoryview) -> None:
        match message:
            case msg.Load():
                self.order = message
                if not self._supervisor.stalling:
                    self.finish_loading()
            case msg.Submit():
                self.submitted.append(message.id)
                self._held.append((message, block))
                if not self.holding:
                    self.release()
            case msg.Cancel():
                self.cancelled.append(message.id)
                self._held = [held for held in self._held if held[0].id != message.id]
            case msg.AskStats():
                self._channel.send(msg.StatsReply(message.id, STATS))
            case msg.Stop():
                self._stopping = True
                if not self._held:
                    self.die()
        self._supervisor.changed()

    def finish_loading(self) -> None:
        self.say(msg.Progress(50, 100))
        self.say(msg.Warming())
        if reason := self._supervisor.load_fails:
            self.say(msg.LoadFailed(reason))
        else:
            self.say(msg.Ready(FACTS))

    def say(self, message: Any, block: bytes = b"") -> None:
        self._channel.send(message, block)

    def release(self) -> None:
        """Answer what was kept back."""
        for message, block in self._held:
            work = msg.unpack_work(message, block)
            results = [{"embedding": np.full(2, item.num_tokens, np.float32)} for item in work]
            self._channel.send(*msg.pack_results(message.id, range(len(work)), results))
            self._channel.send(msg.BatchDone(len(work), sum(message.lengths), 0.001, (0.0,), 1))
        self._held.clear()
        if self._stopping:
            self.die()

    def die(self, status: int = 0) -> None:
        """End as a process does: the channel closes, and the parent is told."""
        self.hang_up()
        self._supervisor.tell_exit(self, status)

    def hang_up(self) -> None:
        self._channel.close()

    def kill(self) -> None:
        self.was_killed = True
        self.die(-9)


class FakeSupervisor:
    """Hands out workers of its own.

    Attributes:
        workers: all there ever were.
        fails: the next forks raise this.
        holding, stalling, load_fails: of the workers to come.
    """

    def __init__(self) -> None:
        self.workers: list[FakeWorker] = []
        self.fails: list[Exception] = []
        self.holding = False
        self.stalling = False
        self.load_fails = ""
        self._on_exit: dict[int, Callable[[int], None]] = {}
        self._changed = asyncio.Event()

    async def fork(self, framework: str, on_exit: Callable[[int], None]) -> Fork:
        if self.fails:
            raise self.fails.pop(0)
        ours, theirs = socket.socketpair()
        worker = FakeWorker(1000 + len(self.workers), theirs, self)
        try:
            await worker.connect()
        except BaseException:
            ours.close()
            theirs.close()
            raise
        self.workers.append(worker)
        self._on_exit[worker.pid] = on_exit
        return Fork(worker.pid, ours, worker.kill)

    def tell_exit(self, worker: FakeWorker, status: int) -> None:
        if on_exit := self._on_exit.pop(worker.pid, None):
            on_exit(status)
        self.changed()

    def changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that workers were told."""
        async with asyncio.timeout(10):
            while not condition():
                await self._changed.wait()

    async def close(self) -> None:
        for worker in self.workers:
            worker.hang_up()
            await asyncio.wait_for(worker.closed.wait(), 10)


@pytest.fixture
def make_supervisor() -> type[FakeSupervisor]:
    """To be called inside the test's event loop."""
    return FakeSupervisor


@pytest.fixture
def template_failed() -> Exception:
    return TemplateFailed("the template process of torch has ended")


@pytest.fixture
def tidy_loop(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test after which the event loop had to complain."""
    yield
    assert not [r.getMessage() for r in caplog.get_records("call") if r.name == "asyncio"]


@pytest.fixture
def serve() -> Iterator[Callable[[Any], tuple[str, int]]]:
    """Run an application in a real server on a free loopback port; gives the address."""
    with contextlib.ExitStack() as stack:
        yield lambda app: stack.enter_context(_running(app))


@contextlib.contextmanager
def _running(app: Any) -> Iterator[tuple[str, int]]:
    started = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            started.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert started.wait(30)
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join()
