import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.channel.messages import Load
from service.core.errors import OutOfMemory, WorkerLost
from service.core.messages import ModelSpec, ModelState
from service.engine.supervisor import TemplateFailed
from service.repository import version as module

Play = Callable[..., None]
LABELS = {"model": "m", "version": "1"}


async def ready(bench: Any) -> None:
    bench.load()
    await bench.until(ModelState.READY)


def test_a_lost_worker_costs_its_requests_and_is_replaced(play: Play) -> None:
    async def test(bench: Any) -> None:
        await ready(bench)
        tasks = [await bench.ask_and_hold() for _ in range(3)]
        bench.worker.die(-9)
        for task in tasks:
            with pytest.raises(WorkerLost):
                await task
        await bench.until(ModelState.LOADING)
        assert not bench.dataplane.readiness().ready
        assert len((await bench.ask()).outputs) == 1  # it waits for the new worker
        await bench.until(ModelState.READY)
        assert bench.value("worker_restarts_total", **LABELS) == 1
        assert bench.value("queued_requests", **LABELS) == 0

    play(test)


def test_a_worker_that_keeps_ending_is_restarted_ever_more_slowly(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    async def test(bench: Any) -> None:
        monkeypatch.setattr(module, "_BACKOFF_S", (0.0, 0.5, 1.0, 2.0))
        monkeypatch.setattr(module.asyncio, "sleep", note)
        await ready(bench)
        for _ in range(5):
            await bench.until(ModelState.READY)
            bench.worker.die(-9)
            await bench.until(ModelState.LOADING)
        await bench.until(ModelState.READY)
        monkeypatch.setattr(module, "_STEADY_S", 0.0)
        bench.worker.die(-9)
        await bench.until(ModelState.LOADING)
        await bench.until(ModelState.READY)
        assert waits == [0.0, 0.5, 1.0, 2.0, 2.0, 2.0, 0.5]
        assert bench.value("worker_restarts_total", **LABELS) == 6

    play(test)


@pytest.mark.parametrize(
    "error",
    [TemplateFailed("gone"), OutOfMemory(10, 5, "this machine")],
    ids=["template", "memory"],
)
def test_what_passes_does_not_end_a_restart_but_ends_a_first_load(
    play: Play, error: Exception
) -> None:
    async def test(bench: Any) -> None:
        bench.supervisor.fails = [error]
        bench.load()
        await bench.until(ModelState.FAILED)
        bench.repository.reload("m")
        await bench.until(ModelState.READY)
        bench.supervisor.fails = [error, error]
        bench.worker.die(-9)
        await bench.until(ModelState.LOADING)
        await bench.until(ModelState.READY)
        assert bench.supervisor.fails == []

    play(test)


def test_a_worker_killed_again_while_it_restarts_is_restarted_again(play: Play) -> None:
    async def test(bench: Any) -> None:
        await ready(bench)
        bench.supervisor.stalling = True
        bench.worker.die(-9)
        await bench.supervisor.until(lambda: len(bench.supervisor.workers) == 2)
        bench.supervisor.stalling = False
        bench.worker.die(-9)
        await bench.until(ModelState.READY)
        assert len(bench.supervisor.workers) == 3

    play(test)


def test_a_restart_that_finds_the_files_damaged_fails_with_the_reason(play: Play) -> None:
    async def test(bench: Any) -> None:
        await ready(bench)
        bench.supervisor.load_fails = "model.safetensors is damaged"
        bench.worker.die(-9)
        await bench.until(ModelState.FAILED)
        assert bench.repository.get("m").reason == "model.safetensors is damaged"

    play(test)


def test_a_worker_that_dies_while_it_drains_is_not_restarted(play: Play) -> None:
    async def test(bench: Any) -> None:
        await ready(bench)
        task = await bench.ask_and_hold()
        bench.repository.unload("m")
        bench.worker.die(-9)
        with pytest.raises(WorkerLost):
            await task
        await bench.until(ModelState.UNLOADED)
        assert len(bench.supervisor.workers) == 1
        assert bench.states()[-2:] == [ModelState.DRAINING, ModelState.UNLOADED]

    play(test)


def test_draining_waits_no_longer_than_the_grace(play: Play) -> None:
    async def test(bench: Any) -> None:
        await ready(bench)
        task = await bench.ask_and_hold()
        monkey = bench.worker
        bench.repository.unload("m")
        await bench.until(ModelState.UNLOADED)
        assert monkey.was_killed
        with pytest.raises(WorkerLost):
            await task

    play(test, worker={"grace_s": 0.01})


def test_a_load_that_takes_too_long_is_ended_and_names_the_setting(play: Play) -> None:
    async def test(bench: Any) -> None:
        bench.supervisor.stalling = True
        bench.load()
        await bench.until(ModelState.FAILED)
        assert bench.repository.get("m").reason == (
            "not loaded within 0.01 s (setting worker.load_timeout_s)"
        )
        await bench.supervisor.until(lambda: bench.worker.was_killed or bench.worker._stopping)

    play(test, worker={"load_timeout_s": 0.01})


def test_a_model_that_does_not_fit_is_refused_with_both_numbers_and_no_worker(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(bench: Any) -> None:
        monkeypatch.setattr("service.repository.memory.free_bytes", lambda: 1000)
        bench.load()
        await bench.until(ModelState.FAILED)
        num_bytes = (bench.folder / "tiny" / "model.safetensors").stat().st_size
        assert bench.repository.get("m").reason == (
            f"the model needs {num_bytes} bytes, 1000 are free on this machine"
        )
        assert bench.supervisor.workers == []

    play(test)


def test_a_reason_never_holds_this_machines_paths(play: Play) -> None:
    async def test(bench: Any) -> None:
        (bench.folder / "tiny" / "model.safetensors").unlink()
        bench.load()
        await bench.until(ModelState.FAILED)
        reason = bench.repository.get("m").reason
        assert str(bench.folder) not in reason
        assert reason.startswith("m has none of model.safetensors")

    play(test)


def test_a_failure_nobody_foresaw_ends_in_failed_not_in_silence(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: Any) -> None:
        raise KeyError("/srv/secret")

    async def test(bench: Any) -> None:
        monkeypatch.setattr(module, "build_task", build)
        bench.load()
        await bench.until(ModelState.FAILED)
        assert bench.repository.get("m").reason == "KeyError; the log has the details"
        await bench.supervisor.until(lambda: bench.worker.was_killed or bench.worker._stopping)

    play(test)


def test_a_source_that_went_away_fails_the_next_load(play: Play) -> None:
    async def test(bench: Any) -> None:
        await ready(bench)
        bench.repository.unload("m")
        await bench.until(ModelState.UNLOADED)
        tiny: Path = bench.folder / "tiny"
        tiny.rename(bench.folder / "elsewhere")
        bench.repository.reload("m")
        await bench.until(ModelState.FAILED)
        assert "'tiny' is not there" in bench.repository.get("m").reason

    play(test)


def test_a_finished_forward_is_measured(play: Play) -> None:
    async def test(bench: Any) -> None:
        await ready(bench)
        answer = await bench.ask()
        for name in ("forward_seconds_count", "batch_size_sum", "queue_seconds_count"):
            assert bench.value(name, **LABELS) == 1
        assert bench.value("tokens_total", **LABELS) == answer.num_tokens
        assert bench.value("model_memory_bytes", **LABELS, device="cpu") == 4
        assert bench.value("worker_resident_memory_bytes", **LABELS) == 1

    play(test)


def test_a_worker_is_not_told_to_stop_before_its_requests_are_answered(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(bench: Any) -> None:
        monkeypatch.setattr(module, "_STOP_S", 0)
        await ready(bench)
        worker, version = bench.worker, bench.repository.get("m")
        task = await bench.ask_and_hold()
        done, _ = await asyncio.wait({version.unload()}, timeout=0.05)
        assert not done
        assert not worker._stopping
        worker.release()
        await task
        await bench.until(ModelState.UNLOADED)
        assert worker._stopping

    play(test)


def test_a_worker_is_ordered_what_the_folder_the_spec_and_the_settings_say(play: Play) -> None:
    async def test(bench: Any) -> None:
        folder = bench.folder / "sentences"
        inner, pooling = folder / "0_Transformer", folder / "1_Pooling"
        shutil.copytree(bench.folder / "tiny", inner)
        pooling.mkdir()
        modules = [
            {"path": each.name, "type": f"sentence_transformers.models.{each.name[2:]}"}
            for each in (inner, pooling)
        ]
        modes = {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
        (folder / "modules.json").write_text(json.dumps(modules))
        (pooling / "config.json").write_text(json.dumps(modes))
        (inner / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 17}))
        bench.repository.load(ModelSpec("m", "sentences", dtype="bfloat16", device="cpu"))
        await bench.until(ModelState.READY)
        assert bench.worker.order == Load(
            folder=str(inner),
            dtype="bfloat16",
            device="cpu",
            pooling=("cls", "max"),
            threads=3,
            max_batch_tokens=77,
            max_length=17,
            max_sequence_tokens=99,
        )

    settings = {"worker": {"threads": 3}, "batching": {"max_tokens": 77}}
    play(test, **settings, limits={"max_sequence_tokens": 99})


def test_a_few_models_are_downloaded_at_a_time(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bench: Any) -> None:
        running, most, go_on = 0, 0, asyncio.Event()

        async def download(*_: Any) -> Path:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await go_on.wait()
            running -= 1
            return Path(bench.folder / "tiny")

        monkeypatch.setattr(module, "download", download)
        for name in ("one", "two", "three"):
            bench.load(name=name, source=f"owner/{name}")
        for name in ("one", "two"):
            await bench.until(ModelState.DOWNLOADING, name=name)
        assert bench.repository.get("three", "1").state is ModelState.QUEUED
        go_on.set()
        for name in ("one", "two", "three"):
            await bench.until(ModelState.READY, name=name)
        assert most == 2

    play(test)


def test_a_worker_that_is_lost_is_replaced_without_asking_the_hub(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not answer just then; and its branch may have moved."""

    async def test(bench: Any) -> None:
        asked = 0

        async def download(*_: Any) -> Path:
            nonlocal asked
            asked += 1
            return Path(bench.folder / "tiny")

        monkeypatch.setattr(module, "download", download)
        bench.load(source="owner/name")
        await bench.until(ModelState.READY)
        bench.worker.die(-9)
        await bench.until(ModelState.LOADING)
        await bench.until(ModelState.READY)
        assert asked == 1
        bench.repository.unload("m")
        await bench.until(ModelState.UNLOADED)
        bench.repository.reload("m")
        await bench.until(ModelState.READY)
        assert asked == 2

    play(test)
