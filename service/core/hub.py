"""What the data plane and protocols say of the hub: jobs, orders for them, and what is cached."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class JobState(enum.StrEnum):
    """Life of a job. INTERRUPTED is one that the end of the service cut short."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class PullOrder:
    """Download a model, and serve it if ``load_as`` names it.

    Attributes:
        revision: branch, tag or commit; None is ``main``.
        framework: as ``ModelSpec``'s, with ``dtype`` and ``device``.
    """

    repo_id: str
    revision: str | None = None
    load_as: str | None = None
    framework: str = "auto"
    dtype: str = "auto"
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class PushOrder:
    """Make the files of a repository those of a model that is here.

    Attributes:
        model: name of a served model; or else ``path``.
        path: a folder inside the model folders.
        private: of a new repository; None is the namespace's default.
        create: whether a repository may be made.
        max_shard_size: most bytes of a weight file, such as ``"512MiB"``; None leaves them.
    """

    repo_id: str
    model: str | None = None
    path: str | None = None
    commit_message: str | None = None
    private: bool | None = None
    create: bool = True
    max_shard_size: str | None = None


@dataclass(frozen=True, slots=True)
class HubJob:
    """A job as it stands.

    Attributes:
        kind: ``pull`` or ``push``.
        revision: as asked for.
        commit: that was pulled or made, as soon as it is known.
        bytes_total: grows while files are found; of what is in the cache nothing is counted.
        rate: bytes a second since the job began to run.
        error: why it failed or was interrupted.
        commit_url: of a push.
        created_s: seconds since 1970.
    """

    id: str
    kind: str
    state: JobState
    repo_id: str
    revision: str | None = None
    commit: str | None = None
    bytes_done: int = 0
    bytes_total: int = 0
    files_done: int = 0
    files_total: int = 0
    rate: float = 0.0
    error: str | None = None
    commit_url: str | None = None
    created_s: float = 0.0


@dataclass(frozen=True, slots=True)
class FollowOrder:
    """Serve whatever commit a branch is at.

    Attributes:
        model: name under which it is served.
        interval_s: seconds between two looks.
    """

    model: str
    repo_id: str
    branch: str = "main"
    interval_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Follow:
    """What is followed, and how it stands.

    Attributes:
        commit: that is served because of it.
        checked_s: when the hub last answered, in seconds since 1970.
        error: why the newest commit is not served, or the hub did not answer.
    """

    order: FollowOrder
    commit: str | None = None
    checked_s: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class CachedRevision:
    """One commit of a repository in the cache.

    Attributes:
        refs: branches and tags that meant it when it was downloaded.
        num_bytes: of its files; what other commits have, too, included.
    """

    commit: str
    refs: Sequence[str]
    num_bytes: int


@dataclass(frozen=True, slots=True)
class CachedRepository:
    """A repository in the cache.

    Attributes:
        num_bytes: on disk.
        last_used_s: seconds since 1970.
        served_as: names of the models that are served from it.
    """

    repo_id: str
    num_bytes: int
    revisions: Sequence[CachedRevision]
    last_used_s: float
    served_as: Sequence[str]
