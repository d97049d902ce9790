"""Rules that an architecture keeps beside its configuration: how stored names became ours.

A rule is applied to the *canonical* names (see ``conventions.py``), so one table serves files of
every framework. Each rule can be inverted, which is how old formats are written.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from model_base.conversion.ops import Array, Concat, Op, Ravel, Reshape, Shape, Take


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one tensor of ours is made.

    Attributes:
        inputs: stored names, or recipes of what is put together here; in the order of the op.
        ops: applied one after another; the first takes all inputs, the others one array.
    """

    inputs: tuple["str | Recipe", ...]
    ops: tuple[Op, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The stored names, in the order they are read."""
        each = ((i,) if isinstance(i, str) else i.sources for i in self.inputs)
        return tuple(name for names in each for name in names)

    def shape(self, stored: Mapping[str, Shape]) -> Shape:
        """Shape of the result, from the stored shapes."""
        shapes = [stored[i] if isinstance(i, str) else i.shape(stored) for i in self.inputs]
        for op in self.ops:
            shapes = [op.shape(shapes)]
        return shapes[0]

    def apply(self, read: Callable[[str], Array]) -> Array:
        """The result; ``read`` gives a stored tensor by name."""
        arrays = [read(i) if isinstance(i, str) else i.apply(read) for i in self.inputs]
        for op in self.ops:
            arrays = [op.apply(arrays)]
        return arrays[0]

    def then(self, *ops: Op) -> "Recipe":
        """This recipe followed by ``ops``."""
        return Recipe(self.inputs, (*self.ops, *ops))


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
class RenameScope(Rule):
    """``old`` becomes ``new`` where it stands as whole dotted components before the last one.

    ``RenameScope("h", "layers")`` changes ``h.0.ln.weight`` and ``a.h.0.ln.weight``, but neither
    ``a.h`` nor ``ah.0.weight``.
    """

    old: str
    new: str

    @override
    def apply(self, recipes: Recipes) -> Recipes:
        pattern = re.compile(rf"(?:^|(?<=\.)){re.escape(self.old)}(?=\.)")
        return {pattern.sub(self.new, name): recipe for name, recipe in recipes.items()}

    @override
    def inverse(self) -> "RenameScope":
        return RenameScope(self.new, self.old)


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

    Parts of one tensor, all of them and in order, become that tensor again; others are
    concatenated. A group with a member absent is left as it is.
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
            members = [recipes[stem + part] for part in self.old if stem + part in recipes]
            if len(members) == len(self.old):
                for part in self.old:
                    del result[stem + part]
                result[stem + self.new] = self._joined(members)
        return result

    def _joined(self, members: list[Recipe]) -> Recipe:
        count = len(members)
        whole = Recipe(members[0].inputs, members[0].ops[:-1])
        if members == [whole.then(Take(self.axis, index, count)) for index in range(count)]:
            return whole
        return Recipe(tuple(members), (Concat(self.axis),))

    @override
    def inverse(self) -> "Split":
        return Split(self.new, self.old, self.axis)


@dataclass(frozen=True, slots=True)
class Scalar(Rule):
    """``….name`` is one number of ours; Keras stores it as a vector of one."""

    name: str

    @override
    def apply(self, recipes: Recipes) -> Recipes:
        return {
            name: recipe if _stem(name, self.name) is None else recipe.then(Reshape(()))
            for name, recipe in recipes.items()
        }

    @override
    def inverse(self) -> "Scalar":
        return self


@dataclass(frozen=True, slots=True)
class Vector(Rule):
    """``….name`` has one axis; Keras stores some of them as ``[1, n]``."""

    name: str

    @override
    def apply(self, recipes: Recipes) -> Recipes:
        return {
            name: recipe if _stem(name, self.name) is None else recipe.then(Ravel())
            for name, recipe in recipes.items()
        }

    @override
    def inverse(self) -> "Vector":
        return self


@dataclass(frozen=True, slots=True)
class Same(Rule):
    """``….one`` and ``….other`` are one tensor; where only one of them is stored, it is both."""

    one: str
    other: str

    @override
    def apply(self, recipes: Recipes) -> Recipes:
        result = dict(recipes)
        for here, there in ((self.one, self.other), (self.other, self.one)):
            for name, recipe in recipes.items():
                if (stem := _stem(name, here)) is not None:
                    result.setdefault(stem + there, recipe)
        return result

    @override
    def inverse(self) -> "Same":
        return self


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
