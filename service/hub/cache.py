"""What the hub's cache on this machine holds, and what of it is served."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.core.errors import Conflict, NotFound
from service.core.hub import CachedRepository, CachedRevision


def cached(
    served: Sequence[tuple[str, Path]], cache_dir: Path | None = None
) -> list[CachedRepository]:
    """The model repositories in the cache, by name.

    Args:
        served: names of models with the folder that each is served from.
        cache_dir: None is huggingface_hub's.
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
            sorted({name for name, folder in served if _is_in(folder, repository.repo_path)}),
        )
        for repository in sorted(_scanned(cache_dir), key=lambda each: each.repo_id)
    ]


def delete(
    repo_id: str,
    revision: str | None,
    served: Sequence[tuple[str, Path]],
    cache_dir: Path | None = None,
) -> int:
    """Delete a repository, or one commit of it, from the cache.

    Args:
        repo_id: ``owner/name``.
        revision: a commit, or a branch or tag that meant it; None deletes all.
        served: as for ``cached``.
        cache_dir: None is huggingface_hub's.

    Returns:
        Bytes that are free now.

    Raises:
        Conflict: a model is served from it.
        NotFound: it is not in the cache.
    """
    for repository in _scanned(cache_dir):
        if repository.repo_id == repo_id:
            break
    else:
        raise NotFound(f"repository {repo_id!r} is not in the cache")
    gone = [r for r in repository.revisions if revision in (None, r.commit_hash, *r.refs)]
    if not gone:
        raise NotFound(f"revision {revision!r} of {repo_id!r} is not in the cache")
    for name, folder in served:
        if any(_is_in(folder, each.snapshot_path) for each in gone):
            raise Conflict(f"{repo_id!r} is served as {name!r}: unload that first")
    from huggingface_hub import scan_cache_dir

    plan = scan_cache_dir(cache_dir).delete_revisions(*(each.commit_hash for each in gone))
    plan.execute()
    return int(plan.expected_freed_size)


def _scanned(cache_dir: Path | None) -> list[Any]:
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        found = scan_cache_dir(cache_dir)
    except CacheNotFound:
        return []
    return [each for each in found.repos if each.repo_type == "model"]


def _is_in(folder: Path, root: Path) -> bool:
    return folder == root or root in folder.parents
