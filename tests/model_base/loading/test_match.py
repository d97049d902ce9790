"""Matching what a model wants with what a checkpoint holds."""

from typing import Any

import numpy as np
import pytest

from model_base.checkpoints.base import Loaded
from model_base.conversion.conventions import keras_names, torch_names
from model_base.conversion.rules import LEGACY, Recipe, Split
from model_base.errors import CheckpointMismatch, CorruptCheckpoint
from model_base.loading.match import Match, Wanted, canonical, match

BASE = ("embed.weight", "pooler.weight")
HEAD = ("bert.embed.weight", "bert.pooler.weight", "classifier.weight")


def wanted(*names: Any, **options: Any) -> Wanted:
    """Each name is one tensor of shape (2,); a tuple of names is one tied tensor."""
    groups = [(name if isinstance(name, tuple) else (name,), (2,)) for name in names]
    return Wanted("Model", groups, **({"prefix": "bert"} | options))


def found(want: Wanted, *stored: str, shapes: dict[str, tuple[int, ...]] | None = None,
          **options: Any) -> Match:  # fmt: skip
    recipes = {name: Recipe((name,)) for name in stored}
    sizes = dict.fromkeys(stored, (2,)) | (shapes or {})
    return match(want, recipes, sizes, label="the file", **options)


def taken(result: Match) -> dict[str, str]:
    return {name: recipe.sources[0] for name, recipe in result.recipes.items()}


def test_equal_names_match() -> None:
    result = found(wanted(*HEAD), *HEAD)
    assert taken(result) == {name: name for name in HEAD}
    assert (result.report.missing, result.report.unexpected, result.empty) == ([], [], [])


def test_a_base_checkpoint_fits_the_trunk_of_a_model_with_a_head() -> None:
    result = found(wanted(*HEAD), *BASE)
    assert taken(result) == {f"bert.{name}": name for name in BASE}
    assert result.report.missing == result.empty == ["classifier.weight"]


def test_a_checkpoint_with_a_head_fits_a_base_model() -> None:
    result = found(wanted(*BASE), *HEAD)
    assert taken(result) == {name: f"bert.{name}" for name in BASE}
    assert result.report.unexpected == ["classifier.weight"]


def test_a_base_checkpoint_fits_a_base_model() -> None:
    assert taken(found(wanted(*BASE), *BASE)) == {name: name for name in BASE}


@pytest.mark.parametrize("stored", [(1, 2), (2, 1), (2, 1, 1)])
def test_axes_of_length_one_are_no_difference_in_files_of_other_frameworks(
    stored: tuple[int, ...],
) -> None:
    shapes = {"embed.weight": stored}
    result = found(wanted("embed.weight"), "embed.weight", shapes=shapes, reshape=True)
    values = np.arange(2).reshape(stored)
    assert result.recipes["embed.weight"].apply(lambda name: values).tolist() == [0, 1]
    with pytest.raises(CheckpointMismatch):
        found(wanted("embed.weight"), "embed.weight", shapes=shapes)


def test_other_shapes_of_as_many_values_are_a_difference() -> None:
    want = Wanted("Model", [(("embed.weight",), (4, 3))])
    with pytest.raises(CheckpointMismatch):
        found(want, "embed.weight", shapes={"embed.weight": (3, 4)}, reshape=True)


def test_a_model_without_prefix_is_compared_as_it_is() -> None:
    result = found(wanted(*BASE, prefix=""), *HEAD)
    assert (taken(result), result.report.missing) == ({}, list(BASE))


def test_a_prefix_counts_as_a_whole_component_only() -> None:
    result = found(wanted("bertram.weight"), "bertram.weight")
    assert taken(result) == {"bertram.weight": "bertram.weight"}


def test_a_data_parallel_prefix_is_not_taken_off() -> None:
    result = found(wanted(*HEAD), *(f"module.{name}" for name in HEAD))
    assert result.report.missing == list(HEAD)
    assert len(result.report.unexpected) == 3


def test_a_head_s_names_beside_base_names_are_corrupt() -> None:
    with pytest.raises(CorruptCheckpoint, match=r"the file is corrupted.*'classifier\.weight'"):
        found(wanted(*HEAD), *BASE, "classifier.weight")


