"""Rules: what they rename, split and join, and that they are undone."""

import numpy as np
import pytest

from model_base.checkpoints.base import Loaded
from model_base.conversion.conventions import Convention, flax_names, keras_names, torch_names
from model_base.conversion.rules import (
    LEGACY,
    Join,
    Recipe,
    Rename,
    RenameScope,
    Rule,
    Same,
    Scalar,
    Split,
    Vector,
    apply_rules,
)
from model_base.loading.match import canonical

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
    assert np.array_equal(recipes["a.k"].apply({"a.qkv": values}.get), values[2:4])


def test_several_tensors_become_one() -> None:
    recipes = Join(("q", "k"), "qk", axis=1).apply(stored("a.q", "a.k", "b.q"))
    assert set(recipes) == {"a.qk", "b.q"}
    assert recipes["a.qk"].sources == ("a.q", "a.k")
    assert recipes["a.qk"].shape({"a.q": (2, 3), "a.k": (2, 5)}) == (2, 8)


def test_a_scope_changes_wherever_it_stands_but_not_as_the_last_component() -> None:
    renamed = RenameScope("h", "layers").apply(stored("h.0.w", "a.h.1.w", "a.h", "ah.0.w"))
    assert list(renamed) == ["layers.0.w", "a.layers.1.w", "a.h", "ah.0.w"]


@pytest.mark.parametrize(
    "rule",
    [
        Rename("qkv", "new"),
        RenameScope("a", "b"),
        Split("qkv", ("q", "k", "v")),
        Join(("qkv", "other"), "both"),
    ],
)
def test_a_rule_and_its_inverse_keep_the_names(rule: Rule) -> None:
    there = rule.apply(stored(*NAMES))
    back = rule.inverse().apply({name: Recipe((name,)) for name in there})
    assert set(back) == set(NAMES)
    assert rule.inverse().inverse() == rule


@pytest.mark.parametrize("axis", [0, 1])
def test_joining_what_was_split_is_the_stored_tensor_again(axis: int) -> None:
    rule = Split("qkv", ("q", "k", "v"), axis)
    assert rule.inverse().apply(rule.apply(stored("a.qkv"))) == stored("a.qkv")


def test_parts_out_of_order_are_put_together_as_asked() -> None:
    values = np.arange(4)
    split = Split("qk", ("q", "k")).apply(stored("qk"))
    turned = Join(("k", "q"), "kq").apply(split)["kq"]
    assert turned.apply({"qk": values}.get).tolist() == [2, 3, 0, 1]


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_number_is_read_from_a_vector_of_one_too(shape: tuple[int, ...]) -> None:
    recipes = Scalar("scale").apply(stored("a.scale", "a.scales"))
    assert recipes["a.scale"].shape({"a.scale": shape}) == ()
    assert recipes["a.scale"].apply({"a.scale": np.full(shape, 2.5)}.get).tolist() == 2.5
    assert recipes["a.scales"].ops == ()


def test_a_tensor_of_two_names_is_known_by_both() -> None:
    rule, both = Same("x.bias", "x.decoder.bias"), stored("a.x.bias", "a.x.decoder.bias")
    assert rule.apply(both) == both
    alone = rule.apply(stored("a.x.bias", "x.bias_1"))
    assert list(alone) == ["a.x.bias", "x.bias_1", "a.x.decoder.bias"]
    assert alone["a.x.decoder.bias"].sources == ("a.x.bias",)
    assert list(rule.apply(stored("x.decoder.bias"))) == ["x.decoder.bias", "x.bias"]


# How each framework stores the canonical kernels q, k [out, in] and the canonical qk [q; k].
CONVENTIONS = {
    torch_names: ("l.{}.weight", np.asarray),
    keras_names: ("l/{}/kernel:0", np.transpose),
    flax_names: ("l/{}/kernel", np.transpose),
}
Q, K = np.arange(6.0).reshape(2, 3), np.arange(6.0, 12.0).reshape(2, 3)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=lambda c: c.__name__)
def test_rules_work_on_files_of_every_framework(convention: Convention) -> None:
    spelling, layout = CONVENTIONS[convention]
    apart = Loaded({spelling.format("q"): layout(Q), spelling.format("k"): layout(K)})
    whole = Loaded({spelling.format("qk"): layout(np.concatenate([Q, K]))})
    join, split = Join(("q.weight", "k.weight"), "qk.weight"), Split("qk.weight", ("q", "k"))
    joined = canonical(apart, convention, [join])["l.qk.weight"]
    assert np.array_equal(joined.apply(apart.read), np.concatenate([Q, K]))
    parts = canonical(whole, convention, [split])
    assert np.array_equal(parts["l.k"].apply(whole.read), K)


def test_a_vector_has_one_axis_however_it_is_stored() -> None:
    recipes = {"h.0.c_attn.bias": Recipe(("stored",)), "ln.bias": Recipe(("other",))}
    found = apply_rules(recipes, [Vector("c_attn.bias")])
    assert found["ln.bias"] == recipes["ln.bias"]
    for shape in ((1, 6), (6,)):
        assert found["h.0.c_attn.bias"].shape({"stored": shape}) == (6,)
        assert found["h.0.c_attn.bias"].apply(lambda _, s=shape: np.ones(s)).shape == (6,)
    assert Vector("a").inverse() == Vector("a")
