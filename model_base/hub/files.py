"""Where the files of a model come from: a folder, or a hub repository through its cache."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from typing_extensions import override

from model_base.constants import CONFIG_NAME
from model_base.errors import HubUnavailable
from model_base.hub.failures import failing_as_ours
from model_base.hub.names import COMMIT, HUB_ID, REVISION, check_names
from model_base.hub.progress import Bar, Progress, Stoppable
from model_base.hub.resuming import download, look
from model_base.hub.transport import checked_endpoint, checked_token, transport

_MAX_PARALLEL = 8


class ModelFiles(Protocol):
    """Finds the files of one model by their plain names."""

    @property
    def label(self) -> str:
        """What the user called it; for messages."""

    def find(self, name: str) -> Path | None:
        """The local path of a file, fetched if need be; None if the model has no such file."""

    def find_all(self, names: Iterable[str]) -> dict[str, Path | None]:
        """As ``find``, for several files; what has to be fetched is fetched side by side."""
        return {name: self.find(name) for name in names}


@dataclass(frozen=True, slots=True)
class Folder(ModelFiles):
    """A model folder on disk."""

    path: Path

    @property
    @override
    def label(self) -> str:
        return str(self.path)

    @override
    def find(self, name: str) -> Path | None:
        path = self.path / name
        return path if os.path.isfile(path) else None  # Path.is_file raises on what is too long


@dataclass(slots=True)
class HubRepository(ModelFiles):
    """A model repository on the hub, cached by huggingface_hub.

    Attributes:
        repo_id: of the model.
        revision: branch, tag or commit; from the first file that is found on the commit it is of,
            so that the others are of the same.
        options: of ``download``; also ``proxies``.
        progress: told of what is downloaded; None shows a bar for each call.
    """

    repo_id: str
    revision: str | None = None
    options: dict[str, Any] = field(default_factory=dict, repr=False)  # holds the token
    progress: Progress | None = None

    @property
    @override
    def label(self) -> str:
        return self.repo_id

    @override
    def find(self, name: str) -> Path | None:
        return self.find_all([name])[name]

    @override
    def find_all(self, names: Iterable[str]) -> dict[str, Path | None]:
        from huggingface_hub import constants

        off = self.options.get("local_files_only") or constants.is_offline_mode()
        found: dict[str, Path | None] = dict.fromkeys(names)
        check_names(found)
        unknown = []
        for name in found:
            has = self._has(name)
            if off or has:
                found[name] = self._find_here(name)
            elif has is None:
                unknown.append(name)
        if unknown:
            with transport(self.options.get("proxies"), endpoint=self.options.get("endpoint")):
                found |= self._fetch(unknown)
        return found

    def _find_here(self, name: str) -> Path | None:
        from huggingface_hub import errors as hub

        with self._failing(name):
            try:
                known = self._look(name, local_files_only=True)
                path = download(self.repo_id, known, Bar(""), **self._asked(local_files_only=True))
            except hub.LocalEntryNotFoundError:
                if not self._is_cached(self.options.get("cache_dir")):
                    raise HubUnavailable(
                        f"{self.repo_id!r} is not in the cache, and the hub is not asked: "
                        "local_files_only or offline mode is on"
                    ) from None
                return None
        self.revision = known.commit_hash
        return path

    def _fetch(self, names: Sequence[str]) -> dict[str, Path | None]:
        """Ask the hub for files, and download those that it has, all of one commit."""
        found: dict[str, Path | None] = dict.fromkeys(names)
        looks, asked = {}, self.revision
        for name in names:
            if (known := self._look_remotely(name)) is not None:
                looks[name], self.revision = known, known.commit_hash
        wanted = [known.file_size or 0 for known in looks.values() if known.will_download]
        self._check_space(sum(wanted))
        with self._reporting() as reporting, ThreadPoolExecutor(_MAX_PARALLEL) as pool:
            progress = Stoppable(reporting)
            progress.expect(sum(wanted), len(wanted))
            jobs = {
                name: pool.submit(self._download, looks[name], asked, progress) for name in looks
            }
            try:
                for job in as_completed(jobs.values()):
                    job.result()
            except BaseException:
                progress.stop()
                pool.shutdown(cancel_futures=True)
                raise
        return found | {name: job.result() for name, job in jobs.items()}

    def _look_remotely(self, name: str) -> Any:
        from huggingface_hub import errors as hub

        with self._failing(name):
            try:
                return self._look(name)
            except hub.LocalEntryNotFoundError:  # the hub does not answer
                if self._cached(name, self.revision) is False:
                    return None
                raise
            except hub.EntryNotFoundError:
                return None

    def _look(self, name: str, **more: Any) -> Any:
        return look(self.repo_id, name, **self._asked(**more))

    def _download(self, known: Any, revision: str | None, progress: Progress) -> Path:
        with self._failing(known.filename):
            path = download(self.repo_id, known, progress, **self._asked(revision=revision))
        if known.will_download:
            progress.finish()
        return path

    def _asked(self, **more: Any) -> dict[str, Any]:
        options = {**self.options, "revision": self.revision, **more}
        options.pop("proxies", None)
        return options

    def _failing(self, name: str) -> contextlib.AbstractContextManager[None]:
        return failing_as_ours(f"get {name} of {self.repo_id!r}", self.repo_id, self.revision)

    def _reporting(self) -> contextlib.AbstractContextManager[Progress]:
        return Bar(self.repo_id) if self.progress is None else contextlib.nullcontext(self.progress)

    def _check_space(self, num_bytes: int) -> None:
        """Refuse a download that the disk has no room for.

        Raises:
            OSError: ``ENOSPC``, with both numbers.
        """
        from huggingface_hub import constants

        path = Path(self.options.get("cache_dir") or constants.HF_HUB_CACHE).absolute()
        while not path.exists():
            path = path.parent
        if num_bytes > (free := shutil.disk_usage(path).free):
            raise OSError(
                errno.ENOSPC,
                f"the files of {self.repo_id!r} need {num_bytes} bytes, and {free} are free",
                str(path),
            )

    def _has(self, name: str) -> bool | None:
        """Whether this very commit has the file; None if the hub has to be asked."""
        commit = self.revision or ""
        if not COMMIT.fullmatch(commit) or self.options.get("force_download"):
            return None
        return self._cached(name, commit)

    def _cached(self, name: str, revision: str | None) -> bool | None:
        """Whether the revision had the file when the hub was last asked; None if it never was."""
        from huggingface_hub import try_to_load_from_cache

        where = self.options.get("cache_dir")
        found = try_to_load_from_cache(self.repo_id, name, where, revision)
        return None if found is None else isinstance(found, str)

    def _is_cached(self, cache_dir: str | Path | None) -> bool:
        """Whether anything of the repository is in the cache."""
        from huggingface_hub import constants
        from huggingface_hub.file_download import repo_folder_name

        folder = repo_folder_name(repo_id=self.repo_id, repo_type="model")
        return (Path(cache_dir or constants.HF_HUB_CACHE) / folder / "snapshots").is_dir()


_ALIASES = {"use_auth_token": "token", "mirror": "endpoint"}
HUB_OPTIONS = (
    "cache_dir", "force_download", "local_files_only", "revision", "resume_download", "proxies",
    "token", "endpoint", *_ALIASES,
)  # fmt: skip
"""Arguments of every ``from_pretrained`` that say how the hub is asked."""


def pop_hub_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take those arguments out of ``kwargs``, under the names that ``model_files`` wants."""
    given = {key: kwargs.pop(key) for key in HUB_OPTIONS if key in kwargs}
    for old, name in _ALIASES.items():
        if (value := given.pop(old, None)) is not None:
            given.setdefault(name, value)
    return {key: value for key, value in given.items() if value is not None}


