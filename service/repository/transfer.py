"""What the process between the hub and this machine does; it tells of it in lines of JSON."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from typing_extensions import override

from model_base.errors import CheckpointNotFound, HubUnavailable, ModelBaseError
from model_base.hub.files import HubRepository, ModelFiles
from model_base.hub.progress import Progress
from model_base.hub.repository import WritableRepository
from model_base.loading.resolve import resolve_any
from model_base.tokenization.auto import FILES as TOKENIZER_FILES
from model_base.tokenization.json_files import TokenizerError, read_json
from service.repository.outgoing import push_folder
from service.tasks.sentence_transformers import TRANSFORMER_FILES

_MAX_MODULES = 3  # transformer, pooling, normalization
_EVERY_S = 0.2
_MAX_CHARACTERS = 2000


def run(kind: str, order: Mapping[str, Any]) -> int:
    """Do it, and write what came of it, or what went wrong, to standard output.

    Returns:
        The exit status.
    """
    try:
        _say(_KINDS[kind](**order))
    except (ModelBaseError, TokenizerError) as error:
        reason = error.reason if isinstance(error, HubUnavailable) else "unusable"
        _say({"error": _sentence(error)[:_MAX_CHARACTERS], "reason": reason})
        return 1
    except OSError as error:  # its text would tell paths
        _say({"error": error.strerror or type(error).__name__, "reason": "disk"})
        return 1
    return 0


def pull(repo_id: str, revision: str | None) -> dict[str, Any]:
    """Fetch what is loaded of a model."""
    progress = Told()
    files = HubRepository(repo_id, revision, {"resume_download": True}, progress)
    folder = fetch_model(files)
    progress.say()
    return {"folder": str(folder), "commit": files.revision}


def push(
    repo_id: str, folder: str, commit_message: str | None, private: bool | None, create: bool,
    max_shard_size: int | str | None,
) -> dict[str, Any]:  # fmt: skip
    """Make the files of a repository those of a folder, in one commit."""
    progress = Told()
    repository = WritableRepository.open(repo_id, private=private, create=create)
    url = push_folder(Path(folder), repository, commit_message, max_shard_size, progress)
    progress.say()
    return {"commit_url": url, "commit": url.rpartition("/")[2]}


def head(repo_id: str, revision: str | None) -> dict[str, Any]:
    """The commit that a branch is at."""
    files = HubRepository(repo_id, revision)
    if files.find("config.json") is None:
        files.find("modules.json")
    return {"commit": files.revision}


_KINDS: dict[str, Callable[..., dict[str, Any]]] = {"pull": pull, "push": push, "head": head}


class Told(Progress):
    """Progress that is written to standard output, five times a second at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = self._told = (0, 0, 0, 0)
        threading.Thread(target=self._keep_telling, daemon=True).start()

    @override
    def expect(self, num_bytes: int, num_files: int) -> None:
        self._add(0, num_bytes, 0, num_files)

    @override
    def update(self, num_bytes: int) -> None:
        self._add(num_bytes, 0, 0, 0)

    @override
    def finish(self) -> None:
        self._add(0, 0, 1, 0)

    def _add(self, done: int, total: int, files_done: int, files_total: int) -> None:
        with self._lock:
            have = self._now
            self._now = have[0] + done, have[1] + total, have[2] + files_done, have[3] + files_total

    def _keep_telling(self) -> None:
        while True:
            time.sleep(_EVERY_S)
            self.say()

    def say(self) -> None:
        """Write how far it is now, if that is news."""
        with self._lock:
            if self._now != self._told:
                self._told = self._now
                _say({"progress": self._now})


def _say(message: Mapping[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")  # sys.stdout has a lock that threads die with


def _sentence(error: BaseException) -> str:
    """What it says, less the words of what caused it: the hub's own, or a path's."""
    text, cause = str(error), error.__cause__
    while cause is not None:
        text, cause = text.replace(f": {cause}", "") if str(cause) else text, cause.__cause__
    return text


def fetch_model(files: ModelFiles) -> Path:
    """Fetch what is loaded of a model: settings, tokenizer, the weights that are preferred.

    Returns:
        The folder of its commit.

    Raises:
        CheckpointNotFound: it has no weights, or no config.json.
        HubUnavailable: the hub refused or cannot be reached.
    """
    folders = [PurePosixPath()]
    if (root := files.find("modules.json")) is not None:
        files.find("config_sentence_transformers.json")
        folders = _module_folders(root) or folders
    for folder in folders[1:]:
        files.find(str(folder / "config.json"))
    own = _Within(files, folders[0])
    if (config := own.find("config.json")) is None:
        raise CheckpointNotFound(f"{files.label} has no {folders[0] / 'config.json'}")
    own.find_all((*TOKENIZER_FILES, *(TRANSFORMER_FILES if root else ())))
    resolve_any(own)
    return (root or config).parent


def _module_folders(path: Path) -> list[PurePosixPath]:
    """Of a ``modules.json``, the transformer's first; what is wrong there loading will refuse."""
    modules = read_json(path)
    entries = modules if isinstance(modules, list) else []
    paths = [entry.get("path") for entry in entries if isinstance(entry, dict)]
    found = [PurePosixPath(path) for path in paths if isinstance(path, str)]
    inside = [path for path in found if not path.is_absolute() and ".." not in path.parts]
    return inside[:_MAX_MODULES]


@dataclass(frozen=True, slots=True)
class _Within(ModelFiles):
    """The files of a model in a folder of its repository."""

    files: ModelFiles
    folder: PurePosixPath

    @property
    @override
    def label(self) -> str:
        return self.files.label

    @override
    def find(self, name: str) -> Path | None:
        return self.files.find(str(self.folder / name))

    @override
    def find_all(self, names: Iterable[str]) -> dict[str, Path | None]:
        inside = {str(self.folder / name): name for name in names}
        return {inside[path]: found for path, found in self.files.find_all(inside).items()}
