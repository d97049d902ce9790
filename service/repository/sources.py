"""Which folders and hub repositories may be loaded, and the one place that decides it."""

import re
from dataclasses import dataclass
from pathlib import Path

from service.core.errors import BadRequest

_HUB_ID = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<rev>[\w./-]+))?"
)
_HUB_FILES = [
    "*.json", "*.txt", "*.model", "*.safetensors", "*.bin", "*.h5", "*.msgpack", "*/config.json",
]  # fmt: skip


class HubFailed(RuntimeError):
    """Raised when a hub repository cannot be downloaded; the text is the reason."""


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
    """

    def __init__(self, folders: tuple[Path, ...], chosen: tuple[Path, ...], hub: bool) -> None:
        self._folders = tuple(folder.resolve() for folder in folders)
        self._chosen = tuple(folder.resolve() for folder in chosen)
        self._hub = hub

    def find(self, source: str) -> Source:
        """Look a source up; reads no file.

        Raises:
            BadRequest: a URL, a path outside the model folders, or nothing that is there.
        """
        if "://" in source or "\x00" in source or not source:
            raise BadRequest("source is a URL or empty; accepted: a model folder or a hub id")
        if ".." in Path(source).parts:
            raise BadRequest("source has '..' in it; accepted: a model folder or a hub id")
        for folder in self._candidates(source):
            if folder.is_dir():
                self._check_inside(folder, source)
                return Source(folder)
        match = _HUB_ID.fullmatch(source)
        if match and self._hub:
            return Source(repo_id=match["repo"], revision=match["rev"])
        hub = "or a hub id (owner/name)" if self._hub else "(setting hub is off)"
        raise BadRequest(
            f"source {source!r} is not there; accepted: a folder inside one of the model folders "
            f"(setting model_folders) {hub}"
        )

    def _candidates(self, source: str) -> list[Path]:
        path = Path(source)
        return [path] if path.is_absolute() else [root / path for root in self._folders]

    def _check_inside(self, folder: Path, source: str) -> None:
        """The folder and every file in it must really lie inside an allowed folder."""
        real = folder.resolve()
        if real in self._chosen:
            return
        root = next((r for r in self._folders if real == r or real.is_relative_to(r)), None)
        if root is None:
            raise BadRequest(
                f"source {source!r} is outside the model folders (setting model_folders)"
            )
        for path in folder.rglob("*"):
            if not path.resolve().is_relative_to(root):
                raise BadRequest(
                    f"source {source!r} holds {path.name!r}, a link out of the model folders"
                )


def download(source: Source) -> Path:
    """Fetch a hub repository into the hub's own cache; returns the folder. Blocks.

    Raises:
        HubFailed: the hub refused or cannot be reached.
    """
    from huggingface_hub import snapshot_download

    try:
        path = snapshot_download(
            source.repo_id, revision=source.revision, allow_patterns=_HUB_FILES
        )
    except Exception as error:  # any transport's own error; all mean the same here
        raise HubFailed(f"cannot download {source.repo_id}: {type(error).__name__}") from error
    return Path(path)
