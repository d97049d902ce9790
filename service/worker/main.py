"""A worker: loads one model, then computes batches until it is told to stop.

The main thread reads messages. Beside it run *lanes*, threads that each take a batch from the
queue and compute it on one processor: sequences in parallel cost no synchronisation inside a
forward, and a processor that something else needs delays one lane, not all of them. Only a lone
long sequence is given all processors, and only by the first lane, which also loads the model:
OpenMP keeps a team of threads for each thread that asks for one, and makes all of them slow as
soon as there are more threads than processors.
"""

import contextlib
import importlib
import logging
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import psutil

from model_base.errors import ModelBaseError
from service.channel import messages as msg
from service.channel.frames import BlockingChannel, ChannelClosed
from service.core.messages import Array
from service.core.work import WorkResult
from service.worker.batcher import Batcher, Ticket
from service.worker.runners.base import InputRejected, Runner

logger = logging.getLogger("service.worker")

_PROGRESS_EVERY_S = 0.1
_MAX_REASON = 500


def run_worker(framework: str, sock: socket.socket) -> None:
    """Serve one channel until Stop, or until the API process is gone."""
    channel: BlockingChannel[msg.ToWorker] = BlockingChannel(sock, msg.ToWorker)  # type: ignore[arg-type]
    try:
        frame = channel.receive(wait=True)
        assert frame is not None
        order = frame[0]
        assert isinstance(order, msg.Load)
        first_lane = ThreadPoolExecutor(1, "lane 0")
        runner = first_lane.submit(_load, framework, order, channel).result()
        if runner is not None:
            Worker(runner, channel, order.max_batch_tokens, first_lane).run()
    except ChannelClosed:
        return


def _load(framework: str, order: msg.Load, channel: BlockingChannel[msg.ToWorker]) -> Runner | None:
    """Load and warm up, reporting each step; None, with the reason reported, if it fails."""
    kind: type[Runner] = importlib.import_module(f"service.worker.runners.{framework}").RUNNER
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last > _PROGRESS_EVERY_S:
            last = now
            channel.send(msg.Progress(done, total))

    try:
        runner = kind.load(order, progress)
        channel.send(msg.Warming())
        runner.warm_up()
    except ChannelClosed:
        raise
    except Exception as error:  # the worker's edge: every failure becomes the reason of FAILED
        is_known = isinstance(error, ModelBaseError)
        logger.warning("loading failed: %s", _reason(error), exc_info=None if is_known else error)
        channel.send(msg.LoadFailed(_reason(error)))
        return None
    channel.send(msg.Ready(runner.facts))
    return runner


def _reason(error: Exception) -> str:
    """One line: our own errors speak for themselves, others are named."""
    text = " ".join(str(error).split())[:_MAX_REASON]
    return text if isinstance(error, ModelBaseError) else f"{type(error).__name__}: {text}"


