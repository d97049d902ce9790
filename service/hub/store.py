"""Jobs on disk: what was asked for and how far it came, for the time after a restart."""

import fcntl
import json
import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from service.core.hub import FollowOrder, HubJob, JobState, PullOrder, PushOrder

logger = logging.getLogger("service.hub")

Order = PullOrder | PushOrder
_ORDERS: dict[str, type[PullOrder] | type[PushOrder]] = {"pull": PullOrder, "push": PushOrder}
_KEPT = 1000
"""Settled jobs that are remembered."""


class JobStore:
    """One table in SQLite. No token is ever in it.

    Args:
        path: of the database, made with the first job. If another service uses it, or it cannot
            be written, jobs are kept in memory, for as long as the process lives.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: sqlite3.Connection | None = None

    @property
    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = _open(self._path)
            self._opened.execute(
                "CREATE TABLE IF NOT EXISTS jobs ("
                "number INTEGER PRIMARY KEY, id TEXT UNIQUE, state TEXT, job TEXT, wanted TEXT)"
            )
            self._opened.execute(
                "CREATE TABLE IF NOT EXISTS follows (model TEXT PRIMARY KEY, wanted TEXT)"
            )
        return self._opened

    def add(self, job: HubJob, order: Order) -> None:
        """Remember a new job, and forget the oldest settled ones."""
        row = job.id, job.state, _encoded(job), json.dumps(asdict(order))
        with self._database as database:
            database.execute("INSERT INTO jobs (id, state, job, wanted) VALUES (?, ?, ?, ?)", row)
            database.execute(
                "DELETE FROM jobs WHERE number IN (SELECT number FROM jobs WHERE state NOT IN "
                "('queued', 'running') ORDER BY number DESC LIMIT -1 OFFSET ?)",
                (_KEPT,),
            )

    def put(self, job: HubJob) -> None:
        """Remember how a job stands."""
        with self._database as database:
            row = job.state, _encoded(job), job.id
            database.execute("UPDATE jobs SET state = ?, job = ? WHERE id = ?", row)

    def all(self) -> Sequence[HubJob]:
        """Every job, the oldest first."""
        if self._is_new:
            return []
        rows = self._database.execute("SELECT job FROM jobs ORDER BY number").fetchall()
        return [_decoded(job) for (job,) in rows]

    def order(self, job: HubJob) -> Order:
        """What was asked for."""
        (text,) = self._database.execute(
            "SELECT wanted FROM jobs WHERE id = ?", (job.id,)
        ).fetchone()
        return _ORDERS[job.kind](**json.loads(text))

    def put_follow(self, order: FollowOrder) -> None:
        """Remember what a model follows, in place of what it followed before."""
        with self._database as database:
            row = order.model, json.dumps(asdict(order))
            database.execute("INSERT OR REPLACE INTO follows VALUES (?, ?)", row)

    def drop_follow(self, model: str) -> None:
        """Forget what a model follows."""
        with self._database as database:
            database.execute("DELETE FROM follows WHERE model = ?", (model,))

    def follows(self) -> Sequence[FollowOrder]:
        """What every model follows, in the order it came."""
        if self._is_new:
            return []
        rows = self._database.execute("SELECT wanted FROM follows ORDER BY rowid").fetchall()
        return [FollowOrder(**json.loads(wanted)) for (wanted,) in rows]

    @property
    def _is_new(self) -> bool:
        return self._opened is None and not self._path.exists()

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            self._opened.close()


def default_database() -> Path:
    """The file beside the hub's cache, whose downloads it tells of."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "model-base-jobs.sqlite"


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return sqlite3.connect(path, factory=_OfOneProcess)
    except (OSError, sqlite3.Error) as error:
        logger.warning("jobs are not kept in %s: %s", path, error)
        return sqlite3.connect(":memory:")


class _OfOneProcess(sqlite3.Connection):
    """A database that no second service opens: both would take up the same jobs."""

    def __init__(self, path: Path, *args: object, **kwargs: object) -> None:
        self._lock = path.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            super().__init__(path, *args, **kwargs)  # type: ignore[arg-type]
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Close it, and let others have it."""
        super().close()
        self._lock.close()


def _encoded(job: HubJob) -> str:
    return json.dumps(asdict(job))


def _decoded(text: str) -> HubJob:
    job = HubJob(**json.loads(text))
    return replace(job, state=JobState(job.state))
