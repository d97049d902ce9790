"""Downloads that a killed process left are continued.

huggingface_hub starts every download anew and leaves what was killed behind, under a name of its
own beside the cached file. Whoever holds the file's lock is the only one who downloads it, so
what lies there then belongs to nobody; it is continued, and the hash the hub gives is checked.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_base.errors import HubUnavailable

_HASH = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


def download_resuming(
    repo_id: str,
    filename: str,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    **options: Any,
) -> str:
    """As ``huggingface_hub.hf_hub_download``, but continues what an earlier process began.

    Raises:
        HubUnavailable: what came is not what the hub announced, twice.
        Exception: what ``hf_hub_download`` raises.
    """
    import huggingface_hub
    from huggingface_hub import constants

    cache = Path(cache_dir or constants.HF_HUB_CACHE)
    ask = {"revision": revision, "cache_dir": cache, **options}
    known = huggingface_hub.hf_hub_download(repo_id, filename, dry_run=True, **ask)
    if known.will_download and not options.get("force_download"):
        _fetch_blob(cache, repo_id, filename, known.commit_hash, options)
    path: str = huggingface_hub.hf_hub_download(repo_id, filename, **ask)
    return path


def _fetch_blob(
    cache: Path, repo_id: str, filename: str, commit: str, options: Mapping[str, Any]
) -> None:
    """Put the content into the cache, where ``hf_hub_download`` then finds it.

    What has no hash to check, or goes only by the Xet protocol, is left to that.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.constants import MAX_HTTP_DOWNLOAD_SIZE
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        WeakFileLock,
        build_hf_headers,
    )

    endpoint, token = options.get("endpoint"), options.get("token")
    url = hf_hub_url(repo_id, filename, revision=commit, endpoint=endpoint)
    remote = get_hf_file_metadata(url, token=token, endpoint=endpoint)
    etag = remote.etag or ""
    if not _HASH.fullmatch(etag) or (remote.size or 0) > MAX_HTTP_DOWNLOAD_SIZE:
        return
    folder = repo_folder_name(repo_id=repo_id, repo_type="model")
    blob = cache / folder / "blobs" / etag
    lock = cache / ".locks" / folder / f"{etag}.lock"
    for parent in (blob.parent, lock.parent):
        parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.exists():
            return
        partial = _left_over(blob)
        for _ in range(2):  # what was left may be damaged; what comes whole is not
            _append(partial, url, build_hf_headers(token=token), remote.size)
            if _has_hash(partial, blob.name):
                partial.replace(blob)
                return
            partial.unlink()
    raise HubUnavailable(f"{filename} of {repo_id!r} does not have the hash that the hub gives")


def _left_over(blob: Path) -> Path:
    """Where the download goes: holds the longest beginning that was left, the others are gone."""
    partial = blob.with_name(f"{blob.name}.incomplete")
    found = sorted(blob.parent.glob(f"{blob.name}.*incomplete"), key=lambda p: p.stat().st_size)
    if found:
        found.pop().replace(partial)
    for path in found:
        path.unlink(missing_ok=True)
    return partial


def _append(partial: Path, url: str, headers: dict[str, Any], size: int | None) -> None:
    from huggingface_hub.file_download import http_get

    begun = partial.stat().st_size if partial.exists() else 0
    if size is not None and begun > size:
        partial.unlink()
        begun = 0
    with partial.open("ab") as file:
        http_get(url, file, resume_size=begun, headers=headers, expected_size=size)


def _has_hash(path: Path, etag: str) -> bool:
    """Whether the content is what an ETag of the hub says: its SHA-256, or git's own hash."""
    git = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    digest = git if len(etag) == 40 else hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() == etag
