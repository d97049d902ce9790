"""Downloads into the cache: checked, and continued where a killed process left them.

huggingface_hub starts every download anew, checks no hash, and leaves what was killed behind,
under a name of its own beside the cached file. Whoever holds the file's lock is the only one who
downloads it, so what lies there then belongs to nobody.
"""

import contextlib
import hashlib
import io
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typing_extensions import override

from model_base.errors import HubUnavailable
from model_base.hub.progress import Progress
from model_base.hub.transport import MAX_UNTOLD_BYTES, speaks_xet

_PASSING = (500, 502, 503, 504)
_WAITS_S = (1.0, 2.0, 4.0)
_HASH = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


def look(
    repo_id: str,
    filename: str,
    *,
    revision: str | None = None,
    resume_download: bool = False,
    **options: Any,
) -> Any:
    """What a download would be: ``huggingface_hub.DryRunFileInfo``.

    Args:
        repo_id: of the model.
        filename: in the repository.
        revision: branch, tag or commit; None is ``main``.
        resume_download: of no interest here.
        options: further ones of ``hf_hub_download``.

    Raises:
        Exception: what ``hf_hub_download`` raises.
    """
    import huggingface_hub

    return huggingface_hub.hf_hub_download(
        repo_id, filename, revision=revision, dry_run=True, **options
    )


def download(
    repo_id: str,
    known: Any,
    progress: Progress,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    resume_download: bool = False,
    force_download: bool = False,
    **options: Any,
) -> Path:
    """As ``huggingface_hub.hf_hub_download``, but what comes has the hash that the hub gives.

    Args:
        repo_id: of the model.
        known: what ``look`` found, with the same options.
        progress: told of the bytes as they come.
        revision: branch, tag or commit; None is ``main``.
        cache_dir: None is huggingface_hub's.
        resume_download: continue what an earlier process began.
        force_download: even if it is in the cache.
        options: further ones of ``hf_hub_download``.

    Raises:
        HubUnavailable: what came is not what the hub announced.
        Exception: what ``hf_hub_download`` raises.
    """
    import huggingface_hub
    from huggingface_hub import constants, file_download

    cache = Path(cache_dir or constants.HF_HUB_CACHE)
    ask = {"cache_dir": cache, **options}
    filename, commit, local = known.filename, known.commit_hash, Path(known.local_path)
    is_fetched = (
        known.will_download
        and not options.get("local_files_only")
        and _fetch_blob(
            cache, repo_id, filename, commit, options, resume_download, force_download, progress
        )
    )
    if is_fetched and force_download:
        local.unlink(missing_ok=True)
    if (
        not known.will_download
        and local.exists()
        and known.file_size not in (None, local.stat().st_size)
    ):
        raise HubUnavailable(
            f"{filename} of {repo_id!r} is damaged in the cache: {local.stat().st_size} bytes in "
            f"place of {known.file_size}; load it with force_download=True",
            "damaged",
        )
    force = force_download and not is_fetched
    path = huggingface_hub.hf_hub_download(
        repo_id, filename, revision=commit, force_download=force,
        tqdm_class=_reporting_to(progress), **ask,
    )  # fmt: skip
    with contextlib.suppress(OSError):  # a cache that may only be read
        folder = cache / file_download.repo_folder_name(repo_id=repo_id, repo_type="model")
        file_download._cache_commit_hash_for_specific_revision(
            str(folder), revision or constants.DEFAULT_REVISION, commit
        )
    return Path(path)


