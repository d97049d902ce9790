import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from model_base.errors import CheckpointMismatch
from service.channel import messages as msg
from service.channel.frames import BlockingChannel, ChannelClosed
from service.core.messages import ModelFacts, ModelStats
from service.core.work import SequenceWork, TensorWork, Want, WorkItem, WorkResult
from service.worker import main as module
from service.worker.main import Worker, run_worker
from service.worker.runners.base import InputRejected


class FakeRunner:
    """Answers each sequence with its length; ``gate`` closed, it waits before it does."""

    facts = ModelFacts("Fake", "fake", "float32", "cpu", "feature-extraction", 1, 4, 64)

    def __init__(self, num_lanes: int = 1) -> None:
        self.num_lanes = num_lanes
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.batches: list[list[int]] = []
        self.threads: list[int] = []
        self.lanes: list[str] = []
        self.error: Exception | None = None
        self.num_results: int | None = None

    @classmethod
    def load(cls, order: msg.Load, progress: Callable[[int, int], None]) -> "FakeRunner":
        return cls()

    def warm_up(self) -> None:
        pass

    def run(self, batch: Sequence[WorkItem], num_threads: int) -> Sequence[WorkResult]:
        self.batches.append([item.num_tokens for item in batch])
        self.threads.append(num_threads)
        self.lanes.append(threading.current_thread().name)
        self.entered.release()
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        results = [{"embedding": np.array([item.num_tokens])} for item in batch]
        return results[: self.num_results]

    def stats(self, batch_size: int, sequence_length: int) -> ModelStats:
        if sequence_length > 64:
            raise InputRejected("too long")
        return ModelStats(1, 1, 1, {}, batch_size, sequence_length, {}, 1, 1, 1)


class Bench:
    """A worker in a thread, and the API process's end of its channel."""

    def __init__(self, sock: socket.socket, worker_sock: socket.socket) -> None:
        self._channel: BlockingChannel[Any] = BlockingChannel(sock, msg.FromWorker)  # type: ignore[arg-type]
        self._worker_channel: BlockingChannel[Any] = BlockingChannel(worker_sock, msg.ToWorker)  # type: ignore[arg-type]
        self._thread: threading.Thread | None = None

    def start(self, runner: FakeRunner, max_tokens: int = 10) -> None:
        worker = Worker(runner, self._worker_channel, max_tokens, ThreadPoolExecutor(1, "first"))
        self._thread = threading.Thread(target=worker.run)
        self._thread.start()

    def submit(self, request_id: int, *lengths: int) -> None:
        work = [SequenceWork(np.zeros(n, np.int32), Want.EMBEDDING) for n in lengths]
        self._channel.send(*msg.pack_work(request_id, 0.0, work))

    def say(self, message: msg.ToWorker, block: bytes = b"") -> None:
        self._channel.send(message, block)

    def hear(self) -> tuple[Any, memoryview]:
        frame = self._channel.receive(wait=True)
        assert frame is not None
        return frame

    def answers(self, count: int) -> dict[int, list[int]]:
        """The next ``count`` sequences' answers by request, in the order of their sequences."""
        seen: dict[int, dict[int, int]] = {}
        while sum(map(len, seen.values())) < count:
            message, block = self.hear()
            if isinstance(message, msg.Result):
                for index, result in msg.unpack_results(message, block):
                    seen.setdefault(message.id, {})[index] = int(result["embedding"][0])
        return {request: [r[i] for i in sorted(r)] for request, r in seen.items()}

    def next(self, kind: type[Any]) -> Any:
        while not isinstance(message := self.hear()[0], kind):
            pass
        return message

    def stop(self) -> None:
        if self._thread is not None:
            self.say(msg.Stop())
            self._thread.join(10)
            assert not self._thread.is_alive()
            self._thread = None


@pytest.fixture
def bench() -> Iterator[Bench]:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    with ours, theirs:
        bench = Bench(ours, theirs)
        yield bench
        bench.stop()


def test_every_sequence_is_answered_by_its_index(bench: Bench) -> None:
    bench.start(FakeRunner())
    bench.submit(1, 5, 2, 9, 30)
    bench.submit(2, 7)
    assert bench.answers(5) == {1: [5, 2, 9, 30], 2: [7]}


def test_a_forward_is_reported_with_its_size_and_waits(bench: Bench) -> None:
    bench.start(FakeRunner())
    bench.submit(1, 3, 4)
    done = bench.next(msg.BatchDone)
    assert (done.num_sequences, done.num_tokens, len(done.waited_s)) == (2, 7, 2)
    assert done.resident_bytes > 0


