"""Template processes, one for each framework, and the workers that are forked from them."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger("service.supervisor")

_START_TIMEOUT_S = 120.0


class TemplateFailed(RuntimeError):
    """Raised when a framework's template process does not start."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A new worker: its process and our end of its channel."""

    pid: int
    socket: socket.socket


class _Template:
    """One framework's process, as seen from here."""

    def __init__(self, framework: str, on_exit: Callable[[int, int], None]) -> None:
        self._framework = framework
        self._on_exit = on_exit
        self._control: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._forked: asyncio.Queue[int] = asyncio.Queue()
        self._ready = asyncio.Event()
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "service.worker", self._framework, str(theirs.fileno()),
                pass_fds=[theirs.fileno()], stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        self._control = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await self._ready.wait()
        except TimeoutError:
            await self.close()
        if not self.is_alive:
            raise TemplateFailed(f"the template process of {self._framework} did not start")

    @property
    def is_alive(self) -> bool:
        return self._control is not None

    def _hear(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        said: dict[str, Any] = json.loads(data)
        if said["is"] == "ready":
            self._ready.set()
        elif said["is"] == "forked":
            self._forked.put_nowait(said["pid"])
        else:
            self._on_exit(said["pid"], said["status"])

    def _hang_up(self) -> None:
        """The template is gone or to go: end of file ends it."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        self._ready.set()
        self._forked.put_nowait(-1)

    async def fork(self) -> Fork:
        async with self._lock:
            if self._control is None:
                raise TemplateFailed(f"the template process of {self._framework} is gone")
            while not self._forked.empty():
                self._forked.get_nowait()
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            with theirs:
                command = json.dumps({"do": "fork"}).encode()
                socket.send_fds(self._control, [command], [theirs.fileno()])
            pid = await self._forked.get()
            if pid < 0:
                ours.close()
                raise TemplateFailed(f"the template process of {self._framework} is gone")
            return Fork(pid, ours)

    def kill(self, pid: int) -> None:
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(json.dumps({"do": "kill", "pid": pid}).encode())
            return
        with contextlib.suppress(ProcessLookupError):  # its parent is gone: nobody else will
            os.kill(pid, signal.SIGKILL)

    async def close(self) -> None:
        self._hang_up()
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                await self._process.wait()


class Supervisor:
    """Starts workers, and tells when one has ended.

    Workers are this process's grandchildren; if this process ends in any way, they end too.
    """

    def __init__(self) -> None:
        self._templates: dict[str, _Template] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._watchers: dict[int, Callable[[int], None]] = {}

    async def prepare(self, framework: str) -> None:
        """Start the framework's template, if it is not there, so that forks are quick."""
        async with self._locks.setdefault(framework, asyncio.Lock()):
            template = self._templates.get(framework)
            if template is None or not template.is_alive:
                template = _Template(framework, self._ended)
                await template.start()
                self._templates[framework] = template

    async def fork(self, framework: str, on_exit: Callable[[int], None]) -> Fork:
        """Start a worker.

        Args:
            framework: whose template to fork.
            on_exit: called with the exit code (negative for a signal) when it has ended.

        Raises:
            TemplateFailed: the framework cannot be imported, or the template died twice.
        """
        await self.prepare(framework)
        fork = await self._templates[framework].fork()
        self._watchers[fork.pid] = on_exit
        return fork

    def _ended(self, pid: int, status: int) -> None:
        if watcher := self._watchers.pop(pid, None):
            watcher(status)

    def kill(self, framework: str, pid: int) -> None:
        """End a worker at once."""
        self._templates[framework].kill(pid)

    async def close(self) -> None:
        """End the templates and with them what is left of the workers."""
        for template in self._templates.values():
            await template.close()
