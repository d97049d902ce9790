"""The API process's hold on one worker: load it, send it requests, stop it."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Sequence

from service.channel import messages as msg
from service.channel.frames import AsyncChannel, ChannelClosed
from service.core.errors import BackendFailed, BadRequest, WorkerLost
from service.core.messages import ModelFacts, ModelStats
from service.core.work import WorkItem, WorkResult
from service.engine.supervisor import Fork, Supervisor

logger = logging.getLogger("service.engine")


_KILL_TIMEOUT_S = 5.0


class LoadError(RuntimeError):
    """Raised when a worker could not load its model; the text is the reason."""


class WorkerEnded(LoadError):
    """Raised when the worker's process ended before its model was loaded."""


class _Pending:
    """A request that is being computed."""

    def __init__(self, count: int) -> None:
        self.results: list[WorkResult | None] = [None] * count
        self.left = count
        self.future: asyncio.Future[list[WorkResult]] = asyncio.get_running_loop().create_future()

    def add(self, index: int, result: WorkResult) -> None:
        self.results[index] = result
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result([r for r in self.results if r is not None])


class WorkerClient:
    """One worker process.

    Args:
        name: of the model, for messages.
        on_batch: called for each finished forward.
        on_lost: called once if the worker ends after it was loaded without having been stopped.
    """

    def __init__(
        self,
        name: str,
        framework: str,
        supervisor: Supervisor,
        on_batch: Callable[[msg.BatchDone], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._name = name
        self._framework = framework
        self._supervisor = supervisor
        self._on_batch = on_batch
        self._on_lost = on_lost
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._stats: dict[int, asyncio.Future[ModelStats]] = {}
        self._channel: AsyncChannel[msg.FromWorker] | None = None
        self._on_progress: Callable[[msg.Progress | msg.Warming], None] = lambda _: None
        self._loaded: asyncio.Future[ModelFacts] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._stopping = False
        self._lost = False
        self._fork: Fork | None = None

    async def load(
        self, order: msg.Load, on_progress: Callable[[msg.Progress | msg.Warming], None]
    ) -> ModelFacts:
        """Start the process and load the model.

        Raises:
            LoadError: with the reason, if it cannot be loaded.
            WorkerEnded: the process ended first.
            TemplateFailed: the framework cannot be imported.
        """
        self._on_progress = on_progress
        self._fork = await self._supervisor.fork(self._framework, self._note_exit)
        self._channel = await self._connect(self._fork)
        with contextlib.suppress(ChannelClosed):  # _closed tells
            self._channel.send(order)
        return await self._loaded

    async def _connect(self, fork: Fork) -> AsyncChannel[msg.FromWorker]:
        loop = asyncio.get_running_loop()
        try:
            _, channel = await loop.create_unix_connection(
                lambda: AsyncChannel(msg.FromWorker, self._hear, self._closed),  # type: ignore[arg-type]
                sock=fork.socket,
            )
        except BaseException:  # cancelled, as a rule
            fork.socket.close()
            raise
        return channel

    def _hear(self, message: msg.FromWorker, block: memoryview) -> None:
        match message:
            case msg.Result():
                self._add(message, block)
            case msg.BatchDone():
                self._on_batch(message)
            case msg.Failed():
                self._fail(message)
            case msg.StatsReply():
                self._reply(message)
            case msg.Progress() | msg.Warming():
                self._on_progress(message)
            case msg.Ready() | msg.LoadFailed():
                self._end_load(message)

    def _add(self, message: msg.Result, block: memoryview) -> None:
        if pending := self._pending.get(message.id):
            for index, result in msg.unpack_results(message, block):
                pending.add(index, result)

    def _reply(self, message: msg.StatsReply) -> None:
        if (waiting := self._stats.pop(message.id, None)) and not waiting.done():
            waiting.set_result(message.stats)

    def _end_load(self, message: msg.Ready | msg.LoadFailed) -> None:
        if self._loaded.done():
            return
        if isinstance(message, msg.Ready):
            self._loaded.set_result(message.facts)
        else:
            self._loaded.set_exception(LoadError(message.reason))

    def _fail(self, message: msg.Failed) -> None:
        error = (BadRequest if message.is_input else BackendFailed)(message.message)
        if (pending := self._pending.get(message.id)) and not pending.future.done():
            pending.future.set_exception(error)
        if (waiting := self._stats.pop(message.id, None)) and not waiting.done():
            waiting.set_exception(error)

    def _closed(self) -> None:
        """The channel is gone: everything unanswered fails now, not at its deadline."""
        if self._lost:
            return
        self._lost = True
        self._ended.set()
        waiting = [p.future for p in self._pending.values()] + list(self._stats.values())
        for future in waiting:
            if not future.done():
                future.set_exception(WorkerLost(self._name))
        if not self._loaded.done():
            self._loaded.set_exception(WorkerEnded("the worker process ended while loading"))
        elif not self._stopping:
            self._on_lost()

    def _note_exit(self, status: int) -> None:
        if status and not self._stopping:
            logger.warning("a worker of model %s ended with %d", self._name, status)
        if self._channel is None:
            self._ended.set()  # else the channel is read to its end: an answer may still be in it

    async def infer(self, work: Sequence[WorkItem]) -> list[WorkResult]:
        """Compute the work of one request; cancelling takes it out of the worker's queue.

        Raises:
            WorkerLost: the worker ended before the answer.
            BadRequest: the worker found the input wrong.
            BackendFailed: the model raised.
        """
        request_id, pending = next(self._ids), _Pending(len(work))
        self._pending[request_id] = pending
        try:
            self._send(*msg.pack_work(request_id, time.monotonic(), work))
            return await pending.future
        except asyncio.CancelledError:
            with contextlib.suppress(WorkerLost):
                self._send(msg.Cancel(request_id))
            raise
        finally:
            del self._pending[request_id]

    def _send(self, message: msg.ToWorker, block: bytes = b"") -> None:
        if self._channel is None or self._lost:
            raise WorkerLost(self._name)
        try:
            self._channel.send(message, block)
        except ChannelClosed:
            raise WorkerLost(self._name) from None

    async def stats(self, batch_size: int, sequence_length: int | None) -> ModelStats:
        """Size and cost of the model.

        Raises:
            WorkerLost: the worker ended before the answer.
            BadRequest: the sizes are beyond the model's.
        """
        request_id = next(self._ids)
        future: asyncio.Future[ModelStats] = asyncio.get_running_loop().create_future()
        self._stats[request_id] = future
        try:
            self._send(msg.AskStats(request_id, batch_size, sequence_length))
            return await future
        finally:
            self._stats.pop(request_id, None)

    async def stop(self, grace_s: float) -> None:
        """Let it finish what it has, at most ``grace_s`` seconds, then end it."""
        self._stopping = True
        self._loaded.cancel()
        if self._fork is None:
            return
        if self._channel is not None:
            with contextlib.suppress(ChannelClosed):
                self._channel.send(msg.Stop())
        if not await self._has_ended(grace_s):
            self._fork.kill()
            await self._has_ended(_KILL_TIMEOUT_S)

    async def _has_ended(self, within_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._ended.wait()
        return self._ended.is_set()
