"""Errors a request can end with.

* ServiceError
  - BadRequest           the client sent something we cannot read
    - UnsupportedInput   readable, but not something this model can answer
  - TooLarge             over a limit; names the limit and the setting that moves it
  - Unauthenticated      no key, or a wrong one
  - Forbidden            the key is good for inference, not for this
  - NotFound             no such job, repository or follow
    - ModelNotFound      no such name or version
  - Conflict             the name is taken, or the model is in the wrong state for this
  - ModelNotReady        known, but still loading or draining
  - WorkerLost           the process that held the model died with the request
  - Overloaded           the queue is full; try again later
  - DeadlineExceeded     the client's time budget ran out
  - OutOfMemory          the model does not fit what is free
  - BackendFailed        the model raised; details stay in the log

This module knows no HTTP and no gRPC: see ``service/protocols/status.py``.
"""

from enum import Enum
from typing import ClassVar


class ErrorKind(Enum):
    """What went wrong, in words every protocol can translate."""

    BAD_REQUEST = "bad_request"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    NOT_READY = "not_ready"
    WORKER_LOST = "worker_lost"
    OVERLOADED = "overloaded"
    DEADLINE = "deadline_exceeded"
    OUT_OF_MEMORY = "out_of_memory"
    BACKEND = "backend_failed"


class ServiceError(Exception):
    """Base of every error a protocol may show to a client.

    Attributes:
        kind: the class of failure; selects the status code.
        message: safe to show to the client. Never holds a stack trace, a key or the path of
            anything the client did not name itself.
        retry_after_s: seconds after which the same request may succeed; None if it never will.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.BACKEND
    retry_after_s: float | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(ServiceError):
    """Raised when the client sent something we cannot read."""

    kind = ErrorKind.BAD_REQUEST


class UnsupportedInput(BadRequest):
    """Raised when the request is well formed, but this model cannot answer it."""

    kind = ErrorKind.UNSUPPORTED


class TooLarge(ServiceError):
    """Raised when a request is over a limit.

    Attributes:
        limit: the largest value accepted.
        setting: the setting that moves the limit.
    """

    kind = ErrorKind.TOO_LARGE

    def __init__(self, what: str, seen: int, limit: int, setting: str) -> None:
        super().__init__(f"{what}: {seen} is over the limit of {limit} (setting {setting})")
        self.limit = limit
        self.setting = setting


class Unauthenticated(ServiceError):
    """Raised when a request has no key, or one that is not known."""

    kind = ErrorKind.UNAUTHENTICATED


class Forbidden(ServiceError):
    """Raised when the key does not cover the route."""

    kind = ErrorKind.FORBIDDEN


class NotFound(ServiceError):
    """Raised when what a request names is not there."""

    kind = ErrorKind.NOT_FOUND


class ModelNotFound(NotFound):
    """Raised when neither the name nor the version is in the repository."""

    def __init__(self, name: str, version: str | None = None) -> None:
        suffix = f" version {version!r}" if version else ""
        super().__init__(f"model {name!r}{suffix} is not served here")
        self.name = name
        self.version = version


class Conflict(ServiceError):
    """Raised when the model's present state does not allow the change."""

    kind = ErrorKind.CONFLICT


class ModelNotReady(ServiceError):
    """Raised when a model is known but takes no requests now."""

    kind = ErrorKind.NOT_READY

    def __init__(self, name: str, state: str, reason: str = "") -> None:
        super().__init__(f"model {name!r} is {state}" + (f": {reason}" if reason else ""))
        self.retry_after_s = 1.0


class WorkerLost(ServiceError):
    """Raised when the process that held the model ended with the request unanswered."""

    kind = ErrorKind.WORKER_LOST
    retry_after_s = 1.0

    def __init__(self, name: str) -> None:
        super().__init__(f"the worker of model {name!r} ended; it is being restarted")


class Overloaded(ServiceError):
    """Raised by admission when the queue is full.

    Attributes:
        retry_after_s: seconds the client should wait.
    """

    kind = ErrorKind.OVERLOADED

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(f"{message}; retry in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class DeadlineExceeded(ServiceError):
    """Raised when the time the client gave the request ran out before the answer."""

    kind = ErrorKind.DEADLINE

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"not answered within {timeout_s:g} s")


class OutOfMemory(ServiceError):
    """Raised before loading when a model needs more memory than is free."""

    kind = ErrorKind.OUT_OF_MEMORY

    def __init__(self, needed_bytes: int, free_bytes: int, where: str) -> None:
        super().__init__(f"the model needs {needed_bytes} bytes, {free_bytes} are free on {where}")
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class BackendFailed(ServiceError):
    """Raised when the model itself raised. The client is told so, the log holds the cause."""

    kind = ErrorKind.BACKEND
