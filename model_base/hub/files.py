"""Where the files of a model come from: a folder, or a hub repository through its cache."""

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from typing_extensions import override

from model_base.constants import CONFIG_NAME
from model_base.errors import HubUnavailable
from model_base.hub.failures import failing_as_ours
from model_base.hub.resuming import download
from model_base.hub.transport import checked_endpoint, checked_token, transport

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
_COMMIT = re.compile("[0-9a-f]{40}")
_REVISION = re.compile(r"(?!.*(\.\.|//|/\.))[^./-][^\0- ~^:?*\[\\\x7f\ud800-\udfff]{0,199}")
"""A git ref, and no path out of the folder of refs."""


class ModelFiles(Protocol):
    """Finds the files of one model by their plain names."""

    @property
    def label(self) -> str:
        """What the user called it; for messages."""

    def find(self, name: str) -> Path | None:
        """The local path of a file, fetched if need be; None if the model has no such file."""


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
    """

    repo_id: str
    revision: str | None = None
    options: dict[str, Any] = field(default_factory=dict, repr=False)  # holds the token

    @property
    @override
    def label(self) -> str:
        return self.repo_id

    @override
    def find(self, name: str) -> Path | None:
        from huggingface_hub import constants
        from huggingface_hub import errors as hub

        options = {**self.options, "revision": self.revision}
        proxies = options.pop("proxies", None)
        is_local = options.get("local_files_only") or constants.is_offline_mode() or self._has(name)
        way = contextlib.nullcontext() if is_local else transport(proxies)
        doing = f"get {name} of {self.repo_id!r}"
        with way, failing_as_ours(doing, self.repo_id, self.revision):
            try:
                path = download(self.repo_id, name, **{**options, "local_files_only": is_local})
            except hub.LocalEntryNotFoundError:
                if not is_local:
                    raise
                if not self._is_cached(options.get("cache_dir")):
                    raise HubUnavailable(
                        f"{self.repo_id!r} is not in the cache, and the hub is not asked: "
                        "local_files_only or offline mode is on"
                    ) from None
                return None
            except hub.EntryNotFoundError:
                return None
        self.revision = path.parents[name.count("/")].name
        return path

    def _has(self, name: str) -> bool:
        """Whether the file of this very commit is in the cache."""
        from huggingface_hub import try_to_load_from_cache

        commit, where = self.revision or "", self.options.get("cache_dir")
        if not _COMMIT.fullmatch(commit) or self.options.get("force_download"):
            return False
        return isinstance(try_to_load_from_cache(self.repo_id, name, where, commit), str)

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
    if not _HUB_ID.fullmatch(str(name_or_path)) or os.path.exists(name_or_path):
        raise HubUnavailable(
            f"{str(name_or_path)!r} is not a folder here, and it cannot be a model on the hub"
        )
    if revision is not None and not (isinstance(revision, str) and _REVISION.fullmatch(revision)):
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
