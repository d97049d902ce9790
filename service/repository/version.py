"""One version of one model: its worker, its task, its state, from queued to unloaded."""

import asyncio
import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from model_base.errors import ModelBaseError
from service.channel.messages import BatchDone, Load, Progress, Warming
from service.core.errors import ModelNotReady, OutOfMemory, ServiceError
from service.core.messages import ModelEvent, ModelFacts, ModelInfo, ModelSpec, ModelState
from service.core.metrics import Metrics
from service.core.settings import Settings
from service.engine.admission import Admission
from service.engine.client import LoadError, WorkerClient, WorkerEnded
from service.engine.supervisor import Supervisor, TemplateFailed
from service.repository.download import HubFailed, Transfer, download
from service.repository.frameworks import framework_of
from service.repository.memory import check_fits, check_free
from service.repository.saved_models import SAVED_MODEL, find_saved_model, saved_model_bytes
from service.repository.sources import Source, Sources
from service.tasks import build_task
from service.tasks.base import Task
from service.tasks.sentence_transformers import read_sentence_transformers

logger = logging.getLogger("service.repository")

_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_S = 60.0
_STOP_S = 1.0
_REASONS = (ServiceError, ModelBaseError, LoadError, HubFailed, TemplateFailed, ValueError)
# A model that was ready is loaded again as long as only these keep it from being so.
_PASSING = (WorkerEnded, TemplateFailed, OutOfMemory)


_PASSING_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}


def _may_pass(error: Exception) -> bool:
    """Whether the same load may succeed later."""
    is_short = isinstance(error, OSError) and error.errno in _PASSING_ERRNOS
    return is_short or isinstance(error, _PASSING)


@dataclass(frozen=True, slots=True)
class Services:
    """What every version needs of the service around it.

    Attributes:
        downloads: turns, as many as downloads may run at once.
    """

    settings: Settings
    metrics: Metrics
    supervisor: Supervisor
    sources: Sources
    publish: Callable[[ModelEvent], None]
    downloads: asyncio.Semaphore