def test_a_cancelled_request_is_not_computed(bench: Bench) -> None:
    runner = FakeRunner()
    runner.gate.clear()
    bench.start(runner)
    bench.submit(1, 10)
    assert runner.entered.acquire(timeout=10)
    bench.submit(2, 10)
    bench.say(msg.Cancel(2))
    bench.submit(3, 10)
    bench.say(msg.AskStats(9, 1, 8))  # answered after all messages before it were read
    bench.next(msg.StatsReply)
    runner.gate.set()
    assert bench.answers(2) == {1: [10], 3: [10]}
    assert len(runner.batches) == 2


@pytest.mark.parametrize(
    ("error", "is_input", "message"),
    [
        (InputRejected("ids are wrong"), True, "ids are wrong"),
        (RuntimeError("/srv/secret"), False, "the model failed on this input"),
    ],
)
def test_a_batch_that_fails_fails_its_requests_and_the_lane_goes_on(
    bench: Bench, error: Exception, is_input: bool, message: str
) -> None:
    runner = FakeRunner()
    runner.error = error
    bench.start(runner)
    bench.submit(1, 10, 10, 10)
    failed = bench.next(msg.Failed)
    assert (failed.id, failed.is_input, failed.message) == (1, is_input, message)
    runner.error = None
    bench.submit(2, 4)
    assert bench.answers(1) == {2: [4]}
    assert runner.batches == [[10], [4]]


def test_a_runner_that_answers_too_little_fails_the_request_and_the_lane_goes_on(
    bench: Bench,
) -> None:
    runner = FakeRunner()
    runner.num_results = 1
    bench.start(runner)
    bench.submit(1, 2, 2)
    assert bench.next(msg.Failed).id == 1
    bench.submit(2, 4)
    assert bench.answers(1) == {2: [4]}


def test_stopping_finishes_what_is_queued_in_every_lane(bench: Bench) -> None:
    runner = FakeRunner(num_lanes=3)
    runner.gate.clear()
    bench.start(runner)
    bench.submit(1, *[5] * 20)
    bench.say(msg.Stop())
    runner.gate.set()
    assert bench.answers(20) == {1: [5] * 20}


def test_lanes_compute_side_by_side_and_share_what_waits(bench: Bench) -> None:
    runner = FakeRunner(num_lanes=2)
    runner.gate.clear()
    bench.start(runner, max_tokens=100)
    bench.submit(1, 10, 10)
    for _ in range(2):
        assert runner.entered.acquire(timeout=10)
    assert runner.batches == [[10], [10]]
    runner.gate.set()
    bench.answers(2)


def test_a_lone_sequence_is_given_all_processors_and_others_one(bench: Bench) -> None:
    runner = FakeRunner(num_lanes=2)
    bench.start(runner, max_tokens=100)
    bench.submit(1, 10)
    bench.next(msg.BatchDone)
    runner.gate.clear()
    bench.submit(2, 10, 10)
    for _ in range(3):
        assert runner.entered.acquire(timeout=10)
    assert runner.threads == [2, 1, 1]
    runner.gate.set()
    bench.answers(2)


def test_all_processors_are_only_given_to_the_first_lane(bench: Bench) -> None:
    runner = FakeRunner(num_lanes=3)
    bench.start(runner)
    for request in range(20):
        bench.submit(request, 5)
        bench.next(msg.BatchDone)
    assert set(runner.threads) == {3}
    assert set(runner.lanes) == {"first_0"}


def test_raw_tensors_come_and_go_by_name(bench: Bench) -> None:
    bench.start(FakeRunner())
    bench.say(*msg.pack_work(1, 0.0, [TensorWork({"input_ids": np.ones((2, 3), np.int64)}, 6)]))
    assert bench.answers(1) == {1: [6]}


def test_stats_beyond_the_model_are_the_inputs_fault(bench: Bench) -> None:
    bench.start(FakeRunner())
    bench.say(msg.AskStats(4, 1, 65))
    failed = bench.next(msg.Failed)
    assert (failed.id, failed.is_input) == (4, True)


def test_a_forward_is_timed_from_its_start_and_its_wait_from_admission(bench: Bench) -> None:
    started = time.monotonic()
    bench.start(FakeRunner())
    work = [SequenceWork(np.zeros(3, np.int32), Want.EMBEDDING)] * 2
    bench.say(*msg.pack_work(1, started - 100, work))
    done = bench.next(msg.BatchDone)
    passed = time.monotonic() - started
    assert 0 <= done.forward_s <= passed
    assert all(100 <= waited <= 100 + passed for waited in done.waited_s)


