"""One client's connection: headers must come in time, and files must be left for the service."""

import asyncio
import resource
from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_TIMEOUT_S = 10.0
_KEPT_FILES = 128
_MAX_FILES = 65_536


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, which hangs up on a client that does not finish its headers.

    uvicorn itself waits for ever for the rest of a request line, so that some hundred such clients
    take every file the process may open.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._header_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect_headers()

    @override
    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_TIMEOUT_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


def allow_many_files() -> int:
    """Raise the limit of open files as far as allowed; returns how many connections it is for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(1, soft - _KEPT_FILES)
