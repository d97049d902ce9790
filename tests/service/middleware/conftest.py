"""One ASGI exchange by hand, and a real server."""

import asyncio

import pytest
from starlette.responses import JSONResponse


def refuse(scope, error, status):
    """Word a refusal so that a test can read it."""
    codes = {"too_large": 413, "unauthenticated": 401, "forbidden": 403, "bad_request": 400}
    body = {"path": scope["path"], "kind": error.kind.value, "message": error.message}
    return JSONResponse(body, status_code=status or codes[error.kind.value])


@pytest.fixture(name="refuse")
def refuse_fixture():
    return refuse


class Exchange:
    """A scope, the messages the client still has, and those the application sent.

    When no message is left, ``receive`` waits for ever, as a server does with an idle client.
    """

    def __init__(self, method="GET", path="/", headers=(), messages=None, **scope):
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
            **scope,
        }
        self.messages = [body(b"")] if messages is None else list(messages)
        self.sent = []

    async def receive(self):
        if self.messages:
            return self.messages.pop(0)
        await asyncio.Event().wait()
        return None

    async def send(self, message):
        self.sent.append(message)

    async def run(self, app):
        await app(self.scope, self.receive, self.send)
        return self

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self):
        return b"".join(message["body"] for message in self.sent[1:])


def body(content, more=False):
    return {"type": "http.request", "body": content, "more_body": more}


@pytest.fixture
def exchange():
    """Make an exchange and run it through an application."""

    def make(app, *arguments, **scope):
        return asyncio.run(Exchange(*arguments, **scope).run(app))

    make.body = body
    make.Exchange = Exchange
    return make
