"""How many requests begin in one turn of the event loop."""

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

_SIZE = 16
"""Reading a body and refusing it takes half a millisecond: a turn takes ten or less."""
_ALWAYS = ("/health", "/metrics")


class Turns:
    """Lets a crowd in a few at a time, in the order it came; health and metrics do not wait.

    Otherwise ten thousand requests that come at once are read one after another in a single turn
    of the loop, and whoever asks meanwhile whether the service lives waits until all are done.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._num_begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, when its turn has come."""
        if scope["type"] == "http" and not scope["path"].startswith(_ALWAYS):
            await self._take_turn()
        await self._app(scope, receive, send)

    async def _take_turn(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._num_begun:
            loop.call_soon(self._begin_turn)
        if self._num_begun < _SIZE:
            self._num_begun += 1
            return
        self._waiting.append(turn := loop.create_future())
        await turn

    def _begin_turn(self) -> None:
        self._num_begun = 0
        while self._waiting and self._num_begun < _SIZE:
            turn = self._waiting.popleft()
            if not turn.done():  # cancelled while it waited
                turn.set_result(None)
                self._num_begun += 1
        if self._num_begun:
            asyncio.get_running_loop().call_soon(self._begin_turn)
