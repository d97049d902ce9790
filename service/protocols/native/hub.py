"""The hub: jobs that pull and push, and the cache. For admin keys only."""

from dataclasses import asdict
from typing import Any

import orjson
from fastapi import APIRouter, Response

from service.core.hub import CachedRepository, Follow, FollowOrder, HubJob, PullOrder, PushOrder
from service.dataplane import DataPlane
from service.protocols.base import Answers, JsonResponse
from service.protocols.native.hub_schemas import (
    CacheRow,
    FollowBody,
    FollowRow,
    Freed,
    JobRow,
    PullBody,
    PushBody,
    Revision,
)
from service.protocols.native.lifecycle import event_stream
from service.protocols.native.schemas import PathName

_ACCEPTED: Answers = {202: {"model": JobRow, "description": "Accepted; Location is the job"}}
_JOB: Answers = {200: {"model": JobRow, "description": "The job as it stands"}}
_STREAM: Answers = {
    200: {
        "description": "`event: job` with the job's fields, as it stands and after each change, "
        "until it is settled",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}


def add_hub(router: APIRouter, dataplane: DataPlane) -> None:
    """Add the routes of jobs and of the cache."""
    _add_orders(router, dataplane)
    _add_jobs(router, dataplane)
    _add_cache(router, dataplane)
    _add_follows(router, dataplane)


def _add_orders(router: APIRouter, dataplane: DataPlane) -> None:
    @router.post(
        "/hub/pull", tags=["Hub"], summary="Download a model", status_code=202, responses=_ACCEPTED
    )
    async def pull(body: PullBody) -> Response:
        """Begin to download a model from the hub, and to serve it if ``load_as`` names it."""
        return _accepted(dataplane.hub.pull(PullOrder(**body.model_dump())))

    @router.post(
        "/hub/push", tags=["Hub"], summary="Upload a model", status_code=202, responses=_ACCEPTED
    )
    async def push(body: PushBody) -> Response:
        """Begin to make a repository's files those of a served model, or of a model folder."""
        return _accepted(dataplane.hub.push(PushOrder(**body.model_dump())))


def _accepted(job: HubJob) -> Response:
    headers = {"Location": f"/hub/jobs/{job.id}"}
    return JsonResponse(_row(job), status_code=202, headers=headers)


def _add_jobs(router: APIRouter, dataplane: DataPlane) -> None:
    @router.get(
        "/hub/jobs",
        tags=["Hub"],
        summary="List jobs",
        responses={200: {"model": list[JobRow], "description": "The newest first"}},
    )
    async def jobs() -> Response:
        """List the jobs that are remembered."""
        return JsonResponse([_row(job) for job in dataplane.hub.jobs()])

    @router.get("/hub/jobs/{job_id}", tags=["Hub"], summary="Describe a job", responses=_JOB)
    async def job(job_id: str) -> Response:
        """Tell how a job stands."""
        return JsonResponse(_row(dataplane.hub.job(job_id)))

    @router.get(
        "/hub/jobs/{job_id}/events",
        tags=["Hub"],
        summary="Watch a job",
        response_class=Response,
        responses=_STREAM,
    )
    async def events(job_id: str) -> Response:
        """Stream a job as server-sent events."""
        return event_stream(dataplane.hub.events(job_id), _to_sse)

    @router.delete("/hub/jobs/{job_id}", tags=["Hub"], summary="Cancel a job", responses=_JOB)
    async def cancel(job_id: str) -> Response:
        """End a job; one that is settled stays as it is."""
        return JsonResponse(_row(dataplane.hub.cancel(job_id)))


def _add_cache(router: APIRouter, dataplane: DataPlane) -> None:
    @router.get(
        "/hub/models",
        tags=["Hub"],
        summary="List the cache",
        responses={200: {"model": list[CacheRow], "description": "A row per repository"}},
    )
    async def models() -> Response:
        """List what was downloaded, and which served models hold it."""
        return JsonResponse([_cache_row(each) for each in await dataplane.hub.cached()])

    @router.delete(
        "/hub/models/{owner}/{repo}",
        tags=["Hub"],
        summary="Delete from the cache",
        responses={200: {"model": Freed, "description": "What was deleted"}},
    )
    async def delete(owner: str, repo: str, revision: Revision | None = None) -> Response:
        """Delete a repository or one commit of it, unless it is served or being downloaded."""
        freed = await dataplane.hub.delete(f"{owner}/{repo}", revision)
        return JsonResponse({"freed_bytes": freed})


def _add_follows(router: APIRouter, dataplane: DataPlane) -> None:
    @router.post(
        "/hub/follow",
        tags=["Hub"],
        summary="Follow a branch",
        responses={200: {"model": FollowRow, "description": "What is followed from now on"}},
    )
    async def follow(body: FollowBody) -> Response:
        """Serve each new commit of a branch: pulled, loaded beside the old one, then in its place.

        If the new one cannot be served, the old one stays.
        """
        order = FollowOrder(**body.model_dump())
        return JsonResponse(_follow_row(dataplane.hub.follow(order)))

    @router.get(
        "/hub/follow",
        tags=["Hub"],
        summary="List what is followed",
        responses={200: {"model": list[FollowRow], "description": "A row per model"}},
    )
    async def follows() -> Response:
        """List what is followed, and how it stands."""
        return JsonResponse([_follow_row(each) for each in dataplane.hub.follows()])

    @router.delete(
        "/hub/follow/{model:path}",
        tags=["Hub"],
        summary="Follow no more",
        status_code=204,
        response_description="It is followed no more; what is served stays",
    )
    async def unfollow(model: PathName) -> Response:
        """End it."""
        dataplane.hub.unfollow(model)
        return Response(status_code=204)


def _follow_row(follow: Follow) -> dict[str, Any]:
    checked = None if follow.checked_s is None else int(follow.checked_s)
    found = {"commit": follow.commit, "checked": checked, "error": follow.error}
    return {**asdict(follow.order), **found}


def _row(job: HubJob) -> dict[str, Any]:
    row = asdict(job)
    row["created"] = int(row.pop("created_s"))
    return row


def _to_sse(job: HubJob) -> bytes:
    return b"event: job\ndata: " + orjson.dumps(_row(job)) + b"\n\n"


def _cache_row(repository: CachedRepository) -> dict[str, Any]:
    row = asdict(repository)
    row["last_used"] = int(row.pop("last_used_s"))
    return row
