"""Every way of ending: what is in flight, the exit status, and what is left (see conftest)."""

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

Start = Callable[..., Any]
Until = Callable[..., Any]


def ask_held(server: Any, until: Until, count: int = 3) -> "list[Future[httpx.Response]]":
    """Requests that the service has taken in and its worker does not answer."""
    pool = ThreadPoolExecutor(count)
    futures = [pool.submit(server.embed) for _ in range(count)]
    pool.shutdown(wait=False)
    until(lambda: server.metric("queued_requests") == count, "requests to queue")
    return futures


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_answers_what_is_in_flight_and_exits_0(
    start: Start, tiny: Path, wait_until: Until, number: int
) -> None:
    server = start(tiny).wait_ready()
    with server.held():
        futures = ask_held(server, wait_until)
        server.send(number)
        wait_until(lambda: refuses(server.port), "the port to close")
        assert not any(future.done() for future in futures)
    assert [future.result(30).status_code for future in futures] == [200] * 3
    assert server.wait() == 0
    assert "Traceback" not in server.output


def refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_a_service_manager_that_signals_every_process_loses_no_request(
    start: Start, tiny: Path, wait_until: Until
) -> None:
    server = start(tiny).wait_ready()
    with server.held():
        futures = ask_held(server, wait_until)
        for process in server.processes():
            process.terminate()
    assert [future.result(30).status_code for future in futures] == [200] * 3
    assert server.wait() == 0


def test_a_request_that_takes_longer_than_the_grace_does_not_hold_the_exit(
    start: Start, tiny: Path, wait_until: Until
) -> None:
    server = start(tiny, worker__grace_s="0").wait_ready()
    with server.held():
        (future,) = ask_held(server, wait_until, count=1)
        assert server.stop() == 0
        answer = future.result(30)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert "shutting down" in answer.json()["error"]
    assert "Traceback" not in server.output


def test_a_second_signal_does_not_wait(start: Start, tiny: Path, wait_until: Until) -> None:
    server = start(tiny).wait_ready()
    with server.held():
        (future,) = ask_held(server, wait_until, count=1)
        server.send(signal.SIGINT)
        wait_until(lambda: refuses(server.port), "the port to close")
        server.send(signal.SIGINT)
        assert server.wait() == 0
        answer = future.result(30)
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert "shutting down" in answer.json()["error"]
    assert "Traceback" not in server.output


def test_a_stream_of_events_ends_with_the_service(start: Start, tiny: Path) -> None:
    server = start(tiny).wait_ready()
    with httpx.stream("GET", server.address + "/models/events", timeout=60) as stream:
        lines = stream.iter_lines()
        next(lines)
        server.send(signal.SIGTERM)
        assert list(lines)[-1] == ""
    assert server.wait() == 0


def test_half_a_request_does_not_hold_the_exit(start: Start, tiny: Path) -> None:
    server = start(tiny, worker__grace_s="0").wait_ready()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        client.sendall(b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        assert server.embed().status_code == 200
        assert server.stop() == 0
        answer = client.makefile("rb").read()
    assert answer == b""
    assert "Traceback" not in server.output


@pytest.mark.parametrize("moment", ["listening on", ": loading"])
def test_a_signal_while_the_model_loads_ends_at_once(start: Start, tiny: Path, moment: str) -> None:
    server = start(tiny)
    server.line(moment)
    assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in server.output
    assert "failed" not in server.output


def test_a_signal_while_a_model_downloads_ends_at_once(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hub:
        server = start(
            "owner/name",
            HF_ENDPOINT=f"http://127.0.0.1:{hub.getsockname()[1]}",
            HF_HUB_OFFLINE="0",
        )
        connection, _ = hub.accept()
        with connection:
            assert server.stop() == 0


def test_a_killed_service_takes_every_process_with_it(
    start: Start, tiny: Path, wait_until: Until
) -> None:
    server = start(tiny).wait_ready()
    family = server.processes()
    assert len(family) == 3
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(server.embed) for _ in range(4)]
        server.process.kill()
        server.wait()
        assert all(f.exception(30) or f.result().status_code == 200 for f in futures)
    gone, left = psutil.wait_procs(family, timeout=10)
    assert left == []


def test_a_service_killed_after_its_template_leaves_no_worker(start: Start, tiny: Path) -> None:
    server = start(tiny).wait_ready()
    (worker,) = server.workers
    server.template.kill()
    server.process.kill()
    server.wait()
    assert psutil.wait_procs([worker], timeout=10)[1] == []


def test_ctrl_c_on_a_terminal_is_clean(tiny: Path, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve", str(tiny), "--port", "0"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "HOME": str(tmp_path)},
        preexec_fn=_take_terminal,
    )
    os.close(follower)
    text = _read_until(leader, b"curl ")
    os.write(leader, b"\x03")
    text += _read_until(leader, None)
    os.close(leader)
    assert process.wait(60) == 0
    assert b"Traceback" not in text
    assert b"KeyboardInterrupt" not in text
    assert b"warming up" in text


def _take_terminal() -> None:
    """Make the terminal on standard input ours, so that its Ctrl-C reaches the whole group."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _read_until(leader: int, words: bytes | None) -> bytes:
    text = b""
    while words is None or words not in text:
        try:
            data = os.read(leader, 4096)
        except OSError:  # the other side has closed it
            return text
        if not data:
            return text
        text += data
    return text