def test_a_head_alone_is_not_corrupt() -> None:
    result = found(wanted(*HEAD), "classifier.weight")
    assert result.report.missing == ["bert.embed.weight", "bert.pooler.weight"]


def test_names_to_ignore_are_not_reported_but_are_left_empty() -> None:
    want = wanted(*HEAD, ignore_missing=[r"pooler"], ignore_unexpected=[r"position_ids$"])
    result = found(want, "bert.embed.weight", "classifier.weight", "bert.position_ids", "bert.x")
    assert (result.report.missing, result.report.unexpected) == ([], ["bert.x"])
    assert result.empty == ["bert.pooler.weight"]


@pytest.mark.parametrize("stored", ["decoder.weight", "bert.embed.weight"])
def test_a_tied_tensor_is_found_under_any_of_its_names(stored: str) -> None:
    want = wanted(("bert.embed.weight", "decoder.weight"), "bert.other")
    result = found(want, stored, "bert.other")
    assert taken(result)["bert.embed.weight"] == stored
    assert (result.report.missing, result.report.unexpected) == ([], [])


def test_the_owner_s_name_wins_if_a_tied_tensor_is_stored_twice() -> None:
    want = wanted(("bert.embed.weight", "decoder.weight"))
    result = found(want, "decoder.weight", "bert.embed.weight")
    assert taken(result) == {"bert.embed.weight": "bert.embed.weight"}
    assert result.report.unexpected == []


def test_other_shapes_are_refused_all_at_once() -> None:
    shapes = {"bert.embed.weight": (3,), "classifier.weight": (2, 2)}
    with pytest.raises(CheckpointMismatch) as caught:
        found(wanted(*HEAD), *HEAD, shapes=shapes)
    for part in ("Model", "the file", "bert.embed.weight: stored (3,)", "classifier.weight",
                 "ignore_mismatched_sizes"):  # fmt: skip
        assert part in str(caught.value)


def test_other_shapes_may_be_left_out() -> None:
    shapes = {"classifier.weight": (3,)}
    result = found(wanted(*HEAD), *HEAD, shapes=shapes, ignore_mismatched=True)
    assert result.report.mismatched == [("classifier.weight", (3,), (2,))]
    assert result.empty == ["classifier.weight"]
    assert (result.report.missing, result.report.unexpected) == ([], [])


def test_a_tensor_that_a_rule_cannot_take_apart_is_a_mismatch() -> None:
    recipes = Split("qk", ("q", "k")).apply({"qk": Recipe(("qk",))})
    for shape in ((3,), ()):
        with pytest.raises(CheckpointMismatch, match="qk"):
            match(wanted("q", "k"), recipes, {"qk": shape}, label="the file")


def test_names_that_an_index_promises_in_vain_are_missing_if_wanted_else_unexpected() -> None:
    result = found(wanted(*HEAD), *HEAD[:2], absent=["classifier.weight", "bert.extra"])
    assert result.report.missing == ["classifier.weight"]
    assert result.report.unexpected == ["bert.extra"]


def test_canonical_names_know_their_stored_name_and_layout() -> None:
    arrays = {"a/kernel:0": np.zeros((2, 3)), "a/qk:0": np.zeros(4), "n/gamma:0": np.zeros(3)}
    recipes = canonical(Loaded(arrays), keras_names, [Split("qk", ("q", "k"))])
    assert set(recipes) == {"a.weight", "a.q", "a.k", "n.weight"}
    shapes = {name: array.shape for name, array in arrays.items()}
    assert recipes["a.weight"].shape(shapes) == (3, 2)
    assert recipes["a.k"].sources == ("a/qk:0",)


def test_names_change_by_the_rules_given_and_no_others() -> None:
    file = Loaded({"n.gamma": np.zeros(2), "n.beta": np.zeros(2)})
    assert set(canonical(file, torch_names, LEGACY)) == {"n.weight", "n.bias"}
    assert set(canonical(file, torch_names, ())) == {"n.gamma", "n.beta"}
