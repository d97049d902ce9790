"""Compare what a model wants with what a checkpoint holds. Reads no tensor data.

Source: transformers 4.19.2, ``PreTrainedModel._load_pretrained_model``; read as behaviour. Here
names are reported in the model's spelling if missing, in the file's if unexpected.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from model_base.checkpoints.base import Checkpoint
from model_base.conversion.conventions import Convention
from model_base.conversion.ops import Reshape, Shape
from model_base.conversion.rules import Recipe, Recipes, Rule, apply_rules
from model_base.errors import CheckpointMismatch, CorruptCheckpoint
from model_base.loading.report import LoadReport


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model asks of a checkpoint.

    Attributes:
        groups: canonical names by which one and the same tensor is known, the owner first;
            tied tensors have several. The shape is that of the tensor.
        prefix: name of the trunk inside a model with a head.
        ignore_missing: patterns of names that may be absent without a word.
        ignore_unexpected: patterns of stored names that may be left over without a word.
    """

    class_name: str
    groups: Sequence[tuple[tuple[str, ...], Shape]]
    prefix: str = ""
    ignore_missing: Sequence[str] = ()
    ignore_unexpected: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """Every name of every tensor."""
        return [name for names, _ in self.groups for name in names]


@dataclass(frozen=True, slots=True)
class Match:
    """The result: for each group that is stored, the recipe that makes it; and the report.

    Attributes:
        recipes: by the group's first name.
        empty: first names of all other groups: missing, ignored or of another shape.
    """

    recipes: Recipes
    empty: list[str]
    report: LoadReport


def canonical(checkpoint: Checkpoint, convention: Convention, rules: Iterable[Rule]) -> Recipes:
    """A recipe for each tensor that a checkpoint can give, by canonical name."""
    recipes: Recipes = {}
    for stored, info in checkpoint.infos.items():
        name, op = convention(stored, info.shape)
        recipes[name] = Recipe((stored,), (op,) if op else ())
    return apply_rules(recipes, rules)


def match(
    wanted: Wanted,
    recipes: Recipes,
    shapes: Mapping[str, Shape],
    *,
    label: str,
    absent: Sequence[str] = (),
    ignore_mismatched: bool = False,
    reshape: bool = False,
) -> Match:
    """Find a recipe for every tensor that is wanted.

    Args:
        wanted: what the model asks for.
        recipes: what the checkpoint can give, by canonical name.
        shapes: stored shapes by stored name.
        label: what messages call the checkpoint.
        absent: names that an index promised and no shard holds; reported as left over unless
            the model wants them, when they are missing.
        ignore_mismatched: leave tensors of another shape out instead of raising.
        reshape: add and remove axes of length 1; other frameworks store some biases as ``[1, n]``.

    Raises:
        CheckpointMismatch: stored shapes differ from the model's.
        CorruptCheckpoint: base names without prefix beside the head's names.
    """
    to_stored = _prefix_change(wanted, recipes, label)
    report = LoadReport()
    found: Recipes = {}
    used: set[str] = set()
    for names, shape in wanted.groups:
        stored = [s for s in map(to_stored, names) if s in recipes]
        used.update(stored)
        if not stored:
            report.missing.append(names[0])
        elif (seen := _made(recipes[stored[0]], shapes)) == shape:
            found[names[0]] = recipes[stored[0]]
        elif reshape and seen is not None and _squeezed(seen) == _squeezed(shape):
            found[names[0]] = recipes[stored[0]].then(Reshape(shape))
        else:
            source = recipes[stored[0]].sources[0]
            report.mismatched.append((source, seen or shapes[source], shape))
    empty = [names[0] for names, _ in wanted.groups if names[0] not in found]
    report.missing = _keep(report.missing, wanted.ignore_missing)
    left = [s for name in recipes if name not in used for s in recipes[name].sources]
    promised = set(map(to_stored, wanted.names)) if absent else set()
    left += [name for name in absent if name not in promised]
    report.unexpected = _keep(list(dict.fromkeys(left)), wanted.ignore_unexpected)
    if report.mismatched and not ignore_mismatched:
        raise _mismatch(wanted.class_name, label, report)
    return Match(found, empty, report)


def _made(recipe: Recipe, shapes: Mapping[str, Shape]) -> Shape | None:
    """The shape that a recipe makes; None if the stored shapes cannot be taken apart by it."""
    try:
        return recipe.shape(shapes)
    except (ValueError, IndexError):
        return None


def _squeezed(shape: Shape) -> Shape:
    return tuple(length for length in shape if length != 1)


def _keep(names: list[str], ignored: Sequence[str]) -> list[str]:
    return [n for n in names if not any(re.search(pattern, n) for pattern in ignored)]


class _PrefixChange:
    """Maps a name of the model to the name under which the checkpoint would hold it."""

    def __init__(self, add: str = "", remove: str = "") -> None:
        self._add, self._remove = add, remove

    def __call__(self, name: str) -> str:
        return self._add + name.removeprefix(self._remove)


def _prefix_change(wanted: Wanted, recipes: Recipes, label: str) -> _PrefixChange:
    """Base checkpoint into a model with a head, or the reverse, or neither."""
    if not wanted.prefix:
        return _PrefixChange()
    prefix = wanted.prefix + "."
    stored = any(name.startswith(prefix) for name in recipes)
    expected = any(name.startswith(prefix) for name in wanted.names)
    if stored and not expected:
        return _PrefixChange(add=prefix)
    if expected and not stored:
        _check_head_is_absent(wanted, recipes, prefix, label)
        return _PrefixChange(remove=prefix)
    return _PrefixChange()


def _check_head_is_absent(wanted: Wanted, recipes: Recipes, prefix: str, label: str) -> None:
    heads = [n for n in wanted.names if not n.startswith(prefix) and n in recipes]
    trunk = [n for n in wanted.names if n.startswith(prefix) and n.removeprefix(prefix) in recipes]
    if heads and trunk:
        raise CorruptCheckpoint(
            f"the checkpoint {label} is corrupted: it holds {heads[0]!r} of "
            f"{wanted.class_name}'s head, but the base model's names lack the prefix {prefix!r} "
            f"(such as {trunk[0].removeprefix(prefix)!r})"
        )


def _mismatch(class_name: str, label: str, report: LoadReport) -> CheckpointMismatch:
    lines = [
        f"Error(s) in loading state_dict for {class_name} from {label}:",
        *(f"size mismatch for {n}: stored {s}, the model has {w}" for n, s, w in report.mismatched),
        "ignore_mismatched_sizes=True leaves these newly initialised",
    ]
    return CheckpointMismatch("\n\t".join(lines))
