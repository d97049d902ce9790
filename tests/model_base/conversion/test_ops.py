"""Ops: what shape they make, and that they are undone."""

import itertools

import numpy as np
import pytest

from model_base.conversion.ops import Concat, Reshape, Take, Transpose

CUBE = np.arange(24).reshape(2, 3, 4)


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_a_transpose_is_undone_by_its_inverse(axes: tuple[int, ...]) -> None:
    op = Transpose(axes)
    turned = op.apply([CUBE])
    assert op.shape([CUBE.shape]) == turned.shape
    assert np.array_equal(op.inverse().apply([turned]), CUBE)


@pytest.mark.parametrize(("axis", "parts"), [(0, 2), (1, 3), (2, 2), (2, 4), (1, 1)])
def test_parts_that_are_taken_concatenate_to_the_whole(axis: int, parts: int) -> None:
    takes = [Take(axis, index, parts) for index in range(parts)]
    taken = [op.apply([CUBE]) for op in takes]
    assert [op.shape([CUBE.shape]) for op in takes] == [part.shape for part in taken]
    joined = Concat(axis)
    assert joined.shape([part.shape for part in taken]) == CUBE.shape
    assert np.array_equal(joined.apply(taken), CUBE)


def test_taking_copies_nothing() -> None:
    assert np.shares_memory(Take(1, 1, 3).apply([CUBE]), CUBE)
    assert np.shares_memory(Transpose((2, 0, 1)).apply([CUBE]), CUBE)


def test_an_axis_that_does_not_split_is_refused_with_its_shape() -> None:
    with pytest.raises(ValueError, match=r"axis 1 of \(2, 3, 4\) does not split into 2"):
        Take(1, 0, 2).shape([CUBE.shape])


def test_a_vector_of_one_becomes_a_number_and_a_longer_one_does_not() -> None:
    op, one = Reshape(()), np.array([2.5])
    assert op.shape([one.shape]) == ()
    assert op.apply([one]) == np.array(2.5)
    with pytest.raises(ValueError, match=r"\(2, 3, 4\) does not have as many values as \(\)"):
        op.shape([CUBE.shape])
