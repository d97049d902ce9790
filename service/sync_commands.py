"""``model-base pull``, ``push`` and ``cache``: models between the hub and this machine."""

import time
from pathlib import Path

from model_base.checkpoints.sharding import convert_file_size_to_int
from model_base.errors import ModelBaseError
from model_base.hub.files import HubRepository
from model_base.hub.progress import Bar
from model_base.hub.repository import WritableRepository
from model_base.tokenization.json_files import TokenizerError
from service.core.errors import ServiceError
from service.core.hub import CachedRepository
from service.hub.cache import cached, delete
from service.repository.outgoing import push_folder
from service.repository.sources import Sources
from service.repository.transfer import fetch_model

_UNITS = ("B", "KB", "MB", "GB", "TB")


class SyncFailed(Exception):
    """Raised when a model cannot be pulled, pushed or deleted; the text says why."""


def pull(repo_id: str, revision: str | None, token: str | None) -> Path:
    """Download what is loaded of a model, with a bar; returns the folder.

    Raises:
        SyncFailed: the hub refused, cannot be reached, or has no such model.
    """
    options = {"resume_download": True} | ({"token": token} if token else {})
    try:
        source = Sources((), (), hub=True).on_hub(repo_id, revision)
        with Bar(repo_id) as bar:
            return fetch_model(HubRepository(source.repo_id, source.revision, options, bar))
    except (ModelBaseError, TokenizerError, ServiceError, OSError) as error:
        raise SyncFailed(f"cannot download {repo_id}: {error}") from error


def push(
    path_or_model: str, repo_id: str, message: str | None, token: str | None,
    max_shard_size: str | None = None,
) -> str:  # fmt: skip
    """Make a repository's files those of a folder, or of a model in the cache.

    Returns:
        The address of the commit.

    Raises:
        SyncFailed: there is no such folder or model, or the hub refused or cannot be reached.
    """
    folder = Path(path_or_model)
    try:
        if max_shard_size is not None:
            convert_file_size_to_int(max_shard_size)
        if not folder.is_dir():
            source = Sources((), (), hub=True).on_hub(path_or_model, None)
            files = HubRepository(source.repo_id, None, {"local_files_only": True})
            if (config := files.find("config.json")) is None:
                raise SyncFailed(f"{path_or_model} is neither a folder nor a model in the cache")
            folder = config.parent
        repository = WritableRepository.open(repo_id, token=token)
        return push_folder(folder, repository, message, max_shard_size)
    except (ModelBaseError, ServiceError, OSError, ValueError) as error:
        raise SyncFailed(f"cannot push {path_or_model}: {error}") from error


def cache_list() -> str:
    """A table of what is in the cache."""
    rows = [("REPOSITORY", "SIZE", "LAST USED", "REVISIONS"), *map(_row, cached([]))]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )


def cache_delete(repo_id: str, revision: str | None) -> str:
    """Delete a repository or one commit of it; says how much is free now.

    Raises:
        SyncFailed: it is not in the cache.
    """
    try:
        return f"deleted {repo_id}: {_size(delete(repo_id, revision, []))} are free now"
    except ServiceError as error:
        raise SyncFailed(str(error)) from error


def _row(repository: CachedRepository) -> tuple[str, str, str, str]:
    used = time.strftime("%Y-%m-%d", time.localtime(repository.last_used_s))
    revisions = [" ".join((each.commit[:12], *each.refs)) for each in repository.revisions]
    return repository.repo_id, _size(repository.num_bytes), used, ", ".join(revisions)


def _size(num_bytes: float) -> str:
    for unit in _UNITS:
        if num_bytes < 1000 or unit == _UNITS[-1]:
            break
        num_bytes /= 1000
    return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
