"""Types of a forward's arguments; None leaves the choice to the configuration or a default."""

from torch import Tensor

Maybe = Tensor | None
Flag = bool | None
