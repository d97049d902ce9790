"""Jobs in this process, with a transfer that is none."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.core.errors import BadRequest, Conflict, ModelNotFound
from service.core.hub import HubJob, JobState, PullOrder, PushOrder
from service.core.messages import ModelSpec
from service.core.metrics import Metrics
from service.core.settings import SyncSettings
from service.hub.jobs import HubJobs
from service.hub.store import JobStore
from service.repository.download import HubFailed, Transfer
from service.repository.sources import Sources

ORDER = PullOrder("owner/model", load_as="mine")
COMMIT = "c" * 40


class Served:
    """What the jobs know of a repository."""

    def __init__(self) -> None:
        self.loaded: list[ModelSpec] = []
        self.version: Any = None

    def get(self, name: str, version: str = "") -> Any:
        if self.version is None:
            raise ModelNotFound(name, version)
        return self.version

    def load(self, spec: ModelSpec) -> None:
        self.loaded.append(spec)


class Bench:
    """Jobs with what is around them; ``go_on`` lets transfers end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.metrics, self.served = folder, Metrics(), Served()
        self.store = JobStore(folder / "jobs.sqlite")
        self.go_on = asyncio.Event()
        self.failure: Exception | None = None
        sources = Sources((folder,), (), hub=True)
        settings = SyncSettings(parallel=2)
        self.jobs = HubJobs(settings, sources, self.served, self.metrics)  # type: ignore[arg-type]

    async def transfer(self, kind: str, order: Any, token: Any, note: Any) -> dict[str, Any]:
        for done in (10, 5, 25):  # a damaged beginning is thrown away in between
            note(Transfer(done, 25, 0, 1))
        await self.go_on.wait()
        if self.failure is not None:
            raise self.failure
        note(Transfer(25, 25, 1, 1))
        return {"commit": COMMIT, "folder": str(self.folder)}

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"model_base_{name}", labels)


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a test with a bench whose jobs have started; afterwards no task is left."""

    def start(
        test: Callable[[Bench], Coroutine[Any, Any, None]],
        before: Callable[[JobStore], None] = lambda store: None,
    ) -> None:
        async def run() -> None:
            bench = Bench(tmp_path)
            monkeypatch.setattr("service.hub.jobs.transfer", bench.transfer)
            before(bench.store)
            bench.jobs.start(bench.store)
            async with asyncio.timeout(20):
                await test(bench)
                await bench.jobs.close()
            bench.store.close()
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(run())

    return start


def test_a_pull_counts_each_byte_once_and_loads_its_commit(play: Any) -> None:
    async def test(bench: Bench) -> None:
        job = bench.jobs.pull(ORDER)
        assert job.state is JobState.QUEUED
        bench.go_on.set()
        done = await bench.jobs.wait(job.id)
        assert (done.state, done.commit) == (JobState.DONE, COMMIT)
        assert (done.bytes_done, done.bytes_total, done.files_done) == (25, 25, 1)
        assert bench.value("hub_bytes_total", kind="pull") == 10 + 20
        assert bench.value("hub_jobs", kind="pull", state="done") == 1
        assert bench.served.loaded == [
            ModelSpec("mine", f"owner/model@{COMMIT}", COMMIT[:12], "auto", "auto", "auto")
        ]

    play(test)


def test_jobs_run_a_few_at_a_time_and_end_when_they_are_cancelled(play: Any) -> None:
    async def test(bench: Bench) -> None:
        ids = [bench.jobs.pull(ORDER).id for _ in range(3)]
        async for job in bench.jobs.events(ids[1]):
            if job.state is JobState.RUNNING:
                break
        assert [bench.jobs.get(i).state for i in ids] == ["running", "running", "queued"]
        assert [bench.jobs.cancel(i).state for i in ids] == ["cancelled"] * 3
        await bench.jobs.close()
        with pytest.raises(Conflict, match="shutting down"):
            bench.jobs.pull(ORDER)
        assert bench.served.loaded == []

    play(test)


def test_a_failure_is_told_and_counted_by_its_reason(play: Any) -> None:
    async def test(bench: Bench) -> None:
        bench.go_on.set()
        for bench.failure, words, reason in (
            (HubFailed("it is private", "refused"), "it is private", "refused"),
            (BadRequest("no more allowed"), "no more allowed", "unusable"),
            (
                ZeroDivisionError("/srv/secret"),
                "ZeroDivisionError; the log has the details",
                "other",
            ),
        ):
            job = await bench.jobs.wait(bench.jobs.pull(ORDER).id)
            assert (job.state, job.error) == (JobState.FAILED, words)
            assert bench.value("hub_failures_total", kind="pull", reason=reason) == 1

    play(test)


def test_after_a_restart_pulls_go_on_and_a_push_that_ran_is_interrupted(play: Any) -> None:
    pushes = PushOrder("owner/a", path="folder"), PushOrder("owner/b", path="folder")

    def before(store: JobStore) -> None:
        store.add(HubJob("pull", "pull", JobState.RUNNING, "owner/model"), ORDER)
        store.add(HubJob("ran", "push", JobState.RUNNING, "owner/a"), pushes[0])
        store.add(HubJob("waited", "push", JobState.QUEUED, "owner/b"), pushes[1])

    async def test(bench: Bench) -> None:
        (bench.folder / "folder").mkdir()
        bench.go_on.set()
        ran = bench.jobs.get("ran")
        assert ran.state is JobState.INTERRUPTED
        assert "look at the repository, and push again" in (ran.error or "")
        for name in ("pull", "waited"):
            assert (await bench.jobs.wait(name)).state is JobState.DONE

    play(test, before)


def test_the_oldest_settled_jobs_are_forgotten(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.hub.jobs.KEPT", 3)

    async def test(bench: Bench) -> None:
        bench.go_on.set()
        ids = [(await bench.jobs.wait(bench.jobs.pull(ORDER).id)).id for _ in range(6)]
        assert [job.id for job in bench.jobs.all()] == ids[:1:-1]

    play(test)


def test_too_many_open_jobs_are_refused(play: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.hub.jobs._MAX_OPEN", 2)

    async def test(bench: Bench) -> None:
        for _ in range(2):
            bench.jobs.pull(ORDER)
        with pytest.raises(Conflict, match="2 jobs are open"):
            bench.jobs.pull(ORDER)

    play(test)


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_commit_that_is_served_already_is_not_loaded_again(is_settled: bool, play: Any) -> None:
    async def test(bench: Bench) -> None:
        bench.served.version = SimpleNamespace(is_settled=is_settled)
        bench.go_on.set()
        await bench.jobs.wait(bench.jobs.pull(ORDER).id)
        assert len(bench.served.loaded) == is_settled

    play(test)


def test_a_model_whose_folder_leads_out_by_now_is_not_pushed(play: Any, tmp_path: Path) -> None:
    order = PushOrder("owner/model", model="mine")

    async def test(bench: Bench) -> None:
        folder = bench.folder / "mine"
        folder.mkdir()
        spec = ModelSpec("mine", "mine")
        bench.served.version = SimpleNamespace(folder=folder, spec=spec)
        bench.go_on.set()
        assert (await bench.jobs.wait(bench.jobs.push(order).id)).state is JobState.DONE
        (folder / "secret").symlink_to("/etc/hostname")
        with pytest.raises(BadRequest, match="a link out of the model folders"):
            bench.jobs.push(order)

    play(test)
