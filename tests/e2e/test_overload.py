"""More than the service takes: deadlines, full queues, large and half-sent requests, crowds."""

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

Until = Callable[..., Any]


@pytest.fixture(scope="module")
def bounded(tiny: Path, start_once: Callable[[], Any]) -> Iterator[Any]:
    """A server that takes little: 4 requests at once, 1,000 bytes, half a second for a body."""
    starter = start_once()
    server = starter(
        tiny,
        limits__max_queued_requests="4",
        limits__max_queued_tokens="100",
        limits__max_body_bytes="1000",
        limits__body_timeout_s="0.5",
        limits__max_inputs="8",
    )
    yield server.wait_ready()
    starter.end()


def test_a_deadline_of_the_client_ends_with_504(shared: Any) -> None:
    with shared.held():
        answer = shared.embed(headers={"X-Request-Timeout-Ms": "50"})
    assert answer.status_code == 504
    assert "within 0.05 s" in answer.json()["error"]
    assert shared.metric("queued_requests") == 0


def test_what_a_client_who_left_had_queued_is_not_computed(shared: Any, wait_until: Until) -> None:
    before = shared.metric("tokens_total")
    with shared.held():
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                shared.embed(["gone"] * 50, timeout=0.3)
        wait_until(lambda: shared.metric("queued_requests") == 0, "the queue to empty")
    assert shared.embed("stay").status_code == 200
    wait_until(lambda: shared.metric("tokens_total") > before, "tokens")
    assert shared.metric("tokens_total") - before < 50
    assert shared.metric("requests_total", code="499") == 3


def test_a_full_queue_is_429_with_a_time_to_come_back(bounded: Any, wait_until: Until) -> None:
    with bounded.held(), ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(bounded.embed) for _ in range(4)]
        wait_until(lambda: bounded.metric("queued_requests") == 4, "requests to queue")
        for ask in (bounded.embed, lambda: bounded.embed(["many", "texts"])):
            answer = ask()
            assert answer.status_code == 429
            assert 1 <= int(answer.headers["Retry-After"]) <= 60
            assert "4 requests are waiting" in answer.json()["error"]
        assert bounded.get("/health/ready").status_code == 200
        wait_until(lambda: bounded.workers[0].status() == "stopped", "the worker to be held")
        bounded.workers[0].resume()
        assert [future.result(30).status_code for future in futures] == [200] * 4


def test_tokens_are_bounded_like_requests(bounded: Any, wait_until: Until) -> None:
    text = "word " * 30  # more than a third of the 100 that may wait
    with bounded.held(), ThreadPoolExecutor(1) as pool:
        first = pool.submit(bounded.embed, [text] * 4)
        wait_until(lambda: bounded.metric("queued_requests") == 1, "a request to queue")
        answer = bounded.embed(text)
        assert answer.status_code == 429
        assert "tokens are waiting" in answer.json()["error"]
        bounded.workers[0].resume()
        assert first.result(30).status_code == 200


def test_a_body_over_the_limit_is_413_and_names_limit_and_setting(bounded: Any) -> None:
    for send in (b"x" * 1001, iter([b"x" * 600, b"x" * 600])):  # announced, and in chunks
        answer = bounded.call("POST", "/embed", content=send)
        assert answer.status_code == 413
        assert "limit of 1000 (setting limits.max_body_bytes)" in answer.json()["error"]


def test_more_inputs_than_allowed_are_413_and_name_the_setting(bounded: Any) -> None:
    answer = bounded.embed(["a"] * 9)
    assert answer.status_code == 413
    assert "9 is over the limit of 8 (setting limits.max_inputs)" in answer.json()["error"]


HEAD = b"POST /embed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
HALVES = [
    b"",
    b"POST /emb",
    HEAD,
    HEAD + b"Content-Length: 100\r\n\r\n",
    HEAD + b'Content-Length: 100\r\n\r\n{"inputs": "a',
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    HEAD + b'Transfer-Encoding: chunked\r\n\r\n20\r\n{"inputs"',
]


@pytest.mark.parametrize("half", HALVES, ids=range(len(HALVES)))
def test_half_a_request_and_a_hang_up_leave_the_service_as_it_was(
    bounded: Any, half: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", bounded.port)) as client:
        client.sendall(half)
    assert bounded.embed().status_code == 200


@pytest.mark.parametrize("half", HALVES[3:], ids=range(3, len(HALVES)))
def test_half_a_body_is_408_once_the_patience_is_over(bounded: Any, half: bytes) -> None:
    with socket.create_connection(("127.0.0.1", bounded.port), timeout=30) as client:
        client.sendall(half)
        answer = client.makefile("rb").read()  # to the end: the service hangs up
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"limits.body_timeout_s" in answer


def test_slow_clients_do_not_hold_up_others(bounded: Any) -> None:
    clients = [socket.create_connection(("127.0.0.1", bounded.port)) for _ in range(50)]
    for client in clients:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\n")
    assert bounded.embed().status_code == 200
    for client in clients:
        client.close()


@pytest.mark.parametrize("noise", [b"\x00" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00" * 20])
def test_what_is_not_http_is_hung_up_on(bounded: Any, noise: bytes) -> None:
    with socket.create_connection(("127.0.0.1", bounded.port), timeout=30) as client:
        client.sendall(noise)
        client.makefile("rb").read()
    assert bounded.embed().status_code == 200


async def ask_raw(port: int, body: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        return int((await reader.read()).split(b" ", 2)[1])
    finally:
        writer.close()


async def crowd(port: int, count: int, at_once: int) -> Counter[int]:
    """Status codes of ``count`` requests, ``at_once`` of them open at any time."""
    body = json.dumps({"inputs": ["a crowd"] * 2}).encode()
    codes: Counter[int] = Counter()
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            codes[await ask_raw(port, body)] += 1

    await asyncio.gather(*(client() for _ in range(at_once)))
    return codes


@pytest.mark.slow
def test_ten_thousand_requests_at_once_end_in_an_answer_each(shared: Any) -> None:
    before = shared.metric("requests_total", code="500")
    codes = asyncio.run(crowd(shared.port, 10_000, at_once=3000))
    assert codes.total() == 10_000
    assert set(codes) <= {200, 429, 503}
    assert codes[200] > 0
    started = time.monotonic()
    assert shared.embed().status_code == 200
    assert time.monotonic() - started < 5
    assert shared.metric("requests_total", code="500") == before
    assert shared.metric("queued_requests") == shared.metric("queued_tokens") == 0
