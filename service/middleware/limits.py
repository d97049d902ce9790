"""How large a body may be, how long it may take, and what happens when the client leaves."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.errors import BadRequest, TooLarge
from service.core.settings import LimitSettings
from service.middleware.base import Refuse

_REQUEST_TIMEOUT = 408


class _ClientLeft(Exception):
    """Raised when the client is gone before its body is complete."""


class Limits:
    """Reads the whole body within the limits, then runs the application while the client stays.

    A body over ``max_body_bytes`` is refused by its Content-Length, or as soon as it grows too
    large; one not complete within ``body_timeout_s`` ends with 408.
    """

    def __init__(self, app: ASGIApp, settings: LimitSettings, refuse: Refuse) -> None:
        self._app = app
        self._settings = settings
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._settings.body_timeout_s):
                body = await self._read(scope, receive)
        except _ClientLeft:
            return
        except TooLarge as error:
            response = self._refuse(scope, error, None)
        except TimeoutError:
            response = self._refuse(scope, self._too_slow(), _REQUEST_TIMEOUT)
            response.headers["Connection"] = "close"
        else:
            await _Exchange(body, receive, send).run(self._app, scope)
            return
        await response(scope, receive, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        self._check(_content_length(scope))
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientLeft
            body += message.get("body", b"")
            self._check(len(body))
            if not message.get("more_body", False):
                return bytes(body)

    def _check(self, num_bytes: int) -> None:
        limit = self._settings.max_body_bytes
        if num_bytes > limit:
            raise TooLarge("bytes of the request's body", num_bytes, limit, "limits.max_body_bytes")

    def _too_slow(self) -> BadRequest:
        limit_s = self._settings.body_timeout_s
        return BadRequest(
            f"the request's body was not complete within {limit_s:g} s "
            "(setting limits.body_timeout_s)"
        )


class _Exchange:
    """One request whose body is here. Cancels the application when the client leaves early.

    The application runs in the server's own task, so whatever cancels that task still does. A
    second task waits for ``http.disconnect``; it is the only one that calls the server's
    ``receive``. The application's ``receive`` gives the body once, then waits for the same news.
    """

    def __init__(self, body: bytes, receive: Receive, send: Send) -> None:
        self._body: bytes | None = body
        self._receive = receive
        self._send = send
        self._left = asyncio.Event()
        self._answered = False
        self._cancelled = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        """Run the application to its end, or until the client leaves."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is answered in a task")
        watcher = asyncio.create_task(self._watch(task))
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self._cancelled or task.cancelling() > 1:  # someone else wants us to end
                raise
        finally:
            watcher.cancel()
            if self._cancelled:
                task.uncancel()

    async def _watch(self, task: asyncio.Task[object]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left.set()
        if not self._answered:  # servers report a disconnect after a complete answer, too
            self._cancelled = True
            task.cancel()

    async def receive(self) -> Message:
        """The application's ``receive``."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """The application's ``send``."""
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._answered = True
        await self._send(message)


def _content_length(scope: Scope) -> int:
    """Bytes announced; 0 if none or nonsense, which is then found by counting."""
    announced = Headers(scope=scope).get("content-length", "")
    return int(announced[:20]) if announced.isdecimal() else 0
