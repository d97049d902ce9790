import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.core.errors import (
    BadRequest,
    DeadlineExceeded,
    ModelNotFound,
    ModelNotReady,
    Overloaded,
    TooLarge,
    UnsupportedInput,
)
from service.core.messages import (
    InferRequest,
    Inputs,
    ModelFacts,
    ModelSpec,
    ModelState,
    TensorInputs,
    TextInputs,
    TokenInputs,
)
from service.core.metrics import Metrics
from service.core.settings import LimitSettings
from service.core.work import SequenceWork, TensorWork, Want, WorkItem
from service.dataplane import LocalDataPlane, _num_tokens
from service.engine.admission import Admission
from service.tasks import UnknownTask

FACTS = ModelFacts("B", "torch", "float32", "cpu", "feature-extraction", 1, 4, 64, "mean")


class FakeVersion:
    """A version that answers each piece of work with its number of tokens, once it may."""

    def __init__(self, limits: LimitSettings) -> None:
        self.spec = ModelSpec("m", "/m")
        self.state = ModelState.READY
        self.facts = FACTS
        self.admission = Admission(limits.max_queued_requests, limits.max_queued_tokens)
        self.task = self.client = self
        self.name = "feature-extraction"
        self.is_restarting = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.work: Sequence[WorkItem] = []
        self.waiting: list[tuple[int, int]] = []

    async def wait_until_ready(self) -> bool:
        await self.gate.wait()
        self.is_restarting = False
        return True

    def prepare(self, inputs: Any, parameters: Any) -> list[WorkItem]:
        self.waiting.append((self.admission.num_requests, self.admission.num_tokens))
        items = inputs.texts if isinstance(inputs, TextInputs) else inputs.sequences
        return [SequenceWork(np.zeros(len(item), np.int32), Want.EMBEDDING) for item in items]

    def finish(self, results: Any, work: Any, parameters: Any) -> Any:
        return results

    async def infer(self, work: Sequence[WorkItem]) -> list[Any]:
        self.work = work
        self.entered.set()
        await self.gate.wait()
        return [{"n": np.array(item.num_tokens)} for item in work]

    async def stats(self, batch_size: int, sequence_length: int | None) -> Any:
        await self.gate.wait()


class FakeRepository:
    def __init__(self, *versions: Any) -> None:
        self._versions = versions

    def get(self, name: str, version: str | None = None) -> Any:
        for found in self._versions:
            if found.spec.name == name:
                return found
        raise ModelNotFound(name)

    def all(self) -> Sequence[Any]:
        return self._versions


class Bench:
    def __init__(self, limits: LimitSettings) -> None:
        self.version = FakeVersion(limits)
        self.metrics = Metrics()
        self.dataplane = LocalDataPlane(
            FakeRepository(self.version),
            limits,
            self.metrics,
            None,  # type: ignore[arg-type]
            required=["m"],
        )

    async def ask(self, inputs: Inputs, **fields: Any) -> Any:
        return await self.dataplane.infer(InferRequest("m", inputs, **fields))

    @contextmanager
    def held(self) -> Iterator[None]:
        self.version.gate.clear()
        yield
        self.version.gate.set()


def play(test: Callable[[Bench], Coroutine[Any, Any, None]], **limits: Any) -> None:
    async def run() -> None:
        bench = Bench(LimitSettings(**limits))
        async with asyncio.timeout(10):
            await test(bench)
        assert not bench.dataplane._deadlines

    asyncio.run(run())


TEXT = TextInputs(["abc"])


def test_a_request_waits_for_a_worker_that_is_being_started_again() -> None:
    async def test(bench: Bench) -> None:
        bench.version.is_restarting = True
        bench.version.gate.clear()
        asked = asyncio.create_task(bench.ask(TextInputs(["abc"])))
        done, _ = await asyncio.wait({asked}, timeout=0)
        assert not done
        bench.version.gate.set()
        assert (await asked).num_tokens == 3

    play(test)


def test_an_answer_says_who_gave_it_and_counts_the_tokens() -> None:
    async def test(bench: Bench) -> None:
        answer = await bench.ask(TextInputs(["abc", "defgh"]))
        assert (answer.model, answer.version, answer.num_tokens) == ("m", "1", 8)
        assert answer.task == "feature-extraction"

    play(test)


@pytest.mark.parametrize(
    ("inputs", "estimate"),
    [
        (TextInputs(["x" * 30]), 12),
        (TextInputs(["x" * 30] * 3), 36),
        (TextInputs(["x" * 100_000, "x"]), 64 + 2),  # cut at what the model takes
        (TokenInputs([[1] * 30]), 32),
        (TokenInputs([[1] * 500]), 64),
    ],
)
def test_tokens_are_estimated_before_anything_is_tokenised(inputs: Inputs, estimate: int) -> None:
    async def test(bench: Bench) -> None:
        await bench.ask(inputs)
        assert bench.version.waiting == [(1, estimate)]

    play(test)


def test_the_count_replaces_the_estimate_while_the_model_computes() -> None:
    async def test(bench: Bench) -> None:
        with bench.held():
            task = asyncio.create_task(bench.ask(TextInputs(["x" * 30])))
            await bench.version.entered.wait()
            assert bench.version.admission.num_tokens == 30
        await task
        assert bench.version.admission.num_tokens == 0

    play(test)


@pytest.mark.parametrize(
    "inputs",
    [
        TextInputs(["a"] * 4),
        TokenInputs([[1]] * 4),
        TensorInputs({"input_ids": np.ones((4, 2), np.int64)}),
        TensorInputs({"input_ids": np.ones((1, 2)), "attention_mask": np.ones((4, 2))}),
    ],
)
def test_more_inputs_than_one_request_may_have_are_refused_by_name(inputs: Inputs) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(TooLarge, match=r"4 is over the limit of 3 .*limits\.max_inputs"):
            await bench.ask(inputs)
        assert bench.version.waiting == []

    play(test, max_inputs=3)


