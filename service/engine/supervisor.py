"""Template processes, one for each framework, and the workers that are forked from them."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from service.core.names import framework_problem
from service.engine.template_process import TemplateProcess, start_template

logger = logging.getLogger("service.supervisor")

_START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 5.0
_TRIES = 2

OnExit = Callable[[int], None]


class TemplateFailed(RuntimeError):
    """Raised when a framework's template process does not start, or cannot fork."""


class TemplateGone(TemplateFailed):
    """Raised when a template process that had started has ended."""


@dataclass(frozen=True, slots=True)
class Fork:
    """A new worker.

    Attributes:
        socket: our end of its channel.
        kill: ends it at once. To be called only while the channel is open: after that its pid may
            be another process's.
    """

    pid: int
    socket: socket.socket
    kill: Callable[[], None]


class _Template:
    """One framework's process, as seen from here."""

    def __init__(self, started: TemplateProcess) -> None:
        self._framework = started.framework
        self._control: socket.socket | None = started.control
        self._process = started.process
        self._ready = asyncio.Event()
        self._has_started = False
        self._ordered: deque[tuple[asyncio.Future[int], OnExit]] = deque()
        self._on_exit: dict[int, OnExit] = {}

    async def start(self) -> None:
        try:
            await self._start()
        except TimeoutError:
            raise self._failed(f"did not start within {_START_TIMEOUT_S:g} s") from None
        finally:
            if not self.is_alive:
                await self.close()

    async def _start(self) -> None:
        assert self._control is not None
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._hear)
        async with asyncio.timeout(_START_TIMEOUT_S):
            await self._ready.wait()
        if not self._has_started:
            raise self._failed("did not start")

    @property
    def is_alive(self) -> bool:
        return self._control is not None and self._has_started

    def _failed(self, what: str) -> TemplateFailed:
        return TemplateFailed(f"the template process of {self._framework} {what}")

    def _hear(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._obey(json.loads(data))
        else:
            self._hang_up()

    def _obey(self, said: dict[str, Any]) -> None:
        if said["is"] == "ready":
            self._has_started = True
            self._ready.set()
        elif said["is"] == "exited":
            if on_exit := self._on_exit.pop(said["pid"], None):
                on_exit(said["status"])
        else:
            forked, on_exit = self._ordered.popleft()
            if said["is"] == "forked":
                self._on_exit[said["pid"]] = on_exit
                if not forked.done():
                    forked.set_result(said["pid"])
            elif not forked.done():
                reason = os.strerror(said["status"])
                forked.set_exception(self._failed(f"cannot start a worker: {reason}"))

    def _hang_up(self) -> None:
        """The template is gone or to go: end of file ends it."""
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
            asyncio.get_running_loop().run_in_executor(None, self._process.wait)  # no zombie
        self._ready.set()
        for forked, _ in self._ordered:
            if not forked.done():
                forked.set_exception(self._gone())
        self._ordered.clear()

    def _gone(self) -> TemplateGone:
        return TemplateGone(f"the template process of {self._framework} has ended")

    async def fork(self, on_exit: OnExit) -> Fork:
        """A worker of its own; if the caller is cancelled, it finds its channel closed and ends."""
        if self._control is None:
            raise self._gone()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        forked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            with theirs:
                command = json.dumps({"do": "fork"}).encode()
                socket.send_fds(self._control, [command], [theirs.fileno()])
            self._ordered.append((forked, on_exit))
            pid = await forked
            return Fork(pid, ours, lambda: self._kill(pid))
        except ConnectionError as error:
            ours.close()
            self._hang_up()
            raise self._gone() from error
        except BaseException:
            ours.close()
            raise

    def _kill(self, pid: int) -> None:
        if self._control is not None:
            with contextlib.suppress(OSError):
                self._control.send(json.dumps({"do": "kill", "pid": pid}).encode())
            return
        with contextlib.suppress(ProcessLookupError):  # its parent is gone: nobody else will
            os.kill(pid, signal.SIGKILL)

    async def close(self) -> None:
        """End it, and its workers with it; one that is still importing is not waited for."""
        patience_s = _END_TIMEOUT_S if self._has_started else 0.0
        self._hang_up()
        try:
            await asyncio.to_thread(self._process.wait, patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


class Supervisor:
    """Starts workers, and tells when one has ended.

    Workers are this process's grandchildren; if this process ends in any way, they end too.

    Args:
        started: template processes that run already; ended with the others.
    """

    def __init__(self, started: Iterable[TemplateProcess] = ()) -> None:
        self._started = {process.framework: process for process in started}
        self._templates: dict[str, _Template] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def prepare(self, framework: str) -> None:
        """Start the framework's template, if it is not there, so that forks are quick.

        Raises:
            TemplateFailed: the framework cannot be imported.
        """
        async with self._locks.setdefault(framework, asyncio.Lock()):
            template = self._templates.get(framework)
            if template is None or not template.is_alive:
                if template is not None:
                    await template.close()  # reaped
                if problem := framework_problem(framework):
                    raise TemplateFailed(problem)
                process = self._started.pop(framework, None) or start_template(framework)
                template = _Template(process)
                await template.start()
                self._templates[framework] = template

    async def fork(self, framework: str, on_exit: OnExit) -> Fork:
        """Start a worker.

        Args:
            framework: whose template to fork.
            on_exit: called with the exit code (negative for a signal) when it has ended; never
                if the template ends first, which the worker's channel does not notice.

        Raises:
            TemplateFailed: the framework cannot be imported, or the template died twice.
        """
        for _ in range(_TRIES - 1):
            with contextlib.suppress(TemplateGone):
                return await self._fork(framework, on_exit)
        return await self._fork(framework, on_exit)

    async def _fork(self, framework: str, on_exit: OnExit) -> Fork:
        await self.prepare(framework)
        return await self._templates[framework].fork(on_exit)

    async def close(self) -> None:
        """End the templates and with them what is left of the workers."""
        unused = [_Template(process) for process in self._started.values()]
        for template in (*self._templates.values(), *unused):
            await template.close()
