"""Jobs between the hub and this machine: taken on, run a few at a time, watched, cancelled."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from service.core.errors import BadRequest, Conflict, ModelNotFound, NotFound, ServiceError
from service.core.hub import HubJob, JobState, PullOrder, PushOrder
from service.core.messages import ModelSpec
from service.core.metrics import Metrics
from service.core.names import spec_problem
from service.core.settings import SyncSettings
from service.hub.store import KEPT, JobStore, Order
from service.repository.download import HubFailed, Transfer, transfer
from service.repository.repository import Repository
from service.repository.sources import Sources

logger = logging.getLogger("service.hub")

_MAX_OPEN = 1000
_SAVE_EVERY_S = 1.0
_ENDED = "the service ended while it was pushed; look at the repository, and push again"


class HubJobs:
    """All jobs; each runs in a process of its own.

    Args:
        settings: of the hub.
        sources: decides which repositories and folders may be used.
        repository: where a model is loaded that was pulled, or found that is pushed.
        metrics: of the service.
    """

    def __init__(
        self, settings: SyncSettings, sources: Sources, repository: Repository, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._repository = repository
        self._metrics = metrics
        self._turns = asyncio.Semaphore(settings.parallel)
        self._jobs: dict[str, HubJob] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._saved_s: dict[str, float] = {}
        self._store: JobStore | None = None
        self._leaving = False

    def start(self, store: JobStore) -> None:
        """Take up what the last run of the service left: pulls go on, pushes are interrupted."""
        self._store = store
        for job, order in store.all():
            self._jobs[job.id] = job
            if job.state.is_settled:
                continue
            if job.kind == "push" and job.state is JobState.RUNNING:
                self._put(replace(job, state=JobState.INTERRUPTED, error=_ENDED))
            else:
                self._put(replace(job, state=JobState.QUEUED))
                self._begin(job.id, order)
        self._count()

    def leave(self) -> None:
        """Take no more jobs, and end every stream of events."""
        self._leaving = True
        self._tell()

    async def close(self) -> None:
        """End what runs; the next ``start`` takes it up."""
        self.leave()
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def pull(self, order: PullOrder) -> HubJob:
        """Begin to download a model; returns at once.

        Raises:
            BadRequest: a word of the order is wrong, or the repository may not be used.
            Conflict: too many jobs are open.
        """
        self._sources.on_hub(order.repo_id, order.revision)
        if order.load_as is not None and (problem := spec_problem(_spec(order, "main"))):
            raise BadRequest(problem)
        return self._add("pull", order, order.revision)

    def push(self, order: PushOrder) -> HubJob:
        """Begin to upload a model; returns at once.

        Raises:
            BadRequest: the model or folder may not be used, or the repository may not.
            Conflict: too many jobs are open.
            ModelNotFound: there is no such model.
        """
        self._sources.on_hub(order.repo_id, None)
        self._folder_of(order)
        return self._add("push", order, None)

    def _folder_of(self, order: PushOrder) -> str:
        if (order.model is None) == (order.path is None):
            raise BadRequest("give exactly one of model and path")
        if order.model is not None:
            version = self._repository.get(order.model)
            folder = version.folder
            self._sources.find(version.spec.source)  # its links still lead where they may
        else:
            folder = self._sources.find(order.path or "").folder
        if folder is None:
            raise BadRequest("what is to be pushed has no folder here")
        return str(folder)

    def _add(self, kind: str, order: Order, revision: str | None) -> HubJob:
        if self._leaving or self._store is None:
            raise Conflict("the service is shutting down")
        if len(self._tasks) >= _MAX_OPEN:
            raise Conflict(f"{_MAX_OPEN} jobs are open: wait until one is done")
        job = HubJob(
            uuid.uuid4().hex, kind, JobState.QUEUED, order.repo_id, revision, created_s=time.time()
        )
        self._jobs[job.id] = job
        self._forget_oldest()
        self._store.add(job, order)
        self._begin(job.id, order)
        self._count()
        return job

    def _forget_oldest(self) -> None:
        settled = [job.id for job in self._jobs.values() if job.state.is_settled]
        for job_id in settled[:-KEPT]:
            del self._jobs[job_id]

    def _begin(self, job_id: str, order: Order) -> None:
        task = asyncio.create_task(self._run(job_id, order), name=f"job {job_id}")
        self._tasks[job_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job_id, None))

    def all(self) -> Sequence[HubJob]:
        """Every job that is remembered, the newest first."""
        return list(reversed(self._jobs.values()))

    def get(self, job_id: str) -> HubJob:
        """One job.

        Raises:
            NotFound: there is none of that id.
        """
        if (job := self._jobs.get(job_id)) is None:
            raise NotFound(f"job {job_id[:64]!r} is not known")
        return job

    def cancel(self, job_id: str) -> HubJob:
        """End a job; one that is settled stays as it is.

        Raises:
            NotFound: there is none of that id.
        """
        job = self.get(job_id)
        if not job.state.is_settled:
            self._put(replace(job, state=JobState.CANCELLED))
            if task := self._tasks.get(job_id):
                task.cancel()
        return self.get(job_id)

    def refuse_if_moving(self, repo_id: str) -> None:
        """Refuse to touch what a job is just downloading.

        Raises:
            Conflict: there is such a job.
        """
        for job in self._jobs.values():
            if job.repo_id == repo_id and not job.state.is_settled:
                raise Conflict(f"job {job.id} is at {repo_id!r}: wait for it, or cancel it")

    async def events(self, job_id: str) -> AsyncIterator[HubJob]:
        """The job as it stands, then after each change, until it is settled or we are leaving."""
        told: HubJob | None = None
        while True:
            changed, job = self._changed, self.get(job_id)
            if job != told:
                yield job
                told = job
            if job.state.is_settled or self._leaving:
                return
            await changed.wait()

    async def wait(self, job_id: str) -> HubJob:
        """The job, once it is settled or we are leaving."""
        async for _ in self.events(job_id):
            pass
        return self.get(job_id)

    async def _run(self, job_id: str, order: Order) -> None:
        async with self._turns:
            started = time.monotonic()
            self._put(replace(self.get(job_id), state=JobState.RUNNING))
            kind = self.get(job_id).kind
            try:
                await self._do(job_id, order, started)
            except (HubFailed, ServiceError) as error:
                self._fail(job_id, str(error), getattr(error, "reason", "unusable"))
            except Exception as error:  # the job's edge: no failure ends in silence
                logger.exception("job %s failed", job_id)
                self._fail(job_id, f"{type(error).__name__}; the log has the details", "other")
            finally:
                self._metrics.hub_seconds.labels(kind).observe(time.monotonic() - started)

    async def _do(self, job_id: str, order: Order, started: float) -> None:
        def note(now: Transfer) -> None:
            job = self.get(job_id)
            come = max(0, now.bytes_done - job.bytes_done)
            self._metrics.hub_bytes.labels(job.kind).inc(come)
            rate = now.bytes_done / max(time.monotonic() - started, 1e-3)
            job = replace(
                job, bytes_done=now.bytes_done, bytes_total=now.bytes_total,
                files_done=now.files_done, files_total=now.files_total, rate=round(rate, 1),
            )  # fmt: skip
            self._put(job, saves=False)

        kind, words = self.get(job_id).kind, self._words(order)
        result = await transfer(kind, words, self._settings.hub_token, note)
        job = replace(self.get(job_id), commit=result["commit"])
        if isinstance(order, PullOrder):
            folder = Path(result["folder"])
            self._sources.note_pulled(order.repo_id, result["commit"], folder)
            if order.load_as is not None:
                self._load(_spec(order, result["commit"]))
        url = result.get("commit_url")
        self._put(replace(job, state=JobState.DONE, commit_url=url))

    def _load(self, spec: ModelSpec) -> None:
        """Serve what was pulled, unless that very commit is served already."""
        with contextlib.suppress(ModelNotFound):
            if not self._repository.get(spec.name, spec.version).is_settled:
                return
        self._repository.load(spec)

    def _words(self, order: Order) -> Mapping[str, Any]:
        """What its process is told; what was allowed once may be refused after a restart."""
        if isinstance(order, PullOrder):
            self._sources.on_hub(order.repo_id, order.revision)
            return {"repo_id": order.repo_id, "revision": order.revision}
        self._sources.on_hub(order.repo_id, None)
        words = asdict(order) | {"folder": self._folder_of(order)}
        return {name: value for name, value in words.items() if name not in ("model", "path")}

    def _fail(self, job_id: str, text: str, reason: str) -> None:
        job = self.get(job_id)
        self._metrics.hub_failures.labels(job.kind, reason).inc()
        logger.warning("%s of %s failed: %s", job.kind, job.repo_id, text)
        self._put(replace(job, state=JobState.FAILED, error=text))

    def _put(self, job: HubJob, *, saves: bool = True) -> None:
        """Remember how a job stands, on disk at once or within a second, and tell who watches."""
        self._jobs[job.id] = job
        now = time.monotonic()
        if self._store is not None and (
            saves or now - self._saved_s.get(job.id, 0) > _SAVE_EVERY_S
        ):
            self._store.put(job)
            self._saved_s[job.id] = now
        if job.state.is_settled:
            self._saved_s.pop(job.id, None)
        if saves:
            self._count()
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _count(self) -> None:
        counts = Counter((job.kind, job.state) for job in self._jobs.values())
        for kind in ("pull", "push"):
            for state in JobState:
                self._metrics.hub_jobs.labels(kind, state).set(counts[kind, state])


def _spec(order: PullOrder, commit: str) -> ModelSpec:
    """What is served of a pull; its version is the commit, so that the next one comes beside it."""
    return ModelSpec(
        order.load_as or "", f"{order.repo_id}@{commit}", commit[:12],
        order.framework, order.dtype, order.device,
    )  # fmt: skip
