"""What goes between the hub and this machine goes in a process of its own, ended at any moment.

Here is the service's side: it starts the process, hears how far it is, and gets what came of it.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.core.processes import module_command
from service.repository.sources import Source


class HubFailed(RuntimeError):
    """Raised when the hub refused or cannot be reached; the text is the reason.

    Attributes:
        reason: one word for counting, as ``HubUnavailable``'s; also ``disk``, ``unusable`` (no
            model), ``ended`` (the process).
    """

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Transfer:
    """How far it is."""

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int


Note = Callable[[Transfer], None]


async def download(source: Source, token: str | None, note: Note) -> Path:
    """Fetch a hub repository into the hub's own cache; returns the folder of its commit.

    Cancelling ends the process; what it has fetched so far stays in the cache for the next time.

    Raises:
        HubFailed: the hub refused or cannot be reached.
    """
    order = {"repo_id": source.repo_id, "revision": source.revision}
    result = await transfer("pull", order, token, note)
    return Path(result["folder"])


async def transfer(
    kind: str, order: Mapping[str, Any], token: str | None, note: Note
) -> dict[str, Any]:
    """Run the process; returns what it found out.

    Args:
        kind: ``pull``, ``push`` or ``head``, see ``service/repository/__main__``.
        order: for it, ``repo_id`` among it.
        token: for the hub; None is huggingface_hub's stored one.
        note: told of its progress.

    Raises:
        HubFailed: with the process' own words, or that it ended.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *module_command("service.repository", kind, json.dumps(order)),
        stdin=pipe, stdout=pipe, start_new_session=True, env=_environment(token),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    answer: dict[str, Any] = {"error": "its process ended", "reason": "ended"}
    try:
        async for line in process.stdout:
            message = json.loads(line)
            if "progress" in message:
                note(Transfer(*message["progress"]))
            else:
                answer = message
        await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.wait()
    if "error" in answer:
        doing = {"pull": "download", "push": "push to"}.get(kind, "ask for")
        raise HubFailed(f"cannot {doing} {order['repo_id']}: {answer['error']}", answer["reason"])
    return answer


def _environment(token: str | None) -> dict[str, str]:
    """Its progress is told to us, so it shows none; a token must not be in a process list."""
    return {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | (
        {"HF_TOKEN": token} if token else {}
    )
