"""What a load did."""

from dataclasses import dataclass, field
from typing import Any

from model_base.log import get_logger

logger = get_logger("loading")

Mismatch = tuple[str, tuple[int, ...], tuple[int, ...]]


@dataclass(slots=True)
class LoadReport:
    """Data first; ``log`` tells it in words.

    Attributes:
        missing: names in the model that the checkpoint lacks; newly initialised.
        unexpected: stored names that the model lacks; not loaded.
        mismatched: ``(stored name, stored shape, model's shape)``; not loaded.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[Mismatch] = field(default_factory=list)

    def as_dict(self) -> dict[str, list[Any]]:
        """The mapping that ``from_pretrained(output_loading_info=True)`` returns."""
        return {
            "missing_keys": self.missing,
            "unexpected_keys": self.unexpected,
            "mismatched_keys": self.mismatched,
            "error_msgs": [],
        }

    def log(self, class_name: str, source: str) -> None:
        """Warn of what was not used or newly initialised; else say that all is well."""
        if self.unexpected:
            logger.warning(
                "%d tensors of %s were not used when initializing %s: %s",
                len(self.unexpected), source, class_name, self.unexpected,
            )  # fmt: skip
        if self.missing:
            logger.warning(
                "%d weights of %s are not in %s and were newly initialized: %s. TRAIN this model "
                "on a task before using it for predictions.",
                len(self.missing), class_name, source, self.missing,
            )  # fmt: skip
        for name, stored, wanted in self.mismatched:
            logger.warning(
                "%s of %s was newly initialized because the shapes did not match: "
                "stored %s, wanted %s",
                name, source, stored, wanted,
            )  # fmt: skip
        if not (self.unexpected or self.missing or self.mismatched):
            logger.info("all weights of %s were loaded from %s", class_name, source)
