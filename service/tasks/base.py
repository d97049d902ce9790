"""The interface of a task: a client's inputs to sequences, a model's arrays to answers."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from service.core.messages import Inputs
from service.core.work import WorkItem, WorkResult


class Task(Protocol):
    """One task bound to one loaded model (its tokenizer, labels and limits).

    Both methods are synchronous and free of side effects. ``prepare`` runs in a thread, since
    tokenising releases the interpreter lock; neither may touch the event loop.
    """

    name: ClassVar[str]

    def prepare(self, inputs: Inputs, parameters: Mapping[str, Any]) -> Sequence[WorkItem]:
        """Turn inputs into work, one item for each sequence the model computes on.

        Raises:
            BadRequest: an input is empty, too long without truncation asked for, or a
                parameter is unknown or of the wrong type; the message names it.
            UnsupportedInput: this kind of input does not fit the task.
        """

    def finish(
        self,
        results: Sequence[WorkResult],
        work: Sequence[WorkItem],
        parameters: Mapping[str, Any],
    ) -> Any:
        """Turn the model's arrays, in the order of ``work``, into ``InferResponse.outputs``."""
