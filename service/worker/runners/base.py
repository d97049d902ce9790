"""The interface of a runner: a loaded model that computes batches."""

from collections.abc import Callable, Sequence
from typing import Protocol

from service.channel.messages import Load
from service.core.messages import ModelFacts, ModelStats
from service.core.work import WorkItem, WorkResult


class InputRejected(ValueError):
    """Raised when the input itself is wrong; the message may be shown to the client."""


class Runner(Protocol):
    """One model in one framework. ``run`` is called by several threads at once."""

    @classmethod
    def preload(cls) -> None:
        """Import all that any model may need; compute nothing, start no thread."""

    @classmethod
    def load(cls, order: Load, progress: Callable[[int, int], None]) -> "Runner":
        """Load the model that ``order`` describes, telling bytes done and expected.

        Raises:
            Exception: whatever went wrong; its text is the reason that the operator reads.
        """

    @property
    def facts(self) -> ModelFacts:
        """What the model is."""

    @property
    def num_lanes(self) -> int:
        """How many batches are best computed at once."""

    def warm_up(self) -> None:
        """Run real forwards of the shapes that will come, and pick the fastest ways."""

    def run(self, batch: Sequence[WorkItem], num_threads: int) -> Sequence[WorkResult]:
        """Compute a batch: several sequences, one raw-tensor item, or several that are alike.

        Args:
            batch: what to compute.
            num_threads: processors that are free for it.

        Raises:
            InputRejected: the arguments do not fit the model.
        """

    def stats(self, batch_size: int, sequence_length: int | None) -> ModelStats:
        """Size and cost; ``resident_bytes`` of this process.

        Raises:
            InputRejected: the model takes no sequence, or none as long.
        """