def file_at(name_or_path: str | Path) -> Path | None:
    """The file a path means: it, or the index of the TensorFlow 1 checkpoint of that prefix."""
    path = str(Path(name_or_path))
    if not os.path.exists(path):  # unlike Path.exists it takes names that are too long
        path += ".index"
    return Path(path) if os.path.isfile(path) else None


def model_files(
    name_or_path: str | Path, *, revision: str | None = None, **options: Any
) -> ModelFiles:
    """The files of a folder if there is one, else of the hub repository of that name.

    Args:
        name_or_path: a folder, or ``name`` or ``owner/name`` on the hub.
        revision: branch, tag or commit on the hub.
        options: of ``pop_hub_options``: those of ``download``, and ``proxies``.

    Raises:
        HubUnavailable: neither a folder nor a possible name on the hub.
        ValueError: ``endpoint`` (``mirror``) is not the address of a hub, or ``token`` or
            ``revision`` cannot be one.
    """
    if str(name_or_path) and os.path.isdir(name_or_path):
        return Folder(Path(name_or_path))
    if not HUB_ID.fullmatch(str(name_or_path)) or os.path.exists(name_or_path):
        raise HubUnavailable(
            f"{str(name_or_path)!r} is not a folder here, and it cannot be a model on the hub"
        )
    if revision is not None and not (isinstance(revision, str) and REVISION.fullmatch(revision)):
        raise ValueError(f"revision is {revision!r:.100}; accepted: a branch, a tag or a commit")
    if "token" in options:
        options["token"] = checked_token(options["token"])
    if (endpoint := checked_endpoint(options.pop("endpoint", None))) is not None:
        options = {"token": False, **options, "endpoint": endpoint}  # a stored one stays at home
    return HubRepository(str(name_or_path), revision, options)


def pinned(name_or_path: str | Path | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for ``model_files`` with the commit that the hub has now.

    What is read with them in several steps is then of one commit. Folders and files of this
    machine, and repositories without a configuration, need none.

    Raises:
        HubUnavailable, ValueError: as ``model_files`` and ``find``.
    """
    if name_or_path is None or file_at(name_or_path) is not None:
        return dict(options)
    files = model_files(name_or_path, **options)
    if isinstance(files, HubRepository) and files.find(CONFIG_NAME) is not None:
        return {**options, "revision": files.revision}
    return dict(options)
