import re

import pytest

from service.middleware.request_id import REQUEST_ID, RequestId


async def echo(scope, receive, send):
    seen = f"{REQUEST_ID.get()} {scope['state']['request_id']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": seen})


def test_a_harmless_id_is_kept_everywhere(exchange):
    answer = exchange(RequestId(echo), headers=[("X-Request-Id", "Abc-1._")])
    assert answer.body == b"Abc-1._ Abc-1._"
    assert answer.headers["x-request-id"] == "Abc-1._"
    assert answer.scope["state"]["received_s"] > 0
    assert REQUEST_ID.get() == "-"


@pytest.mark.parametrize("given", ["", "a b", "a\n", "http://host/", "é", "a" * 129, "a;b"])
def test_any_other_id_is_replaced(exchange, given):
    answer = exchange(RequestId(echo), headers=[("X-Request-Id", given)])
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_every_request_has_an_id_of_its_own(exchange):
    app = RequestId(echo)
    assert exchange(app).body != exchange(app).body


def test_other_connections_pass_untouched(exchange):
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    exchange(RequestId(app), type="lifespan")
    assert "state" not in seen[0]
