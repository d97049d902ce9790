"""What goes between the hub and this machine goes in a process of its own, ended at any moment.

Here is the service's side: it starts the process, hears how far it is, and gets what came of it.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.core.processes import module_command
from service.repository.sources import Source

logger = logging.getLogger("service.repository")

_STALLED_S = {"pull": 600.0, "push": 3600.0, "head": 120.0}
"""Without a word from the process: longer than what it waits for the hub by itself."""
_STOP_S = 1.0
_MAX_LINE_BYTES = 2**20
_MAX_LOG_LINES = 200


class HubFailed(RuntimeError):
    """Raised when the hub refused or cannot be reached; the text is the reason.

    Attributes:
        reason: one word for counting, as ``HubUnavailable``'s; also ``disk``, ``unusable`` (no
            model), ``ended`` (the process), ``stalled`` (nothing came for minutes).
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
        stdin=pipe, stdout=pipe, stderr=pipe, limit=_MAX_LINE_BYTES,
        start_new_session=True, env=_environment(token),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    answer: dict[str, Any] = {"error": "its process ended", "reason": "ended"}
    log = asyncio.create_task(_log(process.stderr, f"{kind} of {order['repo_id']}", token))
    try:
        while True:
            async with asyncio.timeout(_STALLED_S[kind]):
                if not (line := await process.stdout.readline()):
                    break
            message = json.loads(line)
            if "progress" in message:
                note(Transfer(*message["progress"]))
            else:
                answer = message
        await process.wait()
    except TimeoutError:
        words = f"the hub has sent nothing for {_STALLED_S[kind]:g} s"
        answer = {"error": words, "reason": "stalled"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stdin.close()
        await process.wait()
        await asyncio.wait({log}, timeout=_STOP_S)
        log.cancel()
    if "error" in answer:
        doing = {"pull": "download", "push": "push to"}.get(kind, "ask for")
        raise HubFailed(f"cannot {doing} {order['repo_id']}: {answer['error']}", answer["reason"])
    return answer


async def _log(errors: asyncio.StreamReader, doing: str, token: str | None) -> None:
    """Log what the process says besides, a line each; words of the hub may be among them."""
    left = _MAX_LOG_LINES
    while chunk := await errors.read(_MAX_LINE_BYTES):
        text = chunk.decode(errors="replace").replace(token or "\0", "(token)")
        for line in text.split("\n")[:left]:
            if line:
                logger.warning("%s: %s", doing, line.encode("unicode_escape").decode())
                left -= 1


def _environment(token: str | None) -> dict[str, str]:
    """Its progress is told to us, so it shows none; a token must not be in a process list."""
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_VERBOSITY": "error"}
    return {**os.environ, **quiet} | ({"HF_TOKEN": token} if token else {})