class Recorded(FakeRunner):
    """Notes each call; ``load_fails`` and ``warm_up_fails`` raise."""

    load_fails: Exception | None = None
    warm_up_fails: Exception | None = None
    calls: list[Any]

    @classmethod
    def load(cls, order: msg.Load, progress: Callable[[int, int], None]) -> "Recorded":
        cls.calls.append(order)
        if cls.load_fails:
            raise cls.load_fails
        for done in range(5):
            progress(done, 4)
        return cls()

    def warm_up(self) -> None:
        self.calls.append("warm_up")
        if self.warm_up_fails:
            raise self.warm_up_fails

    @property
    def facts(self) -> ModelFacts:  # type: ignore[override]
        self.calls.append("facts")
        return FakeRunner.facts


ORDER = msg.Load("/models/m", "auto", "cpu", (), 1, 64)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> type[Recorded]:
    """The runner of a framework called ``fake``; no progress is told but the last."""
    kind = type("Recorded", (Recorded,), {"calls": []})
    name = "service.worker.runners.fake"
    monkeypatch.setitem(sys.modules, name, SimpleNamespace(RUNNER=kind))  # type: ignore[misc]
    monkeypatch.setattr(module, "_PROGRESS_EVERY_S", float("inf"))
    return kind


def said() -> list[Any]:
    """All that a worker says that is told to load and then to stop."""
    ours, theirs = socket.socketpair()
    with ours:
        channel: BlockingChannel[Any] = BlockingChannel(ours, msg.FromWorker)  # type: ignore[arg-type]
        channel.send(ORDER)
        channel.send(msg.Stop())
        with theirs:
            run_worker("fake", theirs)
        heard = []
        with contextlib.suppress(ChannelClosed):
            while frame := channel.receive(wait=True):
                heard.append(frame[0])
    return heard


def test_a_worker_tells_the_end_of_loading_then_warms_up_and_is_ready(
    recorded: type[Recorded],
) -> None:
    assert said() == [msg.Progress(4, 4), msg.Warming(), msg.Ready(FakeRunner.facts)]
    assert recorded.calls == [ORDER, "warm_up", "facts"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("x"), "KeyError: 'x'"),
        (CheckpointMismatch("no weights"), "no weights"),
        (RuntimeError("one\ntwo"), "RuntimeError: one two"),
        (ValueError("x" * 1000), "ValueError: " + "x" * 500),
        (ValueError(), "ValueError: "),
    ],
    ids=["unexpected", "ours", "lines", "long", "empty"],
)
def test_a_load_that_fails_is_told_in_one_line_and_ends_the_worker(
    recorded: type[Recorded], error: Exception, reason: str
) -> None:
    recorded.load_fails = error
    assert said() == [msg.LoadFailed(reason)]


def test_a_warm_up_that_fails_is_a_load_that_fails(recorded: type[Recorded]) -> None:
    recorded.warm_up_fails = RuntimeError("no kernel")
    assert said()[1:] == [msg.Warming(), msg.LoadFailed("RuntimeError: no kernel")]


class PickyRunner(FakeRunner):
    """Fails on every batch that has a sequence of three tokens in it."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.three_error = error

    def run(self, batch: Sequence[WorkItem], num_threads: int) -> Sequence[WorkResult]:
        results = super().run(batch, num_threads)
        if 3 in self.batches[-1]:
            raise self.three_error
        return results


@pytest.mark.parametrize("error", [InputRejected("three"), RuntimeError("no memory")])
def test_what_a_request_fails_on_fails_none_that_was_batched_with_it(
    error: Exception, bench: Bench
) -> None:
    runner = PickyRunner(error)
    runner.gate.clear()
    bench.start(runner, max_tokens=20)
    bench.submit(1, 9)
    assert runner.entered.acquire(timeout=10)
    for request, length in ((2, 4), (3, 3), (4, 5)):
        bench.submit(request, length)
    bench.submit(5, 20)  # the three before it have been read once it is queued
    runner.gate.set()
    heard = [bench.hear()[0] for _ in range(9)]
    failed = [message.id for message in heard if isinstance(message, msg.Failed)]
    answered = [message.id for message in heard if isinstance(message, msg.Result)]
    assert failed == [3]
    assert sorted(answered) == [1, 2, 4, 5]
