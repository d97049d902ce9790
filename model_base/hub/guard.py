"""What the hub answers is looked at before huggingface_hub takes it for a path or for a wait.

huggingface_hub trusts its hub. Ours may be a mirror, or one that was taken over, and what it says
ends as names of files, in logs, and as lengths of sleep.
"""

import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
from typing_extensions import override

from model_base.errors import HubUnavailable
from model_base.hub.names import COMMIT
from model_base.hub.transport import MAX_UNTOLD_BYTES

MAX_WAIT_S = 60
"""That the hub may ask for before a call is tried again."""
_TIMEOUT_S = 120.0
"""For a call that huggingface_hub gives none: between two bytes."""
_PHASES = ("connect", "read", "write", "pool")
_SLOW_BYTES_S, _SLOW_FOR_S = 1000, 60.0
_HASH_OF_ANY_KIND = re.compile(r'(W/)?"?\w[\w.+=~-]{0,200}"?', re.ASCII), "a hash"
_SIZE = re.compile("[0-9]{1,15}"), "a number of bytes"
_SAID = {
    "X-Repo-Commit": (COMMIT, "40 hexadecimal digits"),
    "X-Linked-Etag": _HASH_OF_ANY_KIND,
    "X-Linked-Size": _SIZE,
}
_SAID_OF_A_FILE = {"ETag": _HASH_OF_ANY_KIND, "Content-Length": _SIZE}


class Guard:
    """Hooks of HTTP clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._origins: Counter[str] = Counter()
        self._hooks: dict[str, Any] = {"request": self._before, "response": _after}

    def watch(self, client: httpx2.Client) -> httpx2.Client:
        """Look at everything that a client sends and gets from now on; returns it."""
        for kind, hook in self._hooks.items():
            client.event_hooks[kind].append(hook)
        return client

    def leave(self, client: httpx2.Client) -> None:
        """Watch a client no more."""
        for kind, hook in self._hooks.items():
            with contextlib.suppress(ValueError):  # somebody else has set another client
                client.event_hooks[kind].remove(hook)

    @contextlib.contextmanager
    def lets_token_to(self, endpoint: str) -> Iterator[None]:
        """Inside the block a token may be sent to this hub; outside such blocks to none."""
        origin = _origin(endpoint)
        self._count(origin, 1)
        try:
            yield
        finally:
            self._count(origin, -1)

    def _count(self, origin: str, more: int) -> None:
        with self._lock:
            self._origins[origin] += more

    def _before(self, request: httpx2.Request) -> None:
        if not self._origins[_origin(str(request.url))]:
            request.headers.pop("Authorization", None)
        timeout = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            phase: timeout.get(phase) or _TIMEOUT_S
            for phase in ("connect", "read", "write", "pool")
        }


def _origin(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = httpx2.URL(url)
    return f"{parts.scheme}://{parts.host}:{parts.port}"


def _after(response: httpx2.Response) -> None:
    headers, method = response.headers, response.request.method
    for name, (accepted, words) in (
        _SAID | _SAID_OF_A_FILE if _is_used(response) else _SAID
    ).items():
        if name in headers and not accepted.fullmatch(headers[name]):
            raise HubUnavailable(
                f"the hub's {name} is {headers[name]!r:.100}; accepted: {words}", "damaged"
            )
    headers.pop("X-HF-Warning", None)  # it would be logged as it is
    if _seconds(headers.get("Retry-After", "")) > MAX_WAIT_S:
        headers["Retry-After"] = str(MAX_WAIT_S)
    if _seconds(headers.get("RateLimit", "").rpartition("t=")[2]) > MAX_WAIT_S:
        del headers["RateLimit"]
    is_file = method == "GET" and response.status_code in (200, 206)
    is_question = not is_file or "/api/" in response.request.url.path
    response.stream = _Watched(response.stream, is_question, method == "GET")


def _is_used(response: httpx2.Response) -> bool:
    """Whether huggingface_hub takes hash and size from it, unless it has ``X-Linked`` ones.

    It goes on to where a hub leads within itself, and asks no one else.
    """
    leads_within = response.headers.get("Location", "").startswith("/")
    return response.request.method == "HEAD" and response.status_code < 400 and not leads_within


def _seconds(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


class _Watched(httpx2.SyncByteStream):
    """What comes of an answer.

    Args:
        stream: of the answer.
        is_bounded: whether it may not be endless; what writes a file knows how much may come.
        is_timed: whether it may not be so slow that it never ends.
    """

    def __init__(self, stream: Any, is_bounded: bool, is_timed: bool) -> None:
        self._stream, self._is_bounded, self._is_timed = stream, is_bounded, is_timed

    @override
    def __iter__(self) -> Iterator[bytes]:
        come, marked, since = 0, 0, time.monotonic()
        for chunk in self._stream:
            come += len(chunk)
            if self._is_bounded and come > MAX_UNTOLD_BYTES:
                raise HubUnavailable(f"the hub sends more than {MAX_UNTOLD_BYTES} bytes", "damaged")
            if self._is_timed and (passed := time.monotonic() - since) > _SLOW_FOR_S:
                if come - marked < _SLOW_BYTES_S * passed:
                    raise HubUnavailable(
                        f"the hub sends less than {_SLOW_BYTES_S} bytes a second", "slow"
                    )
                marked, since = come, time.monotonic()
            yield chunk

    @override
    def close(self) -> None:
        self._stream.close()


GUARD = Guard()
"""Of this process's calls."""
