"""Errors of the library.

* ModelBaseError
  - ConfigNotFound (OSError)          no config.json where one was asked for
  - ConfigUnreadable (OSError)        config.json is not one JSON object
  - UnsupportedConfig (ValueError)    a field asks for mathematics we do not implement
  - CheckpointNotFound (OSError)      no weight file of the kind asked for
  - CheckpointUnreadable (OSError)    a weight file or index is damaged or not what its name says
    - UnsafeCheckpoint                a file that would run code or reach outside its folder
  - CheckpointMismatch (RuntimeError) stored shapes are not the model's
  - CorruptCheckpoint (ValueError)    the stored names contradict each other
  - HubUnavailable (OSError)          the hub refused, lacks it, or cannot be reached
    - HubConflict                     somebody else has committed meanwhile

Each also derives from the type that Transformers 4.19.2 raises in its place, so that callers
written for that library keep catching it.
"""

import reprlib


class ModelBaseError(Exception):
    """Base of every error of this library."""


class ConfigNotFound(ModelBaseError, OSError):
    """Raised when a model folder or hub repository has no config.json."""


class ConfigUnreadable(ModelBaseError, OSError):
    """Raised when config.json cannot be read as one JSON object."""


class UnsupportedConfig(ModelBaseError, ValueError):
    """Raised when a configuration asks for mathematics that is not implemented.

    Attributes:
        field: name of the configuration field.
        value: value seen.
    """

    def __init__(self, field: str, value: object, accepted: str) -> None:
        super().__init__(f"config field {field!r} is {reprlib.repr(value)}; accepted: {accepted}")
        self.field = field
        self.value = value


class CheckpointNotFound(ModelBaseError, OSError):
    """Raised when there is no weight file of the kind that was asked for."""


class CheckpointUnreadable(ModelBaseError, OSError):
    """Raised when a weight file or index is damaged or not what its name says."""


class UnsafeCheckpoint(CheckpointUnreadable):
    """Raised when reading a file would run code or leave the checkpoint's folder."""


class CheckpointMismatch(ModelBaseError, RuntimeError):
    """Raised when stored tensors do not have the shapes that the model has."""


class CorruptCheckpoint(ModelBaseError, ValueError):
    """Raised when a checkpoint holds base-model names with and without their prefix."""


class HubUnavailable(ModelBaseError, OSError):
    """Raised when a hub repository, revision or file cannot be had.

    Attributes:
        reason: one word for counting: ``unreachable``, ``not_found``, ``refused``, ``damaged``,
            ``slow`` or ``conflict``.
    """

    def __init__(self, text: str, reason: str = "unreachable") -> None:
        super().__init__(text)
        self.reason = reason


class HubConflict(HubUnavailable):
    """Raised when a push is refused because the repository has got another commit meanwhile."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "conflict")
