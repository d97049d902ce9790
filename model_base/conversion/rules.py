"""Rules that an architecture keeps beside its configuration: how stored names became ours.

A rule is applied to the *canonical* names (see ``conventions.py``), so one table serves files of
every framework. Each rule can be inverted, which is how old formats are written.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from model_base.conversion.ops import Array, Concat, Op, Shape, Take


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one tensor of ours is made.

    Attributes:
        sources: stored names, in the order the first op takes them.
        ops: applied one after another; the first takes all sources, the others one array.
    """

    sources: tuple[str, ...]
    ops: tuple[Op, ...] = ()

    def shape(self, stored: Mapping[str, Shape]) -> Shape:
        """Shape of the result, from the stored shapes."""
        shapes = [stored[name] for name in self.sources]
        for op in self.ops:
            shapes = [op.shape(shapes)]
        return shapes[0]

    def apply(self, arrays: list[Array]) -> Array:
        """The result, from the stored arrays in the order of ``sources``."""
        for op in self.ops:
            arrays = [op.apply(arrays)]
        return arrays[0]

    def then(self, *ops: Op) -> "Recipe":
        """This recipe followed by ``ops``."""
        return Recipe(self.sources, (*self.ops, *ops))


Recipes = dict[str, Recipe]


class Rule(Protocol):
    """One change of names, and of layout where one tensor became several."""

    def apply(self, recipes: Recipes) -> Recipes:
        """Return ``recipes`` under the new names; what the rule does not match is kept."""

    def inverse(self) -> "Rule":
        """The rule that undoes this one."""


@dataclass(frozen=True, slots=True)
class Rename(Rule):
    """``old`` becomes ``new`` where it stands as whole dotted components, at the name's end.

    ``Rename("LayerNorm.gamma", "LayerNorm.weight")`` changes ``a.LayerNorm.gamma``, but neither
    ``gamma_1`` nor ``a.LayerNorm.gamma.b``.
    """

    old: str
    new: str

    @override
    def apply(self, recipes: Recipes) -> Recipes:
        pattern = re.compile(rf"(?:^|(?<=\.)){re.escape(self.old)}$")
        return {pattern.sub(self.new, name): recipe for name, recipe in recipes.items()}

    @override
    def inverse(self) -> "Rename":
        return Rename(self.new, self.old)


@dataclass(frozen=True, slots=True)
class Split(Rule):
    """One stored tensor ``….old`` is ``….new[0]``, ``….new[1]`` and so on, joined."""

    old: str
    new: tuple[str, ...]
    axis: int = 0

    @override
    def apply(self, recipes: Recipes) -> Recipes:
        result: Recipes = {}
        for name, recipe in recipes.items():
            if (stem := _stem(name, self.old)) is None:
                result[name] = recipe
                continue
            for index, part in enumerate(self.new):
                result[stem + part] = recipe.then(Take(self.axis, index, len(self.new)))
        return result

    @override
    def inverse(self) -> "Join":
        return Join(self.new, self.old, self.axis)


@dataclass(frozen=True, slots=True)
class Join(Rule):
    """Several stored tensors ``….old[i]`` make one of ours, ``….new``; others are kept.

    A source may have ops of its own only if all its siblings have none: a joined tensor is made
    by one concatenation first. A group with a member absent is left as it is.
    """

    old: tuple[str, ...]
    new: str
    axis: int = 0

    @override
    def apply(self, recipes: Recipes) -> Recipes:
        result = dict(recipes)
        for name in recipes:
            if (stem := _stem(name, self.old[0])) is None:
                continue
            members = [recipes.get(stem + part) for part in self.old]
            found = [member for member in members if member is not None]
            if len(found) == len(self.old) and all(not member.ops for member in found):
                for part in self.old:
                    del result[stem + part]
                sources = tuple(source for member in found for source in member.sources)
                result[stem + self.new] = Recipe(sources, (Concat(self.axis),))
        return result

    @override
    def inverse(self) -> "Split":
        return Split(self.new, self.old, self.axis)


def _stem(name: str, suffix: str) -> str | None:
    """What stands before ``suffix`` if the name ends in it as whole components, else None."""
    if name == suffix or name.endswith("." + suffix):
        return name[: -len(suffix)]
    return None


LEGACY: tuple[Rule, ...] = (Rename("gamma", "weight"), Rename("beta", "bias"))
"""LayerNorm's names in checkpoints older than 2019; every architecture's rules begin with them."""


def apply_rules(recipes: Recipes, rules: Iterable[Rule]) -> Recipes:
    """Apply ``rules`` one after another."""
    for rule in rules:
        recipes = rule.apply(recipes)
    return recipes
