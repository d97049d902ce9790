"""What the middleware is given."""

from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Scope

from service.core.errors import ServiceError

Refuse = Callable[[Scope, ServiceError, int | None], Response]
"""Words a refusal in the shape of the protocol that owns the scope's path.

The number is the HTTP status, None for that of the error's kind.
"""
