"""Fetches a hub repository in a process of its own, which can be ended at any moment."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

from service.core.processes import module_command
from service.repository.sources import Source

_FILES = [
    "*.json", "*.txt", "*.model", "*.safetensors", "*.bin", "*.h5", "*.msgpack", "*/config.json",
]  # fmt: skip


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
    from huggingface_hub import snapshot_download

    try:
        answer, status = snapshot_download(repo_id, revision=revision, allow_patterns=_FILES), 0
    except Exception as error:  # any transport's own error; all mean the same here
        answer, status = type(error).__name__, 1
    sys.stdout.write(answer)
    return status
