"""What the runners of checkpoints share: the class that weights are for, and what is refused."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_base.auto import AutoConfig, head_class, stored_model
from model_base.constants import TASKS
from model_base.errors import CheckpointMismatch, ModelBaseError
from model_base.hub.files import Folder
from model_base.loading.resolve import KINDS, resolve_any
from service.channel.messages import Load
from service.core.work import Want


class DeviceMissing(ModelBaseError, ValueError):
    """Raised when the device asked for is not on this machine."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint that is to be served.

    Attributes:
        head: the auto class of what is served, without a stack's prefix.
        kind: the class of the stack.
        flags: arguments of ``from_pretrained`` that ask for files of their kind.
    """

    config: Any
    head: str
    kind: Any
    flags: Mapping[str, bool]

    @property
    def task(self) -> str:
        """What it is for."""
        tasks: Mapping[str, str] = {**TASKS, **type(self.config).tasks}
        return tasks[self.head]


def find_stored(order: Load, stack: str) -> Stored:
    """What a folder holds, to be served by a stack; for embeddings the bare trunk.

    Raises:
        ModelBaseError: the folder, or the architecture in that stack, cannot be served.
    """
    files = Folder(Path(order.folder))
    config = AutoConfig.from_pretrained(order.folder)
    head, kind = stored_model(config, stack)
    if order.pooling:
        head, kind = "AutoModel", head_class("AutoModel", config, stack)
    flag = next(k.flag for k in KINDS if k.format is resolve_any(files).format)
    return Stored(config, head, kind, {flag: True} if flag else {})


def likely_want(order: Load, head: str) -> Want:
    """What tasks will ask a model for."""
    if order.pooling:
        return Want.EMBEDDING
    return Want.HIDDEN if head == "AutoModel" else Want.LOGITS


def check_complete(missing: Sequence[str], head: str) -> frozenset[str]:
    """Refuse to serve weights that nobody trained; a bare trunk may lack the pooler.

    Args:
        missing: names of weights or layers that the files lack.
        head: the auto class of what is served.

    Returns:
        Names of outputs that are then not to be given.

    Raises:
        CheckpointMismatch: naming one of the weights that the files lack.
    """
    is_trunk = head == "AutoModel"
    lost = [n for n in missing if not (is_trunk and "pooler" in re.split("[./]", n))]
    if lost:
        raise CheckpointMismatch(
            f"{len(lost)} weights are not in the files, such as {lost[0]}: answers would be random"
        )
    return frozenset({"pooler_output"} if missing else ())
