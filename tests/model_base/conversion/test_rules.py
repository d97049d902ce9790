"""Rules: what they rename, split and join, and that they are undone."""

import numpy as np
import pytest

from model_base.conversion.rules import LEGACY, Join, Recipe, Rename, Rule, Split, apply_rules

NAMES = ("a.qkv", "a.qkv.b", "my_qkv", "a.other", "qkv")


def stored(*names: str) -> dict[str, Recipe]:
    return {name: Recipe((name,)) for name in names}


def test_a_name_changes_as_whole_components_at_its_end() -> None:
    renamed = Rename("x.old", "x.new").apply(
        stored("x.old", "a.x.old", "ax.old", "x.old.b", "x.older", "old")
    )
    assert list(renamed) == ["x.new", "a.x.new", "ax.old", "x.old.b", "x.older", "old"]
    assert renamed["a.x.new"].sources == ("a.x.old",)


def test_the_old_names_of_layer_norm_are_understood_everywhere() -> None:
    names = apply_rules(stored("n.LayerNorm.gamma", "n.LayerNorm.beta", "gamma_1.x"), LEGACY)
    assert list(names) == ["n.LayerNorm.weight", "n.LayerNorm.bias", "gamma_1.x"]


def test_one_tensor_becomes_several() -> None:
    values = np.arange(12).reshape(6, 2)
    recipes = Split("qkv", ("q", "k", "v")).apply(stored("a.qkv", "a.o"))
    assert set(recipes) == {"a.q", "a.k", "a.v", "a.o"}
    assert recipes["a.k"].shape({"a.qkv": values.shape}) == (2, 2)
    assert np.array_equal(recipes["a.k"].apply([values]), values[2:4])


def test_several_tensors_become_one() -> None:
    recipes = Join(("q", "k"), "qk", axis=1).apply(stored("a.q", "a.k", "b.q"))
    assert set(recipes) == {"a.qk", "b.q"}
    assert recipes["a.qk"].sources == ("a.q", "a.k")
    assert recipes["a.qk"].shape({"a.q": (2, 3), "a.k": (2, 5)}) == (2, 8)


def test_tensors_that_were_changed_already_are_not_joined() -> None:
    turned = Split("qk", ("q", "k")).apply(stored("qk"))
    assert Join(("q", "k"), "joined").apply(turned) == turned


@pytest.mark.parametrize(
    "rule", [Rename("qkv", "new"), Split("qkv", ("q", "k", "v")), Join(("qkv", "other"), "both")]
)
def test_a_rule_and_its_inverse_keep_the_names(rule: Rule) -> None:
    there = rule.apply(stored(*NAMES))
    back = rule.inverse().apply({name: Recipe((name,)) for name in there})
    assert set(back) == set(NAMES)
    assert rule.inverse().inverse() == rule


def test_splitting_and_joining_back_keeps_the_values() -> None:
    rule, values = Split("qkv", ("q", "k", "v"), axis=1), np.arange(24).reshape(4, 6)
    parts = {name: recipe.apply([values]) for name, recipe in rule.apply(stored("qkv")).items()}
    whole = rule.inverse().apply(stored(*parts))["qkv"]
    assert np.array_equal(whole.apply([parts[name] for name in whole.sources]), values)