class Worker:
    """The loop of a loaded model.

    Args:
        runner: computes; several lanes call it at once.
        channel: to the API process.
        max_tokens: budget of one forward.
        first_lane: the thread that may use all processors at once.
    """

    def __init__(
        self,
        runner: Runner,
        channel: BlockingChannel[msg.ToWorker],
        max_tokens: int,
        first_lane: ThreadPoolExecutor,
    ) -> None:
        self._runner = runner
        self._channel = channel
        self._first_lane = first_lane
        self._batcher = Batcher(max_tokens, runner.num_lanes)
        self._changed = threading.Condition()
        self._busy_lanes = 0
        self._stopping = False
        self._process = psutil.Process()

    def run(self) -> None:
        """Until Stop was received and the queue is empty.

        Raises:
            ChannelClosed: the API process is gone; lanes may still compute.
        """
        others = ThreadPoolExecutor(self._runner.num_lanes, "lane")
        lanes = [self._first_lane.submit(self._run_lane, is_first=True)]
        for _ in range(1, self._runner.num_lanes):
            lanes.append(others.submit(self._run_lane, is_first=False))
        try:
            while not self._stopping:
                frame = self._channel.receive(wait=True)
                assert frame is not None
                self._obey(*frame)
        finally:
            self._stop()
        for lane in lanes:
            lane.result()

    def _obey(self, message: msg.ToWorker, block: memoryview) -> None:
        match message:
            case msg.Submit():
                work = msg.unpack_work(message, block)
                with self._changed:
                    self._batcher.add(message.id, message.admitted_s, work)
                    self._changed.notify_all()
            case msg.Cancel():
                with self._changed:
                    self._batcher.cancel(message.id)
            case msg.AskStats():
                self._report_stats(message)
            case msg.Stop():
                self._stop()

    def _stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def _report_stats(self, message: msg.AskStats) -> None:
        try:
            stats = self._runner.stats(message.batch_size, message.sequence_length)
        except Exception as error:  # the worker's edge
            self._fail(message.id, error)
        else:
            self._channel.send(msg.StatsReply(message.id, stats))

    def _run_lane(self, *, is_first: bool) -> None:
        with contextlib.suppress(ChannelClosed):  # the main thread learns of it, too
            while batch := self._next_batch(is_first):
                self._compute(*batch)

    def _next_batch(self, is_first: bool) -> tuple[list[Ticket], int] | None:
        """Wait for a batch; with it the processors it may use. None when all is done."""
        with self._changed:
            while True:
                is_lone = not self._busy_lanes and self._batcher.has_one
                is_mine = is_first or not is_lone
                if is_mine and (batch := self._batcher.next_batch()):
                    break
                if self._stopping:
                    return None
                self._changed.wait()
            self._busy_lanes += 1
        return batch, self._runner.num_lanes if is_lone else 1

    def _compute(self, batch: Sequence[Ticket], num_threads: int) -> None:
        try:
            done = self._compute_together(batch, num_threads)
        finally:
            with self._changed:
                self._busy_lanes -= 1
        for each in done:
            self._channel.send(each)

    def _compute_together(self, batch: Sequence[Ticket], num_threads: int) -> list[msg.BatchDone]:
        """Answer a batch; if it fails, each request of it alone: one may be at fault."""
        started = time.monotonic()
        try:
            results = self._runner.run([ticket.work for ticket in batch], num_threads)
            ended = time.monotonic()
            self._answer(batch, results)
        except ChannelClosed:
            raise
        except Exception as error:  # the worker's edge: one bad batch must not end its lane
            requests = dict.fromkeys(ticket.request_id for ticket in batch)
            if len(requests) == 1:
                self._give_up(batch, error)
                return []
            done: list[msg.BatchDone] = []
            for request_id in requests:
                alone = [ticket for ticket in batch if ticket.request_id == request_id]
                done += self._compute_together(alone, num_threads)
            return done
        return [
            msg.BatchDone(
                num_sequences=len(batch),
                num_tokens=sum(ticket.work.num_tokens for ticket in batch),
                forward_s=ended - started,
                waited_s=tuple(started - ticket.admitted_s for ticket in batch),
                resident_bytes=self._process.memory_info().rss,
            )
        ]

    def _answer(self, batch: Sequence[Ticket], results: Sequence[WorkResult]) -> None:
        """One message for each request that has sequences in the batch."""
        by_request: dict[int, tuple[list[int], list[dict[str, Array]]]] = {}
        for ticket, result in zip(batch, results, strict=True):
            indices, arrays = by_request.setdefault(ticket.request_id, ([], []))
            indices.append(ticket.index)
            arrays.append(dict(result))
        for request_id, (indices, arrays) in by_request.items():
            self._channel.send(*msg.pack_results(request_id, indices, arrays))

    def _give_up(self, batch: Sequence[Ticket], error: Exception) -> None:
        """Fail every request of a batch, and forget what is left of it."""
        for request_id in {ticket.request_id for ticket in batch}:
            with self._changed:
                self._batcher.cancel(request_id)
            self._fail(request_id, error)

    def _fail(self, request_id: int, error: Exception) -> None:
        is_input = isinstance(error, InputRejected)
        if not is_input:
            logger.error("request %d failed", request_id, exc_info=error)
        message = str(error) if is_input else "the model failed on this input"
        self._channel.send(msg.Failed(request_id, message, is_input))
