"""How the hub is reached: at which address, through which proxies, by which protocol.

huggingface_hub keeps one HTTP client and one switch for its Xet protocol for the whole process.
Who needs them otherwise sets them for the length of a call; calls that need the same run side by
side, others wait.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from model_base.errors import HubUnavailable

MAX_WAIT_SECONDS = 120.0
"""How long a call waits for those that are under way in another manner."""
MAX_UNTOLD_BYTES = 32 * 2**20
"""Of an answer that is no file, or a file whose size was not told."""
_CHUNK_BYTES = 2**20
"""A download takes a few times as much memory for each file, and loses as much if it is killed."""
_GONE = ("tuna", "bfsu")
_PUBLIC = "https://huggingface.co"
_NEVER = set("@?#\\")


def masked(url: str) -> str:
    """An address for messages: without name, password and query."""
    return re.split("[?#]", url.rpartition("@")[2])[0]


def checked_token(token: Any) -> bool | str | None:
    """A token without the spaces around it.

    Raises:
        ValueError: no header can hold it; the message does not show it.
    """
    if isinstance(token, str) and re.fullmatch("[!-~]+", token := token.strip()):
        return token
    if token is None or isinstance(token, bool):
        return token
    raise ValueError("the token is not one; accepted: printable ASCII text, True, False, None")


def checked_endpoint(endpoint: str | None) -> str | None:
    """The address of a hub without a slash at its end; None stays None, the default hub.

    Raises:
        ValueError: the name of a mirror that is gone, or not an HTTP address, or one with a
            password or a query.
    """
    if endpoint is None:
        return None
    if endpoint in _GONE:
        raise ValueError(f"the mirror {endpoint!r} is gone; accepted: the URL of a hub, or None")
    if not _is_address(endpoint):
        shown = masked(str(endpoint))
        raise ValueError(f"mirror is {shown!r}; accepted: the URL of a hub, or None")
    return endpoint.rstrip("/")


def _is_address(url: Any) -> bool:
    if not isinstance(url, str) or not re.fullmatch(r"https?://[!-~]+", url) or set(url) & _NEVER:
        return False
    try:
        return bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        return False


def speaks_xet(endpoint: str | None) -> bool:
    """Whether a hub has the Xet protocol, without which uploads by it fail: the public hub does."""
    from huggingface_hub import constants

    return (endpoint or constants.ENDPOINT) == _PUBLIC


@contextlib.contextmanager
def transport(
    proxies: Mapping[str, str | None] | None = None,
    xet: bool = True,
    endpoint: str | None = None,
) -> Iterator[None]:
    """Inside the block huggingface_hub's calls go through ``proxies``, and answers are guarded.

    A block inside must want the same: it waits in vain otherwise.

    Args:
        proxies: as the library requests takes them, ``{"https": "host:port"}``; keys are a
            scheme, ``all``, or one of these with a host (``"http://host"``); None is no proxy.
        xet: whether the Xet protocol may be used. It knows no proxies, so never with them.
        endpoint: address of the hub, which a token may be sent to; None is the default one.

    Raises:
        HubUnavailable: other calls took ``MAX_WAIT_SECONDS``.
        ValueError: a key or an address in ``proxies`` is not one.
    """
    if not isinstance(proxies, Mapping | None) or not all(
        isinstance(key, str) and isinstance(way, str | None) for key, way in (proxies or {}).items()
    ):
        raise ValueError("proxies is no map of addresses; accepted: {'https': 'http://host:port'}")
    wanted = frozenset((proxies or {}).items()), xet and not proxies
    from huggingface_hub import constants

    from model_base.hub.guard import GUARD

    with _shared.used_as(wanted), GUARD.lets_token_to(endpoint or constants.ENDPOINT):
        yield


_Settings = tuple[frozenset[tuple[str, str | None]], bool]
_USUAL: _Settings = (frozenset(), True)


class _Shared:
    """The process's settings, which users of the same share."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._now = _USUAL
        self._restore: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def used_as(self, wanted: _Settings) -> Iterator[None]:
        with self._changed:
            if not self._changed.wait_for(
                lambda: self._users == 0 or self._now == wanted, MAX_WAIT_SECONDS
            ):
                raise HubUnavailable(
                    "calls of the hub through other proxies or by another protocol took over "
                    f"{MAX_WAIT_SECONDS:g} s; try again later"
                )
            if self._users == 0:
                self._restore = _install(*wanted)
                self._now = wanted
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                if self._users == 0:
                    self._restore()
                    self._changed.notify_all()


_shared = _Shared()


def _install(proxies: frozenset[tuple[str, str | None]], xet: bool) -> Callable[[], None]:
    """Change huggingface_hub's settings; returns what changes them back."""
    from huggingface_hub import constants, get_session, set_client_factory
    from huggingface_hub.utils import _http

    from model_base.hub.guard import GUARD

    mounts = _mounts(dict(proxies))
    undo = contextlib.ExitStack()
    undo.callback(setattr, constants, "DOWNLOAD_CHUNK_SIZE", constants.DOWNLOAD_CHUNK_SIZE)
    constants.DOWNLOAD_CHUNK_SIZE = min(constants.DOWNLOAD_CHUNK_SIZE, _CHUNK_BYTES)
    if not xet:
        undo.callback(setattr, constants, "HF_HUB_DISABLE_XET", constants.HF_HUB_DISABLE_XET)
        constants.HF_HUB_DISABLE_XET = True
    usual = _http._GLOBAL_CLIENT_FACTORY
    if proxies:
        undo.callback(set_client_factory, usual)
        set_client_factory(lambda: GUARD.watch(_client(mounts())))
    else:  # the client that there is stays, with its connections
        undo.callback(setattr, _http, "_GLOBAL_CLIENT_FACTORY", usual)
        _http._GLOBAL_CLIENT_FACTORY = lambda: GUARD.watch(usual())
        undo.callback(lambda: GUARD.leave(get_session()))
        GUARD.watch(get_session())
    return undo.close


def _client(mounts: Mapping[str, Any]) -> Any:
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.utils._http import hf_request_event_hook

    return httpx2.Client(
        mounts=mounts,
        event_hooks={"request": [hf_request_event_hook]},
        follow_redirects=True,
        timeout=constants.DEFAULT_REQUEST_TIMEOUT,
    )


def _mounts(proxies: Mapping[str, str | None]) -> Callable[[], Mapping[str, Any]]:
    """Makes a transport for every pattern of addresses; checked at once, made when needed."""
    import httpx2

    checked = {}
    for key, address in proxies.items():
        scheme, _, host = key.partition("://")
        if scheme not in ("http", "https", "all"):
            raise ValueError(f"proxies has {key!r}; accepted: http, https, all, or one://host")
        if address and "://" not in address:
            address = f"http://{address}"
        try:
            checked[f"{scheme}://{host}"] = httpx2.Proxy(address) if address else None
        except (ValueError, TypeError, httpx2.InvalidURL) as error:
            raise ValueError(
                f"proxies[{key!r}] is no proxy's address; accepted: http://host:port"
            ) from error
    return lambda: {
        pattern: httpx2.HTTPTransport(proxy=proxy) if proxy else None
        for pattern, proxy in checked.items()
    }
