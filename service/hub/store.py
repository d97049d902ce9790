"""Jobs on disk: what was asked for and how far it came, for the time after a restart."""

import fcntl
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from service.core.hub import FollowOrder, HubJob, JobState, PullOrder, PushOrder

logger = logging.getLogger("service.hub")

Order = PullOrder | PushOrder
_ORDERS: dict[str, type[PullOrder] | type[PushOrder]] = {"pull": PullOrder, "push": PushOrder}
KEPT = 1000
"""Settled jobs that are remembered."""
_BUSY_S = 0.1
_TABLES = (
    "CREATE TABLE IF NOT EXISTS jobs ("
    "number INTEGER PRIMARY KEY, id TEXT UNIQUE, state TEXT, job TEXT, wanted TEXT)",
    "CREATE TABLE IF NOT EXISTS follows (model TEXT PRIMARY KEY, wanted TEXT)",
)


class JobStore:
    """Two tables in SQLite. No token is ever in them.

    What cannot be kept (a full disk, a locked file) is lost for the next run alone, and logged.

    Args:
        path: of the database, made with the first job. If another service uses it, or it cannot
            be written, jobs are kept in memory, for as long as the process lives; if it is damaged
            it is put aside, with ``.damaged`` at its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: sqlite3.Connection | None = None

    def add(self, job: HubJob, order: Order) -> None:
        """Remember a new job, and forget the oldest settled ones."""
        row = job.id, job.state, _encoded(job), json.dumps(asdict(order))
        self._write("INSERT INTO jobs (id, state, job, wanted) VALUES (?, ?, ?, ?)", *row)
        self._write(
            "DELETE FROM jobs WHERE number IN (SELECT number FROM jobs WHERE state NOT IN "
            "('queued', 'running') ORDER BY number DESC LIMIT -1 OFFSET ?)",
            KEPT,
        )

    def put(self, job: HubJob) -> None:
        """Remember how a job stands."""
        self._write(
            "UPDATE jobs SET state = ?, job = ? WHERE id = ?", job.state, _encoded(job), job.id
        )

    def all(self) -> Sequence[tuple[HubJob, Order]]:
        """Every job with what was asked for, the oldest first."""
        return list(self._read("SELECT job, wanted FROM jobs ORDER BY number", _job_and_order))

    def put_follow(self, order: FollowOrder) -> None:
        """Remember what a model follows, in place of what it followed before."""
        row = order.model, json.dumps(asdict(order))
        self._write("INSERT OR REPLACE INTO follows VALUES (?, ?)", *row)

    def drop_follow(self, model: str) -> None:
        """Forget what a model follows."""
        self._write("DELETE FROM follows WHERE model = ?", model)

    def follows(self) -> Sequence[FollowOrder]:
        """What every model follows, in the order it came."""
        query = "SELECT wanted FROM follows ORDER BY rowid"
        return list(self._read(query, lambda wanted: _made(FollowOrder, wanted)))

    def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            self._opened.close()

    @property
    def _database(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = _open(self._path)
        return self._opened

    def _write(self, statement: str, *values: object) -> None:
        try:
            with self._database as database:
                database.execute(statement, values)
        except sqlite3.Error as error:
            logger.warning("a job is not kept in %s: %s", self._path, error)

    def _read(self, query: str, make: Callable[..., Any]) -> Iterator[Any]:
        """What the rows mean; one that an older or newer service wrote otherwise is left out."""
        if self._opened is None and not self._path.exists():
            return
        try:
            rows = self._database.execute(query).fetchall()
        except sqlite3.Error as error:
            logger.warning("jobs cannot be read from %s: %s", self._path, error)
            self.close()
            self._opened = _anew(self._path)
            return
        for row in rows:
            try:
                yield make(*row)
            except (ValueError, TypeError, KeyError) as error:
                logger.warning("a job in %s is none: %s", self._path, error)


def default_database() -> Path:
    """The file beside the hub's cache, whose downloads it tells of."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "model-base-jobs.sqlite"


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _with_tables(sqlite3.connect(path, timeout=_BUSY_S, factory=_OfOneProcess))
    except (OSError, sqlite3.OperationalError) as error:
        logger.warning("jobs are not kept in %s: %s", path, error)
        return _with_tables(sqlite3.connect(":memory:"))
    except sqlite3.DatabaseError as error:
        logger.warning("jobs cannot be read from %s: %s", path, error)
        return _anew(path)


def _anew(path: Path) -> sqlite3.Connection:
    """An empty database in the place of a damaged one."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError as error:
        logger.warning("%s cannot be put aside: %s", path, error)
        return _with_tables(sqlite3.connect(":memory:"))
    logger.warning("%s is put aside as %s", path, aside.name)
    return _open(path)


def _with_tables(database: sqlite3.Connection) -> sqlite3.Connection:
    try:
        for table in _TABLES:
            database.execute(table)
    except BaseException:
        database.close()
        raise
    return database


class _OfOneProcess(sqlite3.Connection):
    """A database that no second service opens: both would take up the same jobs."""

    def __init__(self, path: Path, *args: object, **kwargs: object) -> None:
        self._lock = path.with_name(f"{path.name}.lock").open("w")
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


def _made(kind: type[Any], text: str) -> Any:
    """One of ``kind`` with the fields of a JSON object that it has."""
    found = json.loads(text)
    return kind(**{field.name: found[field.name] for field in fields(kind) if field.name in found})


def _job_and_order(job: str, wanted: str) -> tuple[HubJob, Order]:
    made = _made(HubJob, job)
    return replace(made, state=JobState(made.state)), _made(_ORDERS[made.kind], wanted)
