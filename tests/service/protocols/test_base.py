"""What every protocol does alike, each asked through its own inference route."""

import asyncio

import httpx
import pytest

from service.core.errors import (
    DeadlineExceeded,
    ModelNotReady,
    OutOfMemory,
    Overloaded,
    WorkerLost,
)
from service.protocols.base import JsonResponse

ROUTES = {
    "openai": ("/v1/embeddings", {"model": "mini", "input": "hi"}, "input"),
    "tei": ("/embed", {"inputs": "hi"}, "inputs"),
    "native": ("/models/mini/predict", {"inputs": "hi"}, "inputs"),
}


def shape_of(reply):
    body = reply.json()
    if "error_type" in body:
        return "tei"
    return "openai" if "param" in body["error"] else "native"


def message_of(reply):
    error = reply.json()["error"]
    return error if isinstance(error, str) else error["message"]


@pytest.fixture(params=ROUTES)
def protocol(request):
    return request.param


MALFORMED = {
    "cut": b'{"inputs": "hi',
    "empty": b"",
    "not utf-8": b'{"inputs": "\xff"}',
    "a lone surrogate": b'{"input": "\\ud800", "inputs": "\\ud800", "model": "mini"}',
    "a lone surrogate as key": b'{"\\udfff": 1}',
    "nan": b'{"inputs": NaN}',
    "infinity": b'{"inputs": [1e999]}',
    "too deep": b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep but readable": b'{"model": "mini", "input": %b, "inputs": %b}'
    % (b"[" * 900 + b"]" * 900, b"[" * 900 + b"]" * 900),
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_an_unreadable_body_is_the_clients_fault(call, protocol, body):
    path, _, _ = ROUTES[protocol]
    reply = call("POST", path, content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == (422 if protocol == "tei" else 400)
    assert shape_of(reply) == protocol


def test_a_body_that_is_not_declared_json_is_refused(call, protocol):
    path, _, _ = ROUTES[protocol]
    reply = call("POST", path, content=b"{}", headers={"Content-Type": "text/plain"})
    assert reply.status_code == (422 if protocol == "tei" else 400)
    assert "Content-Type: application/json" in message_of(reply)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (7, ": expected a text, a list of texts"),
        (True, ": expected a text, a list of texts"),
        (None, ": expected a text, a list of texts"),
        (["a", 7], ".1: expected a text like the first element; got integer"),
        ([1, "a"], ".1: expected a token id, an integer from 0 to 2147483647; got text"),
        ([[1], "a"], ".1: expected a list like the first element; got text"),
        ([[1], 2], ".1: expected a list like the first element; got integer"),
        ([[1], [2, 1.5]], ".1.1: expected a token id"),
        ([[1], [[2]]], ".1.0: expected a token id"),
        ([1.5], ".0: expected a text, a token id or a list; got number"),
        ([True], ".0: expected a text, a token id or a list; got boolean"),
        ([1, True], ".1: expected a token id"),
        ([-1], ".0: expected a token id, an integer from 0 to 2147483647; got -1"),
        ([2**31], ".0: expected a token id"),
    ],
)
def test_inputs_of_another_type_are_refused_by_name(call, dataplane, protocol, value, problem):
    path, body, field = ROUTES[protocol]
    reply = call("POST", path, json=body | {field: value})
    assert reply.status_code == (422 if protocol == "tei" else 400)
    assert message_of(reply).startswith(f"{field}{problem}")
    assert dataplane.calls == []


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        (["a"] * 2049, "limits.max_inputs"),
        ([[]] * 2049, "limits.max_inputs"),
        ([1] * 131_073, "limits.max_input_tokens"),
        ([[1], [1] * 131_073], "limits.max_input_tokens"),
    ],
    ids=["texts", "lists", "token ids", "token ids in a list"],
)
def test_more_than_a_request_may_have_is_too_large(call, dataplane, protocol, value, setting):
    path, body, field = ROUTES[protocol]
    reply = call("POST", path, json=body | {field: value})
    assert reply.status_code == 413
    assert f"(setting {setting})" in message_of(reply)
    assert shape_of(reply) == protocol
    assert dataplane.calls == []


