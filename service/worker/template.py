"""The template process: has imported one framework and computed nothing; workers are its forks.

A fork shares the framework's memory and starts in a tenth of a second. The template never starts
a thread, never touches a device, and ends, with all its workers, when the API process is gone.

Protocol on the control socket (SOCK_SEQPACKET, JSON): in, ``fork`` with one file descriptor (the
worker's end of its channel) or ``kill`` with a pid; out, ``ready``, ``exited`` with pid and status,
and, in the order of the forks asked for, ``forked`` with the pid or ``failed`` with an errno.

No signal but SIGKILL ends the template or a worker: whoever stops the service signals the whole
group, and requests are to be finished first. They end when the API process says so or is gone.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import traceback
from typing import Any, NoReturn

from service.worker.runners.base import Runner


def run_template(framework: str, control_fd: int) -> None:
    """Import the framework, then fork workers on demand until the control socket closes."""
    for ignored in (signal.SIGINT, signal.SIGTERM):  # workers inherit it
        signal.signal(ignored, signal.SIG_IGN)
    runner: type[Runner] = importlib.import_module(f"service.worker.runners.{framework}").RUNNER
    runner.preload()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=control_fd) as control:
        Template(framework, control).run()


class Template:
    """The loop: commands in, deaths out."""

    def __init__(self, framework: str, control: socket.socket) -> None:
        self._framework = framework
        self._control = control
        self._workers: set[int] = set()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until the API process closes the control socket or dies."""
        self._say("ready", os.getpid())
        try:
            while self._serve_once():
                pass
        finally:
            for pid in self._workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def _serve_once(self) -> bool:
        readable: list[socket.socket | int] = [self._control, self._wake_read]
        ready, _, _ = select.select(readable, [], [])
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
            self._reap()
        if self._control in ready:
            try:
                data, fds, _, _ = socket.recv_fds(self._control, 4096, 1)
            except ConnectionError:
                return False
            if not data:
                return False
            self._obey(json.loads(data), fds)
        return True

    def _obey(self, command: dict[str, Any], fds: list[int]) -> None:
        if command["do"] == "kill" and command["pid"] in self._workers:
            os.kill(command["pid"], signal.SIGKILL)
        elif command["do"] == "fork":
            try:
                self._fork(fds[0])
            finally:
                os.close(fds[0])

    def _fork(self, fd: int) -> None:
        try:
            pid = os.fork()
        except OSError as error:  # no process or memory left: the other workers go on
            self._say("failed", 0, error.errno or 0)
            return
        if pid == 0:
            self._become_worker(fd)
        self._workers.add(pid)
        self._say("forked", pid)

    def _become_worker(self, fd: int) -> NoReturn:
        """In the fork: keep nothing of the template but its imports. Never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._control.close()
            from service.worker.main import run_worker

            run_worker(self._framework, socket.socket(fileno=fd))
            status = 0
        except BaseException:  # the process's edge: what it dies of belongs into the log
            traceback.print_exc()
        finally:
            os._exit(status)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._workers.discard(pid)
            self._say("exited", pid, os.waitstatus_to_exitcode(status))

    def _say(self, what: str, pid: int, status: int = 0) -> None:
        with contextlib.suppress(ConnectionError):  # noticed by the next read
            self._control.send(json.dumps({"is": what, "pid": pid, "status": status}).encode())
