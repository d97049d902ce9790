"""What the hub's cache on this machine holds, and what of it is served."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.core.errors import Conflict, NotFound
from service.core.hub import CachedRepository, CachedRevision

_TRIES = 5


def cached(served: Sequence[tuple[str, Path]]) -> list[CachedRepository]:
    """The model repositories in the cache, by name.

    Args:
        served: names of models with the folder that each is served from.
    """
    return [
        CachedRepository(
            repository.repo_id,
            repository.size_on_disk,
            [
                CachedRevision(each.commit_hash, sorted(each.refs), each.size_on_disk)
                for each in sorted(repository.revisions, key=lambda each: -each.last_modified)
            ],
            repository.last_accessed,
            sorted({n for n, folder in served if folder.is_relative_to(repository.repo_path)}),
        )
        for repository in sorted(_models(_scanned()), key=lambda each: each.repo_id)
    ]


def delete(repo_id: str, revision: str | None, served: Sequence[tuple[str, Path]]) -> int:
    """Delete a repository, or one commit of it, from the cache.

    Args:
        repo_id: ``owner/name``.
        revision: a commit, or a branch or tag that meant it; None deletes all.
        served: as for ``cached``.

    Returns:
        Bytes that are free now.

    Raises:
        Conflict: a model is served from it, or it cannot be deleted.
        NotFound: it is not in the cache.
    """
    cache = _scanned()
    for repository in _models(cache):
        if repository.repo_id == repo_id:
            break
    else:
        raise NotFound(f"repository {repo_id!r} is not in the cache")
    gone = [r for r in repository.revisions if revision in (None, r.commit_hash, *r.refs)]
    if not gone:
        raise NotFound(f"revision {revision!r} of {repo_id!r} is not in the cache")
    for name, folder in served:
        if any(folder.is_relative_to(each.snapshot_path) for each in gone):
            raise Conflict(f"{repo_id!r} is served as {name!r}: unload that first")
    plan = cache.delete_revisions(*(each.commit_hash for each in gone))
    try:
        plan.execute()
    except OSError as error:
        raise Conflict(f"{repo_id!r} cannot be deleted: {error.strerror}") from error
    return int(plan.expected_freed_size)


def _scanned(tries_left: int = _TRIES) -> Any:
    """What huggingface_hub finds in its cache; None if there is none.

    Raises:
        Conflict: it cannot be read, or others write to it all the time.
    """
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        return scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return None
    except (OSError, ValueError) as error:  # a file that was there may be there no more
        if tries_left:
            return _scanned(tries_left - 1)
        why = error.strerror if isinstance(error, OSError) else "it is no folder"
        raise Conflict(f"the cache of the hub cannot be read: {why}") from error


def _models(cache: Any) -> list[Any]:
    return [each for each in cache.repos if each.repo_type == "model"] if cache else []
