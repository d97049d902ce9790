"""Models that follow a branch: each new commit is pulled, loaded beside the old, and takes over."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import replace

from service.core.errors import BadRequest, Conflict, ModelNotFound, NotFound, ServiceError
from service.core.hub import Follow, FollowOrder, JobState, PullOrder
from service.core.messages import ModelSpec
from service.core.names import name_problem
from service.core.settings import SyncSettings
from service.hub.jobs import HubJobs
from service.hub.store import JobStore
from service.repository.download import HubFailed, transfer
from service.repository.repository import Repository
from service.repository.sources import Sources

logger = logging.getLogger("service.hub")

_MAX_FOLLOWS = 100


class NotServed(Exception):
    """Raised when a commit is not served; the text says why."""


class Follows:
    """Everything that is followed; each is polled in a task of its own.

    Args:
        settings: of the hub.
        sources: decides which repositories may be used.
        repository: where the models are served.
        jobs: what pulls.
    """

    def __init__(
        self, settings: SyncSettings, sources: Sources, repository: Repository, jobs: HubJobs
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._repository = repository
        self._jobs = jobs
        self._turns = asyncio.Semaphore(settings.parallel)
        self._follows: dict[str, Follow] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._store: JobStore | None = None

    def start(self, store: JobStore) -> None:
        """Go on with what the last run of the service followed."""
        self._store = store
        for order in store.follows():
            self._begin(order)

    async def close(self) -> None:
        """Stop polling; the next ``start`` goes on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def add(self, order: FollowOrder) -> Follow:
        """Begin to follow; takes the place of what the model followed before.

        Raises:
            BadRequest: the model's name is none, or the repository may not be used.
            Conflict: too many are followed.
        """
        if order.model not in self._follows and len(self._follows) >= _MAX_FOLLOWS:
            raise Conflict(f"{_MAX_FOLLOWS} models follow a branch: end one of them first")
        if problem := name_problem(order.model):
            raise BadRequest(problem)
        self._sources.on_hub(order.repo_id, order.branch)
        if self._store is not None:
            self._store.put_follow(order)
        return self._begin(order)

    def all(self) -> Sequence[Follow]:
        """Everything that is followed, in the order it came."""
        return list(self._follows.values())

    def end(self, model: str) -> None:
        """Follow no more; what is served stays.

        Raises:
            NotFound: the model follows nothing.
        """
        if model not in self._follows:
            raise NotFound(f"model {model!r} follows no repository")
        self._tasks.pop(model).cancel()
        del self._follows[model]
        if self._store is not None:
            self._store.drop_follow(model)

    def _begin(self, order: FollowOrder) -> Follow:
        if (old := self._tasks.get(order.model)) is not None:
            old.cancel()
        self._follows[order.model] = follow = Follow(order)
        task = asyncio.create_task(self._poll(order), name=f"follow of {order.model}")
        self._tasks[order.model] = task
        return follow

    async def _poll(self, order: FollowOrder) -> None:
        tried = ""
        while True:
            try:
                commit = await self._head(order)
                if commit == self._follows[order.model].commit:
                    self._note(order, error=None)
                elif commit != tried:
                    await self._pull(order, commit)
                    tried = commit
                    await self._serve(order, commit)
            except (NotServed, HubFailed, ServiceError) as error:
                self._note(order, error=str(error))
            except Exception as error:  # the edge of the poll: it goes on
                logger.exception("%s cannot follow %s", order.model, order.repo_id)
                self._note(order, error=f"{type(error).__name__}; the log has the details")
            await asyncio.sleep(order.interval_s)

    async def _head(self, order: FollowOrder) -> str:
        self._sources.on_hub(order.repo_id, order.branch)  # may have changed with a restart
        words = {"repo_id": order.repo_id, "revision": order.branch}
        async with self._turns:
            found = await transfer("head", words, self._settings.hub_token, lambda _: None)
        self._note(order, checked_s=time.time())
        return str(found["commit"])

    async def _pull(self, order: FollowOrder, commit: str) -> None:
        begun = self._jobs.pull(PullOrder(order.repo_id, commit))
        job = await self._jobs.wait(begun.id)
        if job.state is not JobState.DONE:
            raise NotServed(f"{commit[:12]} is not pulled: {job.error or job.state}")

    async def _serve(self, order: FollowOrder, commit: str) -> None:
        """Load a commit that was pulled; what is served stays until it is ready."""
        spec = self._spec(order, commit)
        try:
            version = self._repository.get(spec.name, spec.version)
        except ModelNotFound:
            version = None
        if version is None or version.is_settled:
            self._repository.load(spec)
            version = self._repository.get(spec.name, spec.version)
        if not await version.wait_until_ready():
            raise NotServed(f"{commit[:12]} is not served: {version.reason or version.state}")
        self._note(order, commit=commit, error=None)

    def _spec(self, order: FollowOrder, commit: str) -> ModelSpec:
        """Of the new version: run as the present one is."""
        source, version = f"{order.repo_id}@{commit}", commit[:12]
        try:
            present = self._repository.get(order.model).spec
        except ModelNotFound:
            return ModelSpec(order.model, source, version)
        return replace(present, source=source, version=version)

    def _note(self, order: FollowOrder, **changes: object) -> None:
        follow = self._follows.get(order.model)
        if follow is not None and follow.order == order:
            self._follows[order.model] = replace(follow, **changes)  # type: ignore[arg-type]
