"""Which sequences go into the next forward. Pure bookkeeping: no clock, no sockets, no arrays.

Requests take turns, one sequence each, until the budget of tokens is full: a request of one short
text does not wait for one of thousands, and no length is preferred, since packed sequences cost
no padding. When nothing waits, a sequence that comes in is computed at once. Rows of raw tensors
are batched in the same way if their model allows it and they are alike.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from service.core.work import SequenceWork, TensorWork, WorkItem


@dataclass(frozen=True, slots=True)
class Ticket:
    """One sequence of one request, on its way through a forward."""

    request_id: int
    index: int
    admitted_s: float
    work: WorkItem


class Batcher:
    """A queue of requests, from which batches are taken.

    Args:
        max_tokens: budget of a batch; a single longer sequence still goes, alone.
        num_lanes: how many batches are computed at once: what waits is shared out evenly among
            them, so that no lane holds what the next one could soon begin.
    """

    def __init__(self, max_tokens: int, num_lanes: int = 1) -> None:
        self._max_tokens = max_tokens
        self._num_lanes = num_lanes
        self._requests: OrderedDict[int, deque[Ticket]] = OrderedDict()
        self._waiting_tokens = 0

    @property
    def has_one(self) -> bool:
        """Whether a single sequence waits."""
        return [len(tickets) for tickets in self._requests.values()] == [1]

    def add(self, request_id: int, admitted_s: float, work: Sequence[WorkItem]) -> None:
        """Queue a request behind the others."""
        self._requests[request_id] = deque(
            Ticket(request_id, index, admitted_s, item) for index, item in enumerate(work)
        )
        self._waiting_tokens += sum(item.num_tokens for item in work)

    def cancel(self, request_id: int) -> None:
        """Forget what is left of a request; one already answered is no error."""
        left = self._requests.pop(request_id, ())
        self._waiting_tokens -= sum(ticket.work.num_tokens for ticket in left)

    def next_batch(self) -> list[Ticket]:
        """Take the next batch; empty if nothing waits. Raw tensors that do not join go alone."""
        batch: list[Ticket] = []
        budget = min(self._max_tokens, -(-self._waiting_tokens // self._num_lanes))
        while self._requests:
            request_id, tickets = next(iter(self._requests.items()))
            ticket = tickets[0]
            work = ticket.work
            if batch and (work.num_tokens > budget or not _go_together(batch[0].work, work)):
                break
            tickets.popleft()
            batch.append(ticket)
            budget -= work.num_tokens
            self._waiting_tokens -= work.num_tokens
            if tickets:
                self._requests.move_to_end(request_id)
            else:
                del self._requests[request_id]
        return batch


def _go_together(first: WorkItem, other: WorkItem) -> bool:
    """Whether one forward can compute both: sequences of which the same is wanted, or like rows."""
    if isinstance(first, SequenceWork):
        return isinstance(other, SequenceWork) and first.want is other.want
    return isinstance(other, TensorWork) and first.joins and other.joins and first.is_like(other)
