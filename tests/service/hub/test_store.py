"""Jobs that outlive the service, whatever has become of their file."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.core.hub import FollowOrder, HubJob, JobState, PullOrder, PushOrder
from service.hub.store import KEPT, JobStore

PULL = HubJob("a", "pull", JobState.RUNNING, "owner/model", bytes_done=5)
PUSH = HubJob("b", "push", JobState.DONE, "owner/other", commit="c" * 40)
ORDERS = PullOrder("owner/model", load_as="mine"), PushOrder("owner/other", path="x")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "jobs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[JobStore]:
    store = JobStore(path)
    yield store
    store.close()


def test_what_is_kept_is_there_in_the_next_run(store: JobStore, path: Path) -> None:
    assert store.all() == []
    assert not path.exists()
    for job, order in zip((PULL, PUSH), ORDERS, strict=True):
        store.add(job, order)
    store.put_follow(FollowOrder("mine", "owner/model"))
    store.put_follow(FollowOrder("other", "owner/other", interval_s=2))
    store.drop_follow("mine")
    store.close()
    again = JobStore(path)
    assert again.all() == [(PULL, ORDERS[0]), (PUSH, ORDERS[1])]
    assert again.follows() == [FollowOrder("other", "owner/other", interval_s=2)]
    again.close()


def test_of_settled_jobs_the_newest_are_kept(store: JobStore) -> None:
    store.add(PULL, ORDERS[0])
    for number in range(KEPT + 5):
        store.add(HubJob(str(number), "pull", JobState.DONE, "owner/model"), ORDERS[0])
    kept = [job.id for job, _ in store.all()]
    assert kept == [PULL.id, *(str(number) for number in range(5, KEPT + 5))]


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_file_is_put_aside(store: JobStore, path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    assert store.all() == []
    assert store.follows() == []
    store.add(PULL, ORDERS[0])
    assert store.all() == [(PULL, ORDERS[0])]
    assert path.with_name("jobs.sqlite.damaged").read_bytes() == content


def test_a_page_that_is_damaged_is_found_out(store: JobStore, path: Path) -> None:
    for number in range(100):
        store.add(HubJob(str(number), "pull", JobState.QUEUED, "owner/model"), ORDERS[0])
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    again = JobStore(path)
    assert again.all() == []
    again.add(PULL, ORDERS[0])
    assert again.all() == [(PULL, ORDERS[0])]
    again.close()


def test_what_another_version_wrote_is_read_as_far_as_it_goes(
    store: JobStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.add(PULL, ORDERS[0])
    store.add(PUSH, ORDERS[1])
    store.put_follow(FollowOrder("mine", "owner/model"))
    with sqlite3.connect(path) as other:
        (job,) = other.execute("SELECT job FROM jobs WHERE id = 'a'").fetchone()
        newer = json.dumps({**json.loads(job), "of_tomorrow": 1})
        other.execute("UPDATE jobs SET job = ? WHERE id = 'a'", (newer,))
        other.execute("UPDATE jobs SET job = '{\"id\": 1}' WHERE id = 'b'")
        other.execute("UPDATE follows SET wanted = '[]'")
    other.close()
    assert store.all() == [(PULL, ORDERS[0])]
    assert store.follows() == []
    assert caplog.text.count("is none") == 2


@pytest.mark.parametrize("kind", ["folder", "in use", "no folder"])
def test_without_a_file_jobs_are_kept_in_memory(
    kind: str, store: JobStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = JobStore(path)
    if kind == "in use":
        other.add(PUSH, ORDERS[1])
    elif kind == "folder":
        path.mkdir(parents=True)
    else:
        path.parent.write_text("a file")
    store.add(PULL, ORDERS[0])
    assert store.all() == [(PULL, ORDERS[0])]
    assert "jobs are not kept in" in caplog.text
    other.close()


def test_a_file_that_is_locked_costs_no_time_and_no_job(
    store: JobStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.add(PULL, ORDERS[0])
    with sqlite3.connect(path) as other:
        other.execute("BEGIN EXCLUSIVE")
        store.put(PULL)
        assert "is not kept" in caplog.text
    other.close()
    store.put(HubJob("a", "pull", JobState.DONE, "owner/model"))
    assert store.all()[0][0].state is JobState.DONE


def test_the_lock_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "jobs.lock"
    store = JobStore(path)
    store.add(PULL, ORDERS[0])
    store.close()
    again = JobStore(path)
    assert again.all() == [(PULL, ORDERS[0])]
    again.close()