class ModelVersion:
    """Loads, restarts and unloads one worker; holds what a request needs.

    Args:
        spec: what is to be served.
        services: of the process.
        threads: of the worker.
    """

    def __init__(self, spec: ModelSpec, services: Services, threads: int) -> None:
        limits = services.settings.limits
        self.spec = spec
        self.state = ModelState.QUEUED
        self.reason = ""
        self.facts: ModelFacts | None = None
        self.created_s = time.time()
        self.admission = Admission(limits.max_queued_requests, limits.max_queued_tokens)
        self._changed = asyncio.Event()
        self._services = services
        self._threads = threads
        self._client: WorkerClient | None = None
        self._task: Task | None = None
        self._lost = asyncio.Event()
        self._folder: Path | None = None
        self._life: asyncio.Task[None] | None = None
        self._end: asyncio.Task[None] | None = None
        self._set(ModelState.QUEUED)

    @property
    def info(self) -> ModelInfo:
        """As it stands now."""
        return ModelInfo(self.spec, self.state, self.reason, self.facts, self.created_s)

    @property
    def event(self) -> ModelEvent:
        """The present state as an event."""
        return ModelEvent(self.spec.name, self.spec.version, self.state, reason=self.reason)

    @property
    def folder(self) -> Path | None:
        """Of its files; None as long as it is not known."""
        return self._folder

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state in (ModelState.FAILED, ModelState.UNLOADED)

    @property
    def is_restarting(self) -> bool:
        """Whether it has served before and its worker is being started again."""
        return self.facts is not None and self.state in (ModelState.LOADING, ModelState.WARMING)

    @property
    def client(self) -> WorkerClient:
        """The worker, if it takes requests.

        Raises:
            ModelNotReady: in every state but READY.
        """
        if self.state is not ModelState.READY or self._client is None:
            raise ModelNotReady(self.spec.name, self.state, self.reason)
        return self._client

    @property
    def task(self) -> Task:
        """What turns inputs into work.

        Raises:
            ModelNotReady: in every state but READY.
        """
        if self.state is not ModelState.READY or self._task is None:
            raise ModelNotReady(self.spec.name, self.state, self.reason)
        return self._task

    async def wait_until_ready(self) -> bool:
        """Wait for READY; False if it fails or is unloaded first."""
        while self.state is not ModelState.READY and not self.is_settled:
            await self._changed.wait()
        return self.state is ModelState.READY

    def start(self) -> None:
        """Begin to load, in the background. To be called on a new or settled version."""
        self._end = self._folder = None
        self._set(ModelState.QUEUED)
        self._life = asyncio.create_task(self._live(), name=f"life of {self.spec.name}")

    async def _live(self) -> None:
        """Load; when the worker is lost, load again, each time in a row waiting longer."""
        failures = 0
        while True:
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
            started = time.monotonic()
            try:
                await self._load()
                await self._lost.wait()
            except Exception as error:  # the life's edge: no failure ends in silence
                await self._stop_worker(0)
                if not failures or not _may_pass(error):
                    self._fail(error)
                    return
            else:
                await self._stop_worker(0)
            failures = 1 if time.monotonic() - started > _STEADY_S else failures + 1
            self._services.metrics.worker_restarts.labels(*self._labels).inc()
            self._set(ModelState.LOADING, "the worker ended and is being restarted")

    def _fail(self, error: Exception) -> None:
        """Take no traffic, and say why without this machine's paths."""
        is_known = isinstance(error, _REASONS)
        logger.warning(
            "model %s cannot be loaded: %s", self.spec.name, error,
            exc_info=None if is_known else error,
        )  # fmt: skip
        reason = str(error) if is_known else f"{type(error).__name__}; the log has the details"
        self._set(ModelState.FAILED, reason.replace(str(self._folder), self.spec.name))

    async def _load(self) -> None:
        started = time.monotonic()
        self._lost.clear()
        source = self._services.sources.find(self.spec.source)
        self._folder = folder = await self._find(source)
        self._set(ModelState.LOADING)
        framework = await asyncio.to_thread(framework_of, self.spec.framework, source)
        order = await asyncio.to_thread(self._order, folder, framework)
        needed = await asyncio.to_thread(self._check_fits, order, framework)
        self._publish(bytes_total=needed)
        facts = await self._load_worker(order, framework)
        self._task = await asyncio.to_thread(build_task, facts.task, folder, facts)
        self.facts = facts
        metrics = self._services.metrics
        metrics.model_bytes.labels(*self._labels, facts.device).set(facts.num_bytes)
        metrics.load_seconds.labels(*self._labels).observe(time.monotonic() - started)
        self._set(ModelState.READY)

    async def _find(self, source: Source) -> Path:
        """Its files; fetched once, so that a worker is replaced by one of the same commit."""
        if (folder := source.folder or self._services.sources.pulled(source)) is not None:
            return folder
        if self._folder is not None and self._folder.is_dir():
            return self._folder
        token = self._services.settings.sync.hub_token
        async with self._services.downloads:
            self._set(ModelState.DOWNLOADING)
            return await download(source, token, self._note_transfer)

    def _note_transfer(self, transfer: Transfer) -> None:
        self._publish(transfer.bytes_done, transfer.bytes_total)

    def _check_fits(self, order: Load, framework: str) -> int:
        folder = Path(order.folder)
        if framework != SAVED_MODEL:
            return check_fits(folder, "float32" if framework == "tensorflow" else self.spec.dtype)
        check_free(needed := saved_model_bytes(folder))
        return needed

    async def _load_worker(self, order: Load, framework: str) -> ModelFacts:
        timeout_s = self._services.settings.worker.load_timeout_s
        self._client = WorkerClient(
            self.spec.name, framework, self._services.supervisor, self._note_batch, self._lost.set
        )
        try:
            async with asyncio.timeout(timeout_s):
                return await self._client.load(order, self._note_progress)
        except TimeoutError:
            raise LoadError(
                f"not loaded within {timeout_s:g} s (setting worker.load_timeout_s)"
            ) from None

    def _order(self, folder: Path, framework: str) -> Load:
        config = None
        if framework == SAVED_MODEL:
            folder = find_saved_model(folder, self.spec.version)
        else:
            config = read_sentence_transformers(folder)
        return Load(
            folder=str(config.folder if config else folder),
            dtype=self.spec.dtype,
            device=self.spec.device,
            pooling=config.pooling.modes if config else (),
            threads=self._threads,
            max_batch_tokens=self._services.settings.batching.max_tokens,
            max_length=(config.max_length or 0) if config else 0,
            max_sequence_tokens=self._services.settings.limits.max_sequence_tokens,
        )

    def _note_progress(self, message: Progress | Warming) -> None:
        if isinstance(message, Warming):
            self._set(ModelState.WARMING)
        else:
            self._publish(message.bytes_done, message.bytes_total)

    def _note_batch(self, batch: BatchDone) -> None:
        metrics = self._services.metrics
        self.admission.note_batch(batch.num_tokens, batch.forward_s)
        metrics.forward_seconds.labels(*self._labels).observe(batch.forward_s)
        metrics.batch_size.labels(*self._labels).observe(batch.num_sequences)
        metrics.batch_tokens.labels(*self._labels).observe(batch.num_tokens)
        metrics.tokens.labels(*self._labels).inc(batch.num_tokens)
        metrics.worker_resident.labels(*self._labels).set(batch.resident_bytes)
        for waited in batch.waited_s:
            metrics.queue_seconds.labels(*self._labels).observe(waited)

    def unload(self) -> asyncio.Task[None]:
        """Begin to take no more requests, to finish those there are, and to end the worker.

        A model that is not ready has no requests, and ends at once.

        Returns:
            The end of it; the same if called again before ``start``.
        """
        if self._end is None:
            was_ready = self.state is ModelState.READY
            self._set(ModelState.DRAINING)
            self._end = asyncio.create_task(
                self._unload(was_ready), name=f"end of {self.spec.name}"
            )
        return self._end

    async def _unload(self, was_ready: bool) -> None:
        if self._life is not None:  # first, so that a worker that dies now is not restarted
            self._life.cancel()
            await asyncio.wait({self._life})
        await self.admission.wait_until_empty(self._services.settings.worker.grace_s)
        await self._stop_worker(_STOP_S if was_ready else 0)
        self._set(ModelState.UNLOADED)

    async def _stop_worker(self, grace_s: float) -> None:
        if self._client is not None:
            await self._client.stop(grace_s)
        self._client = self._task = None

    def _set(self, state: ModelState, reason: str = "") -> None:
        self.state, self.reason = state, reason
        self._changed.set()
        self._changed = asyncio.Event()
        gauge = self._services.metrics.model_state
        for each in ModelState:
            gauge.labels(*self._labels, each).set(each is state)
        self._publish()

    def _publish(self, bytes_done: int = 0, bytes_total: int = 0) -> None:
        self._services.publish(
            ModelEvent(
                self.spec.name, self.spec.version, self.state, bytes_done, bytes_total, self.reason
            )
        )

    @property
    def _labels(self) -> tuple[str, str]:
        return self.spec.name, self.spec.version

    def forget(self) -> None:
        """Take this version's series out of the metrics."""
        self._services.metrics.forget(*self._labels)
