"""The one place where a failure becomes a status code."""

from service.core.errors import ErrorKind

# kind                        HTTP  gRPC
STATUS: dict[ErrorKind, tuple[int, str]] = {
    ErrorKind.BAD_REQUEST:     (400, "INVALID_ARGUMENT"),
    ErrorKind.UNSUPPORTED:     (400, "INVALID_ARGUMENT"),
    ErrorKind.TOO_LARGE:       (413, "RESOURCE_EXHAUSTED"),
    ErrorKind.UNAUTHENTICATED: (401, "UNAUTHENTICATED"),
    ErrorKind.FORBIDDEN:       (403, "PERMISSION_DENIED"),
    ErrorKind.NOT_FOUND:       (404, "NOT_FOUND"),
    ErrorKind.CONFLICT:        (409, "FAILED_PRECONDITION"),
    ErrorKind.NOT_READY:       (503, "UNAVAILABLE"),
    ErrorKind.WORKER_LOST:     (503, "UNAVAILABLE"),
    ErrorKind.OVERLOADED:      (429, "RESOURCE_EXHAUSTED"),
    ErrorKind.DEADLINE:        (504, "DEADLINE_EXCEEDED"),
    ErrorKind.OUT_OF_MEMORY:   (507, "RESOURCE_EXHAUSTED"),
    ErrorKind.BACKEND:         (500, "INTERNAL"),
}  # fmt: skip
