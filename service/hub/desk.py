"""What protocols ask for about the hub, in one place."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from typing_extensions import override

from service.core.errors import Conflict
from service.core.hub import CachedRepository, Follow, FollowOrder, HubJob, PullOrder, PushOrder
from service.hub.cache import cached, delete
from service.hub.follow import Follows
from service.hub.jobs import HubJobs
from service.repository.repository import Repository


class HubDesk(Protocol):
    """Jobs and the cache. Every method raises a ``ServiceError`` when it cannot."""

    def pull(self, order: PullOrder) -> HubJob:
        """Begin to download a model; returns at once, with the state QUEUED."""

    def push(self, order: PushOrder) -> HubJob:
        """Begin to upload a model; returns at once."""

    def jobs(self) -> Sequence[HubJob]:
        """Every job that is remembered, the newest first."""

    def job(self, job_id: str) -> HubJob:
        """One job."""

    def cancel(self, job_id: str) -> HubJob:
        """End a job; one that is settled stays as it is."""

    def events(self, job_id: str) -> AsyncIterator[HubJob]:
        """The job as it stands, then after each change, until it is settled."""

    def follow(self, order: FollowOrder) -> Follow:
        """Begin to follow a branch, in place of what the model followed before."""

    def follows(self) -> Sequence[Follow]:
        """Everything that is followed, in the order it came."""

    def unfollow(self, model: str) -> None:
        """Follow no more; what is served stays."""

    def leave(self) -> None:
        """Take no more jobs, and end every stream of events."""

    async def cached(self) -> Sequence[CachedRepository]:
        """The repositories in the cache."""

    async def delete(self, repo_id: str, revision: str | None) -> int:
        """Delete a repository or a commit from the cache; returns the bytes that are free now."""


class LocalHubDesk(HubDesk):
    """The desk of this process."""

    def __init__(self, jobs: HubJobs, follows: Follows, repository: Repository) -> None:
        self._jobs = jobs
        self._follows = follows
        self._repository = repository

    @override
    def pull(self, order: PullOrder) -> HubJob:
        return self._jobs.pull(order)

    @override
    def push(self, order: PushOrder) -> HubJob:
        return self._jobs.push(order)

    @override
    def jobs(self) -> Sequence[HubJob]:
        return self._jobs.all()

    @override
    def job(self, job_id: str) -> HubJob:
        return self._jobs.get(job_id)

    @override
    def cancel(self, job_id: str) -> HubJob:
        return self._jobs.cancel(job_id)

    @override
    def events(self, job_id: str) -> AsyncIterator[HubJob]:
        self._jobs.get(job_id)  # an unknown id is an error, not a broken stream
        return self._jobs.events(job_id)

    @override
    def follow(self, order: FollowOrder) -> Follow:
        return self._follows.add(order)

    @override
    def follows(self) -> Sequence[Follow]:
        return self._follows.all()

    @override
    def unfollow(self, model: str) -> None:
        self._follows.end(model)

    @override
    def leave(self) -> None:
        self._jobs.leave()

    @override
    async def cached(self) -> Sequence[CachedRepository]:
        return await asyncio.to_thread(cached, self._served())

    @override
    async def delete(self, repo_id: str, revision: str | None) -> int:
        for version in self._repository.all():
            is_of_it = version.spec.source.partition("@")[0] == repo_id
            if is_of_it and version.folder is None and not version.is_settled:
                raise Conflict(f"model {version.spec.name!r} is downloading {repo_id!r}")
        self._jobs.refuse_if_moving(repo_id)
        return await asyncio.to_thread(delete, repo_id, revision, self._served())

    def _served(self) -> Sequence[tuple[str, Path]]:
        return [
            (version.spec.name, version.folder)
            for version in self._repository.all()
            if version.folder is not None and not version.is_settled
        ]
