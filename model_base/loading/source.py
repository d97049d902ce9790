"""An open checkpoint with the meaning of its names, and what a model finds in it."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model_base.checkpoints.base import Checkpoint
from model_base.checkpoints.sharding import ShardedCheckpoint
from model_base.conversion.conventions import torch_names
from model_base.conversion.rules import LEGACY, Recipes, Rule
from model_base.loading.match import Match, Wanted, canonical, match
from model_base.loading.resolve import WeightFiles

Groups = list[tuple[tuple[str, ...], tuple[int, ...]]]
"""Names of each tensor, several if it is tied, and its shape."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open checkpoint and what its names mean.

    Attributes:
        recipes: what it can give, by canonical name.
        label: what messages call it.
        absent: names that its index promises and no shard holds.
        is_foreign: whether another framework wrote it.
    """

    checkpoint: Checkpoint
    recipes: Recipes
    label: str
    absent: Sequence[str] = ()
    is_foreign: bool = False

    @property
    def num_bytes(self) -> int:
        """Of all tensors that are stored."""
        return sum(info.num_bytes for info in self.checkpoint.infos.values())


@contextlib.contextmanager
def open_source(files: WeightFiles, rules: Iterable[Rule]) -> Iterator[Source]:
    """Open weight files; they are closed when the block ends, tensors that were read stay.

    Args:
        files: to be read.
        rules: how canonical names that older versions stored became ours.
    """
    checkpoint = files.open()
    try:
        convention = files.format.convention(checkpoint)
        recipes = canonical(checkpoint, convention, rules)
        absent = checkpoint.absent if isinstance(checkpoint, ShardedCheckpoint) else ()
        yield Source(checkpoint, recipes, files.label, absent, convention is not torch_names)
    finally:
        checkpoint.close()


def rules_of(config_class: Any) -> tuple[Rule, ...]:
    """The rules of an architecture's checkpoints, whoever wrote them."""
    return (*LEGACY, *config_class.weight_rules)


def matched(
    model: Any,
    groups: Groups,
    source: Source,
    ignore_mismatched: bool = False,
    *,
    reshape: bool = False,
) -> Match:
    """What a model of any stack finds in a checkpoint.

    Args:
        model: has a prefix and the two lists of names that may be absent or left over.
        groups: canonical names and shapes of its tensors.
        source: the checkpoint.
        ignore_mismatched: leave tensors of another shape out instead of raising.
        reshape: add and remove axes of length 1, even if the model's own stack wrote the file.

    Raises:
        CheckpointMismatch: stored shapes differ from the model's.
        CorruptCheckpoint: base names without prefix beside the head's names.
    """
    wanted = Wanted(
        type(model).__name__,
        groups,
        model.base_model_prefix,
        model._keys_to_ignore_on_load_missing or (),
        model._keys_to_ignore_on_load_unexpected or (),
    )
    shapes = {name: info.shape for name, info in source.checkpoint.infos.items()}
    return match(
        wanted, source.recipes, shapes, label=source.label,
        absent=source.absent, ignore_mismatched=ignore_mismatched,
        reshape=reshape or source.is_foreign,
    )  # fmt: skip