@pytest.mark.parametrize("value", ["", [], [""], ["a", ""], [[]], [[1], []]])
def test_empty_inputs_are_refused(call, dataplane, protocol, value):
    path, body, field = ROUTES[protocol]
    reply = call("POST", path, json=body | {field: value})
    assert reply.status_code == 400
    assert message_of(reply).startswith(field)
    assert dataplane.calls == []


def test_a_timeout_travels_in_seconds(call, dataplane, protocol):
    path, body, _ = ROUTES[protocol]
    call("POST", path, json=body, headers={"X-Request-Timeout-Ms": "1500"})
    call("POST", path, json=body)
    assert [request.timeout_s for request in dataplane.calls] == [1.5, None]
    assert {request.protocol for request in dataplane.calls} == {protocol}


@pytest.mark.parametrize("given", ["0", "-1", "soon", "1.5", "", "9" * 5000, "nan"])
def test_a_timeout_that_is_no_positive_integer_is_refused(call, protocol, given):
    path, body, _ = ROUTES[protocol]
    reply = call("POST", path, json=body, headers={"X-Request-Timeout-Ms": given})
    assert reply.status_code == (422 if protocol == "tei" else 400)
    assert "X-Request-Timeout-Ms" in message_of(reply)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (Overloaded("the queue is full", 1.2), 429, "2"),
        (ModelNotReady("mini", "loading"), 503, "1"),
        (WorkerLost("mini"), 503, "1"),
        (DeadlineExceeded(2.0), 504, None),
        (OutOfMemory(5, 3, "cpu"), 507, None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_says_when_to_try_again(call, dataplane, protocol, error, status, retry_after):
    path, body, _ = ROUTES[protocol]
    dataplane.error = error
    reply = call("POST", path, json=body)
    assert reply.status_code == status
    assert reply.headers.get("Retry-After") == retry_after
    assert message_of(reply) == error.message
    assert shape_of(reply) == protocol


def test_a_surprise_is_told_to_the_log_and_not_to_the_client(call, dataplane, protocol, caplog):
    path, body, _ = ROUTES[protocol]
    dataplane.error = KeyError("/secret/path")
    reply = call("POST", path, json=body)
    assert reply.status_code == (424 if protocol == "tei" else 500)
    assert shape_of(reply) == protocol
    assert "secret" not in reply.text
    assert "/secret/path" in caplog.text


def test_answers_are_counted_by_protocol_model_and_code(call, dataplane, metrics, protocol):
    path, body, _ = ROUTES[protocol]
    call("POST", path, json=body)
    labels = {"protocol": protocol, "model": "mini"}
    read = metrics.registry.get_sample_value
    assert read("model_base_requests_total", labels | {"code": "200"}) == 1
    assert read("model_base_request_seconds_count", labels) == 1


def test_a_name_that_is_not_served_never_becomes_a_label(call, metrics):
    call("POST", "/v1/embeddings", json={"model": "made-up", "input": "hi"})
    call("POST", "/models/made-up/predict", json={"inputs": "hi"})
    page = call("GET", "/metrics").text
    assert "made-up" not in page
    labels = {"protocol": "openai", "model": "unknown", "code": "404"}
    assert metrics.registry.get_sample_value("model_base_requests_total", labels) == 1


def test_a_client_that_leaves_is_counted(app, dataplane, metrics):
    async def leave():
        asked = asyncio.Event()

        async def never(request):
            asked.set()
            await asyncio.Event().wait()

        dataplane.infer = never
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            post = asyncio.create_task(client.post("/embed", json={"inputs": "hi"}))
            await asked.wait()
            post.cancel()
            await asyncio.gather(post, return_exceptions=True)

    asyncio.run(leave())
    labels = {"protocol": "tei", "model": "mini", "code": "499"}
    assert metrics.registry.get_sample_value("model_base_requests_total", labels) == 1


def test_what_json_cannot_hold_is_not_written():
    with pytest.raises(TypeError, match="not JSON serializable: set"):
        JsonResponse({1, 2})
