"""How much may wait, decided before any work is done for a request."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from service.core.errors import Overloaded


@dataclass(slots=True)
class Ticket:
    """An admitted request. ``num_tokens`` starts as an estimate and may be corrected."""

    num_tokens: int


class Admission:
    """Bounds what waits for one model, by requests and by tokens, the same for one text or many.

    Args:
        max_requests: requests that may be unanswered.
        max_tokens: tokens of those requests; a request larger than this is taken when nothing
            else waits.
    """

    def __init__(self, max_requests: int, max_tokens: int) -> None:
        self._max_requests = max_requests
        self._max_tokens = max_tokens
        self._tickets: set[int] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self.num_tokens = 0
        self.tokens_per_s = 0.0

    @property
    def num_requests(self) -> int:
        """Requests admitted and not answered."""
        return len(self._tickets)

    @contextlib.contextmanager
    def admit(self, num_tokens: int) -> Iterator[Ticket]:
        """Hold a place for a request as long as the block runs.

        Args:
            num_tokens: an estimate, since nothing is tokenised yet.

        Raises:
            Overloaded: too much is waiting; says in how many seconds it should be less.
        """
        self._refuse_if_full(num_tokens)
        ticket = Ticket(num_tokens)
        self._tickets.add(id(ticket))
        self._empty.clear()
        self.num_tokens += num_tokens
        try:
            yield ticket
        finally:
            self._tickets.discard(id(ticket))
            self.num_tokens -= ticket.num_tokens
            if not self._tickets:
                self._empty.set()

    async def wait_until_empty(self, timeout_s: float) -> None:
        """Return when every request is answered, or after ``timeout_s`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()

    def correct(self, ticket: Ticket, num_tokens: int) -> None:
        """Replace the estimate by the count."""
        self.num_tokens += num_tokens - ticket.num_tokens
        ticket.num_tokens = num_tokens

    def _refuse_if_full(self, num_tokens: int) -> None:
        waiting = len(self._tickets)
        if waiting >= self._max_requests:
            raise Overloaded(f"{waiting} requests are waiting, the limit", self._seconds_to_drain())
        if waiting and self.num_tokens + num_tokens > self._max_tokens:
            raise Overloaded(
                f"{self.num_tokens} tokens are waiting and the request has about {num_tokens}; "
                f"the limit is {self._max_tokens}",
                self._seconds_to_drain(),
            )

    def note_batch(self, num_tokens: int, seconds: float) -> None:
        """Learn the model's speed from a finished forward."""
        if seconds > 0:
            speed = num_tokens / seconds
            self.tokens_per_s += 0.1 * (speed - self.tokens_per_s) if self.tokens_per_s else speed

    def _seconds_to_drain(self) -> float:
        """Time for half of what waits, between 1 and 60 seconds."""
        if not self.tokens_per_s:
            return 1.0
        return min(60.0, max(1.0, self.num_tokens / self.tokens_per_s / 2))