@pytest.mark.parametrize(
    ("arrays", "tokens"),
    [
        ({"input_ids": np.ones((2, 5), np.int64)}, 10),
        ({"inputs_embeds": np.ones((2, 5, 384), np.float32)}, 10),
        ({"input_ids": np.ones((2, 5)), "labels": np.ones(2)}, 10),
        ({"input_ids": np.array(3)}, 1),
    ],
)
def test_raw_tensors_count_batch_times_length(arrays: Any, tokens: int) -> None:
    async def test(bench: Bench) -> None:
        answer = await bench.ask(TensorInputs(arrays))
        assert (answer.task, answer.num_tokens) == ("tensors", tokens)
        assert isinstance(bench.version.work[0], TensorWork)

    play(test)


@pytest.mark.parametrize("inputs", [TensorInputs({}), TextInputs([]), TokenInputs([])])
def test_nothing_to_compute_is_refused(inputs: Inputs) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(BadRequest, match="accepted"):
            await bench.ask(inputs)

    play(test)


@pytest.mark.parametrize(
    ("name", "inputs", "text"),
    [
        ("fill-mask", ("input_ids",), r"'m' does fill-mask on texts, .* /models/m/predict; accept"),
        (
            UnknownTask.name,
            ("pixel_values",),
            r"'m' does image-classification on raw tensors \(pixel_values\), over .*accepted here: "
            "a model that does feature-extraction on texts",
        ),
    ],
)
def test_a_task_the_model_does_not_do_is_refused_with_the_one_it_does(
    name: str, inputs: tuple[str, ...], text: str
) -> None:
    async def test(bench: Bench) -> None:
        bench.version.name = name
        bench.version.facts = replace(FACTS, task="image-classification", inputs=inputs)
        with pytest.raises(UnsupportedInput, match=text):
            await bench.ask(TEXT, task="feature-extraction")

    play(test)


def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    async def test(bench: Bench) -> None:
        with bench.held():
            task = asyncio.create_task(bench.ask(TEXT))
            await bench.version.entered.wait()
            with pytest.raises(Overloaded):
                await bench.ask(TEXT)
            gauge = bench.metrics.queued_requests.labels("m", "1")
            assert gauge._value.get() == 1
        await task
        await bench.ask(TEXT)
        assert gauge._value.get() == 0

    play(test, max_queued_requests=1)


@pytest.mark.parametrize(("asked", "setting"), [(0.01, 60.0), (None, 0.01)])
def test_a_request_ends_at_its_own_deadline_or_at_the_settings(
    asked: float | None, setting: float
) -> None:
    async def test(bench: Bench) -> None:
        with bench.held(), pytest.raises(DeadlineExceeded, match=r"within 0\.01 s"):
            await bench.ask(TEXT, timeout_s=asked)
        assert bench.version.admission.num_requests == 0

    play(test, request_timeout_s=setting)


def test_stats_end_at_the_settings_deadline() -> None:
    async def test(bench: Bench) -> None:
        with bench.held(), pytest.raises(DeadlineExceeded):
            await bench.dataplane.stats("m", 1, 8)

    play(test, request_timeout_s=0.01)


@pytest.mark.parametrize(
    ("state", "ready"),
    [(s, s in (ModelState.READY, ModelState.UNLOADED)) for s in ModelState],
)
def test_readiness_waits_for_every_model_of_the_start(state: ModelState, ready: bool) -> None:
    async def test(bench: Bench) -> None:
        bench.version.state = state
        readiness = bench.dataplane.readiness()
        assert readiness.ready is ready
        assert readiness.waiting_for == (() if ready else (f"m: {state}",))

    play(test)


def test_a_service_that_leaves_is_not_ready_and_still_answers() -> None:
    async def test(bench: Bench) -> None:
        bench.dataplane.leave(60)
        assert bench.dataplane.readiness().waiting_for == ("the service is shutting down",)
        await bench.ask(TEXT)

    play(test)


def test_requests_not_answered_within_the_grace_end_as_not_ready() -> None:
    async def test(bench: Bench) -> None:
        with bench.held():
            tasks = [asyncio.create_task(bench.ask(TEXT)) for _ in range(3)]
            await bench.version.entered.wait()
            bench.dataplane.leave(60)
            bench.dataplane.leave(0)
            for task in tasks:
                with pytest.raises(ModelNotReady, match="shutting down"):
                    await task
            with pytest.raises(ModelNotReady, match="shutting down"):
                await bench.ask(TEXT)
        assert bench.version.admission.num_requests == 0

    play(test)


def test_the_default_model_is_the_first_and_none_is_not_found() -> None:
    async def test(bench: Bench) -> None:
        assert bench.dataplane.default_model() == "m"
        empty = LocalDataPlane(FakeRepository(), LimitSettings(), Metrics(), None)  # type: ignore[arg-type]
        with pytest.raises(ModelNotFound):
            empty.default_model()
        assert empty.readiness().ready

    play(test)


def test_pixels_and_sound_cost_what_they_are_made_of() -> None:
    facts = replace(FACTS, values_per_token={"input_values": 320.0})
    arrays = {"input_values": np.zeros((1, 100_000), np.float32),
              "attention_mask": np.ones((1, 100_000), np.int64)}  # fmt: skip
    assert _num_tokens(TensorInputs(arrays), facts) == 313
    ids = {"input_ids": np.zeros((2, 7), np.int64), "attention_mask": np.ones((2, 9), np.int64)}
    assert _num_tokens(TensorInputs(ids), FACTS) == 18
