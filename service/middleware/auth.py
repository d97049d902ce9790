"""Who may call what. Every route is closed without a key, unknown ones too."""

import enum
import hmac
from collections.abc import Callable, Iterable
from hashlib import sha256

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.core.errors import Forbidden, ServiceError, Unauthenticated
from service.core.settings import AuthSettings
from service.middleware.base import Refuse

_OPEN = ("/health/live", "/health/ready")
_READING = ("GET", "HEAD")


class Access(enum.IntEnum):
    """What a route asks for and what a key grants; more includes less."""

    OPEN = 0
    INFERENCE = 1
    ADMIN = 2


def required(method: str, path: str, is_inference: bool) -> Access:
    """Decide what a route asks for. The only place that does.

    What changes something, and all of the hub's jobs and cache, asks for an admin key, unless a
    protocol has said that it is inference:
    a route that nobody thought of falls on the stricter side. ``path`` is the decoded one that
    routes are matched on, compared as it is.

    Args:
        method: of the request.
        path: of the request.
        is_inference: whether a protocol answers predictions there.
    """
    if path == "/hub" or path.startswith("/hub/"):
        return Access.ADMIN
    if method in _READING:
        return Access.OPEN if path in _OPEN else Access.INFERENCE
    return Access.INFERENCE if method == "POST" and is_inference else Access.ADMIN


class Auth:
    """Checks the key of every request once keys are configured and auth is on.

    A key comes as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``. It is compared with every
    key known, digest with digest, so that the time taken tells nothing about any of them.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: AuthSettings,
        refuse: Refuse,
        is_inference: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._is_inference = is_inference
        self._refuse = refuse
        self._on = settings.enabled and bool(settings.api_keys or settings.admin_keys)
        api_keys = Access.INFERENCE if settings.admin_keys else Access.ADMIN
        self._grants = [
            *_grants(settings.api_keys, api_keys),
            *_grants(settings.admin_keys, Access.ADMIN),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection on, or refuse it."""
        if not self._on or scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # no route of ours is one
        elif error := self._check(scope):
            response = self._refuse(scope, error, None)
            if isinstance(error, Unauthenticated):
                response.headers["WWW-Authenticate"] = "Bearer"
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> ServiceError | None:
        path = _routed_path(scope)
        needed = required(scope["method"], path, self._is_inference(path))
        if needed is Access.OPEN:
            return None
        granted = max((self._granted(key) for key in _given(scope)), default=Access.OPEN)
        if granted is Access.OPEN:
            return Unauthenticated(
                "a valid API key is needed: send Authorization: Bearer KEY or X-API-Key: KEY"
            )
        if granted < needed:
            return Forbidden("this key is good for inference and reading; this needs an admin key")
        return None

    def _granted(self, key: str) -> Access:
        digest = _digest(key)
        return max(
            (access if hmac.compare_digest(digest, known) else Access.OPEN)
            for known, access in self._grants
        )


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


def _grants(keys: Iterable[SecretStr], access: Access) -> list[tuple[bytes, Access]]:
    return [(_digest(key.get_secret_value()), access) for key in keys]


def _given(scope: Scope) -> list[str]:
    """The keys of a request; an empty one is none."""
    headers = Headers(scope=scope)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return [key for key in (bearer, headers.get("x-api-key", "")) if key]


def _routed_path(scope: Scope) -> str:
    """The path below the application's root, as the router sees it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path