def _fetch_blob(
    cache: Path,
    repo_id: str,
    filename: str,
    commit: str,
    options: Mapping[str, Any],
    resuming: bool,
    anew: bool,
    progress: Progress,
) -> bool:
    """Put the content into the cache, where ``hf_hub_download`` then finds it.

    Returns:
        False: nothing is there, ``hf_hub_download`` has to fetch it: what goes by the Xet protocol,
        which has its own checks, or is too large for HTTP.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.constants import MAX_HTTP_DOWNLOAD_SIZE
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # not in its __all__
        WeakFileLock,
        build_hf_headers,
    )
    from huggingface_hub.utils._runtime import is_xet_available

    endpoint, token = options.get("endpoint"), options.get("token")
    url = hf_hub_url(repo_id, filename, revision=commit, endpoint=endpoint)
    remote = get_hf_file_metadata(url, token=token, endpoint=endpoint)
    etag = remote.etag or ""
    by_xet = remote.xet_file_data and is_xet_available() and speaks_xet(endpoint) and not resuming
    if by_xet or (remote.size or 0) > MAX_HTTP_DOWNLOAD_SIZE:
        return False
    has_hash = _HASH.fullmatch(etag) is not None
    if not has_hash and (endpoint is not None or remote.size is None):
        hub, lacks = endpoint or "the hub", "hash" if remote.size is not None else "hash or size"
        raise HubUnavailable(f"{hub} gives no {lacks} of {filename} of {repo_id!r}", "damaged")
    folder = repo_folder_name(repo_id=repo_id, repo_type="model")
    blob = cache / folder / "blobs" / etag
    lock = cache / ".locks" / folder / f"{etag}.lock"
    for parent in (blob.parent, lock.parent):
        parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.exists() and not anew:
            progress.update(blob.stat().st_size)  # another download has brought it meanwhile
            return True
        partial = _left_over(blob, keep=resuming and has_hash)
        progress.update(begun := _size_of(partial))
        for _ in range(2 if begun else 1):  # what was left may be damaged
            digest = _append_patiently(
                partial, url, build_hf_headers(token=token), remote.size, etag, progress
            )
            if not has_hash or (digest or digest_of(etag, partial)).hexdigest() == etag:
                partial.replace(blob)
                return True
            progress.update(-partial.stat().st_size)
            partial.unlink()
    raise HubUnavailable(
        f"{filename} of {repo_id!r} does not have the hash that the hub gives", "damaged"
    )


def _left_over(blob: Path, *, keep: bool) -> Path:
    """Where the download goes; of the beginnings that were left the longest is kept, or none."""
    partial = blob.with_name(f"{blob.name}.incomplete")
    found = sorted(blob.parent.glob(f"{blob.name}.*incomplete"), key=lambda p: p.stat().st_size)
    longest = found.pop() if found and keep else None
    for path in found:
        path.unlink(missing_ok=True)
    if longest is not None:
        longest.replace(partial)
    return partial


def _append_patiently(partial: Path, *how: Any) -> Any:
    """As ``_append``, also if the hub fails for some seconds; huggingface_hub bears 429 itself."""
    from huggingface_hub.errors import HfHubHTTPError

    for wait_s in _WAITS_S:
        try:
            return _append(partial, *how)
        except HfHubHTTPError as error:
            if error.response.status_code not in _PASSING:
                raise
            time.sleep(wait_s)
    return _append(partial, *how)


def _append(
    partial: Path,
    url: str,
    headers: dict[str, Any],
    size: int | None,
    etag: str,
    progress: Progress,
) -> Any:
    """Download what is missing of a file.

    Returns:
        Its digest, made while it came; None if that was not possible.
    """
    from huggingface_hub.file_download import http_get

    begun = _size_of(partial)
    if size is not None and begun > size:
        progress.update(-begun)
        partial.unlink()
        begun = 0
    bar: Any = progress  # all that is called of it is update
    digest = None if size is None else digest_of(etag, partial, size)
    with _Bounded(partial, size, digest) as file:
        http_get(url, file, resume_size=begun, headers=headers, expected_size=size, _tqdm_bar=bar)
        return file.digest


def _size_of(path: Path) -> int:
    """In bytes; 0 if it is not there."""
    return path.stat().st_size if path.exists() else 0


def _reporting_to(progress: Progress) -> Any:
    """A class of bars that show nothing: for what huggingface_hub fetches itself."""
    from tqdm import tqdm

    class Reporting(tqdm):  # type: ignore[type-arg]  # generic in its stubs alone
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

        @override
        def update(self, n: float | None = 1) -> None:
            progress.update(int(n or 0))

    return Reporting


class _Bounded(io.BufferedWriter):
    """A file that is added to, up to a size (None: a bound); beyond it the file is removed.

    Attributes:
        digest: of all that is in it; None once something was taken away.
    """

    def __init__(self, path: Path, size: int | None, digest: Any = None) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self._path, self._size, self.digest = path, size, digest
        self._bound = MAX_UNTOLD_BYTES if size is None else size

    @override
    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self._bound:
            self._path.unlink()
            why = "without telling how many" if self._size is None else "that it announced"
            raise HubUnavailable(
                f"the hub sends more than the {self._bound} bytes {why}", "damaged"
            )
        if self.digest is not None:
            self.digest.update(data)
        return super().write(data)

    @override
    def truncate(self, size: int | None = None, /) -> int:
        self.digest = None
        return super().truncate(size)


def digest_of(etag: str, path: Path, size: int | None = None) -> Any:
    """The digest that an ETag of the hub shows, SHA-256 or git's own, of what is in a file so far.

    Args:
        etag: of the whole file.
        path: need not be there.
        size: that it will have, if it is not complete.
    """
    there = _size_of(path)
    git = hashlib.sha1(b"blob %d\0" % (there if size is None else size), usedforsecurity=False)
    digest = git if len(etag) == 40 else hashlib.sha256()
    if there:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest
