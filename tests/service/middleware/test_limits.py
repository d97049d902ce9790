import asyncio
import http.client
import json
import logging
import socket
import threading

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse

from service.core.settings import LimitSettings
from service.middleware.limits import Limits

LEFT = {"type": "http.disconnect"}


async def count(scope, receive, send):
    """Answer with the number of bytes received."""
    num_bytes = len(await Request(scope, receive).body())
    await PlainTextResponse(str(num_bytes))(scope, receive, send)


@pytest.fixture
def limits(refuse):
    """Put an application behind limits."""

    def wrap(app=count, **settings):
        return Limits(app, LimitSettings(**settings), refuse)

    return wrap


class Endless:
    """An application that works for ever; knows when it began and how it ended."""

    def __init__(self):
        self.began = threading.Event()
        self.ended = threading.Event()

    async def __call__(self, scope, receive, send):
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


# -- the body


def test_a_body_in_pieces_arrives_whole(limits, exchange):
    messages = [exchange.body(b"ab", True), exchange.body(b"", True), exchange.body(b"c")]
    assert exchange(limits(), "POST", messages=messages).body == b"3"


@pytest.mark.parametrize("num_bytes", [0, 7, 8])
def test_a_body_up_to_the_limit_is_taken(limits, exchange, num_bytes):
    messages = [exchange.body(b"x" * num_bytes)]
    headers = [("Content-Length", str(num_bytes))]
    answer = exchange(limits(max_body_bytes=8), "POST", "/", headers, messages)
    assert answer.body == str(num_bytes).encode()


@pytest.mark.parametrize("announced", ["9", "9" * 19, "9" * 6000])
def test_a_body_announced_too_large_is_refused_unread(limits, exchange, announced):
    headers = [("Content-Length", announced)]
    answer = exchange(limits(max_body_bytes=8), "POST", "/v1/x", headers, messages=[])
    assert answer.status == 413
    told = json.loads(answer.body)
    assert told["path"] == "/v1/x"
    assert "limit of 8 (setting limits.max_body_bytes)" in told["message"]


@pytest.mark.parametrize("announced", [None, "3", "-1", "nonsense", ""])
def test_a_body_that_grows_too_large_is_refused_as_it_comes(limits, exchange, announced):
    headers = [] if announced is None else [("Content-Length", announced)]
    messages = [exchange.body(b"x" * 5, True)] * 2  # the rest never comes
    answer = exchange(limits(max_body_bytes=8), "POST", "/", headers, messages)
    assert answer.status == 413


def test_a_body_in_a_million_pieces_costs_no_more_than_its_bytes(limits):
    class Drip:
        left = 1_000_000

        async def receive(self):
            self.left -= 1
            return {"type": "http.request", "body": b"x", "more_body": self.left > 0}

    async def run():
        sent, scope = [], {"type": "http", "method": "POST", "path": "/", "headers": []}

        async def send(message):
            sent.append(message)

        await limits()(scope, Drip().receive, send)
        return sent[-1]["body"]

    assert asyncio.run(run()) == b"1000000"


def test_a_body_that_does_not_end_is_408_and_the_connection_is_closed(limits, exchange):
    messages = [exchange.body(b"x", True)]
    answer = exchange(limits(body_timeout_s=0.01), "POST", messages=messages)
    assert answer.status == 408
    assert answer.headers["connection"] == "close"
    assert "0.01 s (setting limits.body_timeout_s)" in json.loads(answer.body)["message"]


def test_the_time_for_the_body_is_not_the_time_for_the_answer(limits, exchange):
    async def slow(scope, receive, send):
        await asyncio.sleep(0.05)
        await count(scope, receive, send)

    assert exchange(limits(slow, body_timeout_s=0.02), "POST").status == 200


def test_a_client_that_leaves_within_its_body_never_reaches_the_application(limits, exchange):
    app = Endless()
    answer = exchange(limits(app), "POST", messages=[exchange.body(b"x", True), LEFT])
    assert answer.sent == []
    assert not app.began.is_set()


def test_other_connections_pass_untouched(limits, exchange):
    seen = []

    async def app(scope, receive, send):
        seen.append(await receive())

    exchange(limits(app), messages=[{"type": "lifespan.startup"}], type="lifespan")
    assert seen == [{"type": "lifespan.startup"}]


# -- the client


def test_a_client_that_leaves_cancels_the_work(limits, exchange):
    app = Endless()
    answer = exchange(limits(app), "POST", messages=[exchange.body(b"x"), LEFT])
    assert answer.sent == []
    assert app.ended.is_set()


def test_the_servers_task_goes_on_after_a_cancelled_request(limits, exchange):
    async def run():
        await exchange.Exchange(messages=[exchange.body(b""), LEFT]).run(limits(Endless()))
        await asyncio.sleep(0)  # a cancellation left behind would come out here
        return asyncio.current_task().cancelling()

    assert asyncio.run(run()) == 0


def test_work_that_ends_while_it_is_cancelled_leaves_nothing_behind(limits, exchange):
    async def stubborn(scope, receive, send):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({"type": "http.response.start", "status": 200, "headers": []})

    async def run():
        await exchange.Exchange(messages=[exchange.body(b""), LEFT]).run(limits(stubborn))
        return asyncio.current_task().cancelling()

    assert asyncio.run(run()) == 0


def test_a_cancellation_from_outside_is_not_swallowed(limits, exchange):
    async def run():
        app = Endless()
        task = asyncio.create_task(exchange.Exchange().run(limits(app)))
        while not app.began.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert app.ended.is_set()

    asyncio.run(run())


def test_a_cancellation_from_outside_counts_though_the_client_left_too(limits, exchange):
    async def run():
        leave, request = asyncio.Event(), exchange.Exchange()

        async def receive():
            if request.messages:
                return request.messages.pop()
            await leave.wait()
            task.cancel()
            return LEFT

        app = Endless()
        task = asyncio.create_task(limits(app)(request.scope, receive, request.send))
        while not app.began.is_set():
            await asyncio.sleep(0)
        leave.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_nothing_listens_after_the_answer(limits, exchange):
    async def run():
        await exchange.Exchange().run(limits())
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_an_error_of_the_application_is_passed_on(limits, exchange):
    async def broken(scope, receive, send):
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        exchange(limits(broken))


def test_a_complete_answer_is_no_reason_to_cancel(limits, exchange):
    """Servers say ``http.disconnect`` after the answer; what follows it must still run."""

    async def run():
        finished = []
        request = exchange.Exchange()
        answered = asyncio.Event()

        async def receive():
            if request.messages:
                return request.messages.pop()
            await answered.wait()
            return LEFT

        async def app(scope, receive, send):
            await count(scope, receive, send)
            answered.set()
            assert await receive() == LEFT
            await asyncio.sleep(0)
            finished.append(True)

        await limits(app)(request.scope, receive, request.send)
        assert finished == [True]

    asyncio.run(run())


def test_the_application_sees_the_client_leave_too(limits, exchange):
    seen = []

    async def app(scope, receive, send):
        await receive()
        news = asyncio.create_task(receive())
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(await news)

    exchange(limits(app), messages=[exchange.body(b""), LEFT])
    assert seen == [LEFT]


# -- a real server


def post(address, body=b"{}", headers=()):
    connection = http.client.HTTPConnection(*address, timeout=30)
    connection.request("POST", "/", body, dict(headers))
    return connection


def test_a_real_client_that_leaves_cancels_the_work(limits, serve, caplog):
    app = Endless()
    with caplog.at_level(logging.WARNING):
        address = serve(limits(app))
        connection = post(address)
        assert app.began.wait(30)
        connection.close()
        assert app.ended.wait(30)
    assert "Exception in ASGI application" not in caplog.text


def test_a_real_client_that_leaves_ends_a_stream(limits, serve, caplog):
    ended = threading.Event()

    async def lines():
        try:
            yield b"first\n"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def app(scope, receive, send):
        await StreamingResponse(lines())(scope, receive, send)

    connection = post(serve(limits(app)))
    answer = connection.getresponse()
    assert answer.readline() == b"first\n"
    answer.close()
    connection.close()
    assert ended.wait(30)
    assert "Exception in ASGI application" not in caplog.text


def test_a_connection_serves_many_requests(limits, serve):
    connection = post(serve(limits()), b"abc")
    for _ in range(20):
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"3")
        connection.request("POST", "/", b"abc")
    connection.getresponse().read()
    connection.close()


def test_a_client_that_sends_far_too_much_still_reads_why(limits, serve):
    connection = post(serve(limits(max_body_bytes=1000)), b"x" * 50_000_000)
    answer = connection.getresponse()
    assert answer.status == 413
    assert b"limits.max_body_bytes" in answer.read()
    connection.request("POST", "/", b"abc")
    assert connection.getresponse().status == 200
    connection.close()


def test_half_a_request_is_408(limits, serve):
    with socket.create_connection(serve(limits(body_timeout_s=0.05)), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        answer = client.makefile("rb").read()  # to the end: the server closes
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_chunked_body_over_the_limit_is_413(limits, serve):
    with socket.create_connection(serve(limits(max_body_bytes=8)), timeout=30) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 9
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
