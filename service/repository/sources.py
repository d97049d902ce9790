"""Which folders and hub repositories may be loaded, and the one place that decides it."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from model_base.hub import names
from service.core.errors import BadRequest
from service.core.names import REPO_ID, REVISION

MAX_ENTRIES = 10_000
"""Files and folders that a model's folder may hold."""

_HUB_ID = re.compile(f"(?P<repo>{REPO_ID})(@(?P<rev>{REVISION}))?")


@dataclass(frozen=True, slots=True)
class Source:
    """What a model is loaded from: a folder here, or a repository to download first."""

    folder: Path | None = None
    repo_id: str = ""
    revision: str | None = None


class Sources:
    """Decides what a source means.

    Args:
        folders: model folders; anything in them may be loaded.
        chosen: single models that the operator named on the command line.
        hub: whether hub ids are taken.
        allows: which of them, ``owner/name``.
    """

    def __init__(
        self,
        folders: tuple[Path, ...],
        chosen: tuple[Path, ...],
        hub: bool,
        allows: Callable[[str], bool] = lambda repo_id: True,
    ) -> None:
        self._folders = tuple(folder.resolve() for folder in folders)
        self._chosen = tuple(folder.resolve() for folder in chosen)
        self._hub = hub
        self._allows = allows
        self._pulled: dict[Source, Path] = {}

    def find(self, source: str) -> Source:
        """Look a source up; reads no file.

        Raises:
            BadRequest: a URL, a path outside the model folders, or nothing that is there. Whether
                something is there outside is not told.
        """
        if "://" in source or not source or not source.isprintable():
            raise BadRequest("source is a URL or no name; accepted: a model folder or a hub id")
        if ".." in source:
            raise BadRequest("source has '..' in it; accepted: a model folder or a hub id")
        if folder := self._folder(source):
            return Source(folder)
        match = _HUB_ID.fullmatch(source)
        if match and self._hub:
            return self.on_hub(match["repo"], match["rev"])
        hub = "or a hub id (owner/name)" if self._hub else "(setting hub is off)"
        raise BadRequest(
            f"source {source!r} is not there; accepted: a folder inside one of the model folders "
            f"(setting model_folders) {hub}"
        )

    def on_hub(self, repo_id: str, revision: str | None) -> Source:
        """A repository of the hub, if it may be used.

        Raises:
            BadRequest: the hub is off, the name cannot be one, or it is not among those allowed.
        """
        name = repo_id if revision is None else f"{repo_id}@{revision}"
        if not self._hub:
            raise BadRequest(f"repository {repo_id!r:.100} is on the hub, and setting hub is off")
        is_one = _HUB_ID.fullmatch(name) and ".." not in repo_id
        if not is_one or not names.REVISION.fullmatch(revision or "main"):
            raise BadRequest(f"repository {name!r:.200} cannot be one; accepted: owner/name")
        if not self._allows(repo_id):
            raise BadRequest(f"repository {repo_id!r} is not allowed (setting sync.allowed)")
        return Source(repo_id=repo_id, revision=revision)

    def note_pulled(self, repo_id: str, commit: str, folder: Path) -> None:
        """Remember where all that is loaded of a commit lies."""
        self._pulled[Source(repo_id=repo_id, revision=commit)] = folder

    def pulled(self, source: Source) -> Path | None:
        """Where a commit lies that was pulled, as long as it does; None if it has to be fetched."""
        folder = self._pulled.get(source)
        return folder if folder is not None and folder.is_dir() else None

    def _folder(self, source: str) -> Path | None:
        """The real folder of a source, if it is one that may be loaded.

        Raises:
            BadRequest: a file in it lies outside the model folders or cannot be looked up, or
                there are too many.
        """
        for path in self._candidates(source):
            if not os.path.isdir(path):  # Path.is_dir raises on a name that is too long
                continue
            real = path.resolve()
            if real in self._chosen:
                return real
            for root in self._folders:
                if real.is_relative_to(root):
                    _check_contents(real, root, source)
                    return real
        return None

    def _candidates(self, source: str) -> list[Path]:
        path = Path(source)
        return [path] if path.is_absolute() else [root / path for root in self._folders]


def _check_contents(folder: Path, root: Path, source: str) -> None:
    for count, path in enumerate(_walk(folder, source), 1):
        if count > MAX_ENTRIES:
            raise BadRequest(
                f"source {source!r} holds more than {MAX_ENTRIES} files and folders; "
                "accepted: a model's own folder"
            )
        if not _resolve(path, source).is_relative_to(root):
            raise BadRequest(
                f"source {source!r} holds {path.name!r}, a link out of the model folders"
            )


def _walk(folder: Path, source: str) -> Iterator[Path]:
    """Everything in a folder, one by one: a listing could be endless."""
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    yield Path(entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
        except OSError as error:
            raise _unusable(current, source, error) from error


def _resolve(path: Path, source: str) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a RuntimeError is a loop of links
        raise _unusable(path, source, error) from error


def _unusable(path: Path, source: str, error: Exception) -> BadRequest:
    why = error.strerror if isinstance(error, OSError) else "a link that leads to itself"
    return BadRequest(f"source {source!r} holds {path.name!r}, which cannot be used: {why}")
