import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from service.core.errors import BadRequest, Conflict, ModelNotFound, ModelNotReady
from service.core.messages import ModelSpec, ModelState
from service.repository import version as module

Play = Callable[..., None]
NUM_TOKENS = 5  # of what ``ask`` asks


def test_a_model_goes_through_every_state_to_ready(play: Play) -> None:
    async def test(bench: Any) -> None:
        assert bench.load().state is ModelState.QUEUED
        await bench.until(ModelState.READY)
        S = ModelState
        assert bench.states() == [S.QUEUED, S.LOADING, S.WARMING, S.READY]
        assert (50, 100) in [(e.bytes_done, e.bytes_total) for e in bench.told]
        assert bench.repository.get("m").info.facts.num_parameters == 1
        assert bench.value("model_state", model="m", version="1", state="ready") == 1
        assert bench.value("model_load_seconds_count", model="m", version="1") == 1
        assert bench.dataplane.readiness().ready

    play(test)


def test_an_unknown_name_or_version_is_not_found(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        for name, version in (("x", None), ("m", "2"), ("x", "1")):
            with pytest.raises(ModelNotFound):
                bench.repository.get(name, version)
        for change in (bench.repository.reload, bench.repository.unload, bench.repository.events):
            with pytest.raises(ModelNotFound):
                change("x")
        with pytest.raises(ModelNotFound):
            await bench.repository.delete("x")

    play(test)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("framework", "jax"),
        ("framework", ""),
        ("dtype", "int8"),
        ("device", "tpu"),
        ("device", "cuda"),
        ("name", "../m"),
        ("name", "m/load"),
        ("version", "1/2"),
        ("source", "elsewhere"),
    ],
)
def test_a_spec_that_is_wrong_is_refused_before_a_worker_is_started(
    play: Play, field: str, value: str
) -> None:
    async def test(bench: Any) -> None:
        words = {"name": "m", "source": "tiny", "version": "1"} | {field: value}
        with pytest.raises(BadRequest):
            bench.repository.load(ModelSpec(**words))
        assert bench.repository.all() == []
        assert bench.supervisor.workers == []
        assert bench.told == []

    play(test)


