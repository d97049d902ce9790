"""Fetches a hub repository in a process of its own, which can be ended at any moment."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from typing_extensions import override

from model_base.errors import CheckpointNotFound, ModelBaseError
from model_base.hub.files import HubRepository, ModelFiles
from model_base.loading.resolve import resolve_any
from model_base.tokenization.auto import FILES as TOKENIZER_FILES
from model_base.tokenization.json_files import TokenizerError, read_json
from service.core.processes import module_command
from service.repository.sources import Source
from service.tasks.sentence_transformers import TRANSFORMER_FILES

_MAX_MODULES = 3  # transformer, pooling, normalization


class HubFailed(RuntimeError):
    """Raised when a hub repository cannot be downloaded; the text is the reason."""


async def download(source: Source) -> Path:
    """Fetch a hub repository into the hub's own cache; returns the folder.

    Cancelling ends the process; what it has fetched so far stays in the cache for the next time.

    Raises:
        HubFailed: the hub refused or cannot be reached.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *module_command("service.repository", source.repo_id, source.revision or ""),
        stdin=pipe, stdout=pipe, start_new_session=True, env=_environment(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        answer = (await process.stdout.read()).decode()
        if await process.wait() == 0:
            return Path(answer)
        raise HubFailed(f"cannot download {source.repo_id}: {answer or 'its process ended'}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.wait()


def _environment() -> dict[str, str]:
    """Bars on a terminal, nothing elsewhere."""
    quiet = {} if sys.stderr.isatty() else {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return {**os.environ, **quiet}


def fetch(repo_id: str, revision: str | None) -> int:
    """What that process does: writes the folder, or what went wrong, to standard output.

    Returns:
        The exit status.
    """
    try:
        answer, status = str(_fetched(HubRepository(repo_id, revision))), 0
    except (ModelBaseError, TokenizerError) as error:
        answer, status = _sentence(error), 1
    except OSError as error:  # its text would tell paths
        answer, status = error.strerror or type(error).__name__, 1
    sys.stdout.write(answer)
    return status


def _sentence(error: BaseException) -> str:
    """What it says, less the words of what caused it: the hub's own, or a path's."""
    text, cause = str(error), error.__cause__
    while cause is not None:
        text, cause = text.replace(f": {cause}", "") if str(cause) else text, cause.__cause__
    return text


def _fetched(files: ModelFiles) -> Path:
    """Fetch what is loaded of a model: settings, tokenizer, the weights that are preferred.

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
    for name in (*TOKENIZER_FILES, *(TRANSFORMER_FILES if root else ())):
        own.find(name)
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
