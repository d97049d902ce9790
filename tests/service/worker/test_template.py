import errno
import json
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from service.worker.template import Template


@pytest.fixture
def control() -> Iterator["_Driver"]:
    """The API process's end of a template in this process, whose signals are put back."""
    handler = signal.getsignal(signal.SIGCHLD)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        template = Template("torch", theirs)
        yield _Driver(ours, template)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, handler)
        os.close(template._wake_read)
        os.close(template._wake_write)


class _Driver:
    def __init__(self, ours: socket.socket, template: Template) -> None:
        self._ours = ours
        self.template = template

    def order_fork(self) -> dict[str, object]:
        with socket.socket() as given:
            socket.send_fds(self._ours, [b'{"do": "fork"}'], [given.fileno()])
            assert self.template._serve_once()
        answer: dict[str, object] = json.loads(self._ours.recv(4096))
        return answer

    def hang_up(self) -> None:
        self._ours.close()


def test_a_fork_that_the_machine_refuses_is_told_and_the_template_goes_on(
    control: _Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "no process left")

    monkeypatch.setattr(os, "fork", refuse)
    open_files = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        assert control.order_fork() == {"is": "failed", "pid": 0, "status": errno.EAGAIN}
    assert len(os.listdir("/proc/self/fd")) == open_files


def test_it_ends_when_the_api_process_is_gone(control: _Driver) -> None:
    control.hang_up()
    assert not control.template._serve_once()