def test_a_refused_version_leaves_the_name_as_it_was(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        with pytest.raises(BadRequest):
            bench.load("2", source="elsewhere")
        assert [v.spec.version for v in bench.repository.all()] == ["1"]

    play(test)


def test_a_version_that_is_there_is_a_conflict_until_it_is_settled(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        with pytest.raises(Conflict, match="'1' is queued"):
            bench.load()
        await bench.until(ModelState.READY)
        with pytest.raises(Conflict, match="'1' is ready"):
            bench.load()
        with pytest.raises(Conflict, match="is ready, not unloaded or failed"):
            bench.repository.reload("m")
        bench.repository.unload("m")
        await bench.until(ModelState.UNLOADED)
        bench.load()
        await bench.until(ModelState.READY)
        assert len(bench.repository.all()) == 1

    play(test)


def test_a_new_version_takes_the_traffic_and_the_old_drains(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        old_worker, in_flight = bench.worker, await bench.ask_and_hold()
        bench.supervisor.stalling = True
        bench.load("2")
        await bench.until(ModelState.LOADING, "2")
        assert bench.repository.get("m").spec.version == "1"
        await bench.supervisor.until(lambda: bench.worker is not old_worker and bench.worker.order)
        bench.worker.finish_loading()
        await bench.until(ModelState.DRAINING, "1")
        assert (await bench.ask()).version == "2"
        old_worker.release()
        assert (await in_flight).version == "1"
        await bench.until(ModelState.UNLOADED, "1")
        assert not old_worker.was_killed

    play(test)


def test_no_request_is_lost_or_late_while_versions_change(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        served = set()
        for version in ("2", "3", "4"):
            bench.load(version)
            while bench.repository.get("m").spec.version != version:
                served |= {(await answer).version for answer in [bench.ask() for _ in range(5)]}
        served.add((await bench.ask()).version)
        assert served == {"1", "2", "3", "4"}

    play(test)


def test_a_new_version_that_fails_leaves_the_old_serving(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        bench.supervisor.load_fails = "no weights"
        bench.load("2")
        await bench.until(ModelState.FAILED, "2")
        assert bench.repository.get("m", "2").reason == "no weights"
        assert (await bench.ask()).version == "1"
        assert bench.dataplane.readiness().ready

    play(test)


def test_a_later_version_that_is_quicker_keeps_the_traffic(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        bench.supervisor.stalling = True
        bench.load("2")
        await bench.supervisor.until(lambda: len(bench.supervisor.workers) == 2)
        bench.supervisor.stalling = False
        bench.load("3")
        await bench.until(ModelState.READY, "3")
        for version in ("1", "2"):
            await bench.until(ModelState.UNLOADED, version)
        assert (await bench.ask()).version == "3"

    play(test)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_versions_ready_in_the_same_moment_the_later_has_the_traffic(
    play: Play, monkeypatch: pytest.MonkeyPatch, order: tuple[int, int]
) -> None:
    async def at_once(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        bench.supervisor.stalling = True
        for number, version in enumerate(("2", "3"), 2):
            bench.load(version)
            await bench.supervisor.until(
                lambda n=number: len(bench.supervisor.workers) == n and bench.worker.order
            )
        monkeypatch.setattr(module.asyncio, "to_thread", at_once)
        for number in order:
            bench.supervisor.workers[number].finish_loading()
        for version in ("1", "2"):
            await bench.until(ModelState.UNLOADED, version)
        assert bench.repository.get("m").spec.version == "3"
        assert bench.repository.get("m").state is ModelState.READY
        monkeypatch.undo()

    play(test)


def test_a_version_can_be_rolled_back(play: Play) -> None:
    async def test(bench: Any) -> None:
        for version, previous in (("1", None), ("2", "1"), ("1", "2")):
            bench.load(version)
            await bench.until(ModelState.READY, version)
            if previous:
                await bench.until(ModelState.UNLOADED, previous)
        assert (await bench.ask()).version == "1"
        assert [v.spec.version for v in bench.repository.all()] == ["2", "1"]

    play(test)


def test_the_first_version_ready_serves_while_another_is_loaded_again(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load("1")
        await bench.until(ModelState.READY, "1")
        bench.repository.unload("m")
        await bench.until(ModelState.UNLOADED, "1")
        bench.supervisor.stalling = True
        workers = bench.supervisor.workers
        for count, version in ((2, "2"), (3, "1")):
            bench.load(version)
            await bench.supervisor.until(lambda: len(workers) == count and workers[-1].order)  # noqa: B023  (awaited at once)
        workers[1].finish_loading()
        await bench.until(ModelState.READY, "2")
        assert (await bench.ask()).version == "2"

    play(test)


def test_unloading_answers_what_is_in_flight_and_refuses_what_comes(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        in_flight = await bench.ask_and_hold()
        assert bench.repository.unload("m").state is ModelState.DRAINING
        assert bench.repository.unload("m").state is ModelState.DRAINING
        with pytest.raises(ModelNotReady, match="draining"):
            await bench.ask()
        with pytest.raises(Conflict, match="is draining"):
            bench.repository.reload("m")
        bench.worker.release()
        await in_flight
        await bench.until(ModelState.UNLOADED)
        assert bench.dataplane.readiness().ready  # on purpose

    play(test)


def test_a_request_still_being_tokenised_is_not_lost_by_unloading(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        entered, gate = threading.Event(), threading.Event()
        task = bench.repository.get("m").task
        prepare = task.prepare

        def slowly(*arguments: Any) -> Any:
            entered.set()
            assert gate.wait(10)
            return prepare(*arguments)

        monkeypatch.setattr(task, "prepare", slowly)
        asked = bench.ask()
        await asyncio.to_thread(entered.wait, 10)
        bench.repository.unload("m")
        gate.set()
        assert (await asked).num_tokens == NUM_TOKENS

    play(test)


def test_an_unloaded_model_is_loaded_again_under_the_same_entry(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        bench.repository.unload("m")
        await bench.until(ModelState.UNLOADED)
        assert bench.repository.reload("m").state is ModelState.QUEUED
        await bench.until(ModelState.READY)
        assert (await bench.ask()).num_tokens == NUM_TOKENS

    play(test)


def test_a_failed_model_is_loaded_again_once_its_fault_is_gone(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.supervisor.load_fails = "no weights"
        bench.load()
        await bench.until(ModelState.FAILED)
        assert bench.dataplane.readiness().waiting_for == ("m: failed",)
        bench.supervisor.load_fails = ""
        bench.repository.reload("m")
        await bench.until(ModelState.READY)

    play(test)


def test_unloading_while_it_loads_ends_the_worker_at_once(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(bench: Any) -> None:
        monkeypatch.setattr(module, "_STOP_S", 3600)
        bench.supervisor.stalling = True
        bench.load()
        await bench.supervisor.until(
            lambda: bench.supervisor.workers and bench.worker.order is not None
        )
        bench.worker._held.append(None)  # it reads no message while it loads
        bench.repository.unload("m")
        await bench.until(ModelState.UNLOADED)
        assert bench.worker.was_killed

    play(test, worker={"grace_s": 3600})


def test_a_deleted_model_is_gone_with_its_series(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        await bench.ask()
        await bench.repository.delete("m")
        with pytest.raises(ModelNotFound):
            bench.repository.get("m")
        assert bench.told[-1].state is ModelState.UNLOADED
        assert bench.value("model_state", model="m", version="1", state="ready") is None
        bench.load()
        await bench.until(ModelState.READY)

    play(test)


def test_deleting_goes_on_when_the_client_leaves_and_keeps_the_name_until_then(
    play: Play,
) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        in_flight = await bench.ask_and_hold()
        deleting = asyncio.create_task(bench.repository.delete("m"))
        await asyncio.wait({deleting}, timeout=0)
        deleting.cancel()
        await asyncio.wait({deleting})
        with pytest.raises(Conflict, match="being deleted"):
            bench.load()
        bench.worker.release()
        await in_flight
        async with asyncio.timeout(10):
            while bench.repository._leaving:
                await asyncio.sleep(0)
        bench.load()
        await bench.until(ModelState.READY)

    play(test)


def test_closing_ends_every_model_and_every_stream(play: Play) -> None:
    async def test(bench: Any) -> None:
        stream = bench.repository.events("m") if bench.load() else None
        assert (await anext(stream)).state is ModelState.QUEUED
        bench.load(name="other")
        await bench.until(ModelState.READY, name="other")
        await bench.repository.close()
        assert [event.state async for event in stream][-1] is ModelState.UNLOADED
        assert {v.state for v in bench.repository.all()} == {ModelState.UNLOADED}

    play(test)


def test_a_stream_of_one_model_tells_of_no_other(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.load()
        await bench.until(ModelState.READY)
        one, all_ = bench.repository.events("m"), bench.repository.events(None)
        assert (await anext(one)).state is (await anext(all_)).state is ModelState.READY
        bench.load(name="other")
        await bench.until(ModelState.READY, name="other")
        bench.repository.unload("m")
        assert [(await anext(all_)).name for _ in range(2)] == ["other", "other"]
        assert (await anext(one)).state is ModelState.DRAINING
        await one.aclose()
        await all_.aclose()

    play(test)
