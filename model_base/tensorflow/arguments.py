"""Types of a call's arguments; None leaves the choice to the configuration or a default."""

from typing import Any

Maybe = Any
"""A tensor, or None; TensorFlow ships no types."""
Flag = bool | None
