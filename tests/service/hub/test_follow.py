"""What follows a branch, with a hub, jobs and a repository that are none."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from service.core.errors import Conflict, ModelNotFound
from service.core.hub import Follow, FollowOrder, HubJob, JobState, PullOrder
from service.core.messages import ModelSpec
from service.core.settings import SyncSettings
from service.hub.follow import Follows
from service.hub.store import JobStore
from service.repository.download import HubFailed
from service.repository.sources import Sources

OLD, NEW = "a" * 40, "b" * 40
ORDER = FollowOrder("mine", "owner/model", interval_s=0)


class Version:
    """A version that gets ready or not."""

    reason, is_settled = "it is broken", False

    def __init__(self, spec: ModelSpec, is_good: bool) -> None:
        self.spec, self.is_good = spec, is_good

    async def wait_until_ready(self) -> bool:
        return self.is_good


class Bench:
    """What follows, a head that may move, and what was asked of jobs and repository."""

    def __init__(self, folder: Path) -> None:
        self.head, self.bad, self.pull_fails = OLD, {NEW}, 0
        self.looks, self.pulled, self.loaded = 0, [], []  # type: ignore[var-annotated]
        self.allowed, self.is_down = True, False
        self.versions: dict[str, Version] = {}
        self.store = JobStore(folder / "jobs.sqlite")
        sources = Sources((), (), hub=True, allows=lambda repo_id: self.allowed)
        self.follows = Follows(SyncSettings(), sources, self, self)  # type: ignore[arg-type]
        self._looked = asyncio.Event()

    async def transfer(self, kind: str, order: Any, token: Any, note: Any) -> dict[str, Any]:
        assert (kind, order) == ("head", {"repo_id": "owner/model", "revision": "main"})
        self.looks += 1
        self._looked.set()
        self._looked = asyncio.Event()
        if self.is_down:
            raise HubFailed("no answer", "unreachable")
        return {"commit": self.head}

    async def look(self, times: int) -> Follow:
        """Wait until the hub was asked so many times more; how it stands then."""
        wanted = self.looks + times
        while self.looks < wanted:
            await self._looked.wait()
        (follow,) = self.follows.all()
        return follow

    def pull(self, order: PullOrder) -> HubJob:
        self.pulled.append(order.revision)
        state = JobState.FAILED if self.pull_fails else JobState.DONE
        self.pull_fails = max(0, self.pull_fails - 1)
        self.job = HubJob("1", "pull", state, order.repo_id, error="no answer")
        return self.job

    async def wait(self, job_id: str) -> HubJob:
        return self.job

    def get(self, name: str, version: str = "") -> Version:
        if version not in self.versions:
            raise ModelNotFound(name, version)
        return self.versions[version]

    def load(self, spec: ModelSpec) -> None:
        self.loaded.append(spec.source)
        is_good = not any(spec.source.endswith(bad) for bad in self.bad)
        self.versions[spec.version] = Version(spec, is_good)


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Run a test with a bench; afterwards no task is left."""

    def start(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
        async def run() -> None:
            bench = Bench(tmp_path)
            monkeypatch.setattr("service.hub.follow.transfer", bench.transfer)
            bench.follows.start(bench.store)
            async with asyncio.timeout(20):
                await test(bench)
                await bench.follows.close()
            bench.store.close()
            assert len(asyncio.all_tasks()) == 1

        asyncio.run(run())

    return start


def test_each_commit_is_pulled_and_loaded_once(play: Any) -> None:
    async def test(bench: Bench) -> None:
        bench.bad.clear()
        bench.follows.add(ORDER)
        assert (await bench.look(5)).commit == OLD
        bench.head = NEW
        follow = await bench.look(5)
        assert (follow.commit, follow.error) == (NEW, None)
        assert bench.pulled == [OLD, NEW]
        assert bench.loaded == [f"owner/model@{OLD}", f"owner/model@{NEW}"]

    play(test)


def test_a_commit_that_cannot_be_served_is_tried_once_and_named(play: Any) -> None:
    async def test(bench: Bench) -> None:
        bench.follows.add(ORDER)
        await bench.look(3)
        bench.head = NEW
        follow = await bench.look(5)
        assert follow.commit == OLD
        assert follow.error == f"{NEW[:12]} is not served: it is broken"
        assert bench.pulled == [OLD, NEW]

    play(test)


def test_a_pull_that_failed_is_tried_again_at_the_next_look(play: Any) -> None:
    async def test(bench: Bench) -> None:
        bench.pull_fails = 2
        bench.follows.add(ORDER)
        await bench.look(2)
        assert "is not pulled: no answer" in (bench.follows.all()[0].error or "")
        follow = await bench.look(4)
        assert (follow.commit, follow.error) == (OLD, None)
        assert bench.pulled == [OLD, OLD, OLD]

    play(test)


def test_a_hub_that_was_down_is_forgotten_when_it_is_back(play: Any) -> None:
    async def test(bench: Bench) -> None:
        bench.follows.add(ORDER)
        await bench.look(2)
        bench.is_down = True
        assert (await bench.look(3)).error == "no answer"
        bench.is_down = False
        follow = await bench.look(3)
        assert (follow.commit, follow.error) == (OLD, None)
        assert bench.pulled == [OLD]

    play(test)


def test_what_is_not_allowed_is_not_asked_for(play: Any) -> None:
    async def test(bench: Bench) -> None:
        bench.follows.add(ORDER)
        await bench.look(2)
        bench.allowed = False
        while not (follow := bench.follows.all()[0]).error:
            await asyncio.sleep(0)
        looks = bench.looks
        for _ in range(20):
            await asyncio.sleep(0)
        assert (bench.looks, "not allowed" in (follow.error or "")) == (looks, True)

    play(test)


def test_too_many_are_refused_but_one_may_change(
    play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.hub.follow._MAX_FOLLOWS", 2)

    async def test(bench: Bench) -> None:
        for model in ("one", "two", "two"):
            bench.follows.add(FollowOrder(model, "owner/model", interval_s=60))
        with pytest.raises(Conflict, match="2 models follow a branch"):
            bench.follows.add(FollowOrder("three", "owner/model"))
        bench.follows.end("one")
        bench.follows.add(FollowOrder("three", "owner/model", interval_s=60))
        assert [each.order.model for each in bench.follows.all()] == ["two", "three"]

    play(test)
