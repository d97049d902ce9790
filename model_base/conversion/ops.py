"""Reversible changes of layout. An op says what shape it makes before any data is read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from typing_extensions import override

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]


class Op(Protocol):
    """Turns the arrays of one or several stored tensors into those of one of ours."""

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        """Shape of the result; reads no data."""

    def apply(self, arrays: Sequence[Array]) -> Array:
        """The result; a view where numpy can make one."""


@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """Reorder the axes of one array; ``axes`` as in ``numpy.transpose``."""

    axes: tuple[int, ...]

    @override
    def shape(self, shapes: Sequence[Shape]) -> Shape:
        (shape,) = shapes
        return tuple(shape[axis] for axis in self.axes)

    @override
    def apply(self, arrays: Sequence[Array]) -> Array:
        (array,) = arrays
        return array.transpose(self.axes)

    def inverse(self) -> "Transpose":
        """The op that undoes this one."""
        return Transpose(tuple(sorted(range(len(self.axes)), key=self.axes.__getitem__)))


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """Another shape of as many values."""

    new_shape: Shape

    @override
    def shape(self, shapes: Sequence[Shape]) -> Shape:
        (shape,) = shapes
        if math.prod(shape) != math.prod(self.new_shape):
            raise ValueError(f"{shape} does not have as many values as {self.new_shape}")
        return self.new_shape

    @override
    def apply(self, arrays: Sequence[Array]) -> Array:
        (array,) = arrays
        return array.reshape(self.new_shape)


@dataclass(frozen=True, slots=True)
class Ravel(Op):
    """The same values along one axis."""

    @override
    def shape(self, shapes: Sequence[Shape]) -> Shape:
        (shape,) = shapes
        return (math.prod(shape),)

    @override
    def apply(self, arrays: Sequence[Array]) -> Array:
        (array,) = arrays
        return array.reshape(-1)


@dataclass(frozen=True, slots=True)
class Take(Op):
    """Part ``index`` of ``parts`` equal parts of one array along ``axis``; undone by Concat."""

    axis: int
    index: int
    parts: int

    @override
    def shape(self, shapes: Sequence[Shape]) -> Shape:
        (shape,) = shapes
        length = shape[self.axis]
        if length % self.parts:
            raise ValueError(f"axis {self.axis} of {shape} does not split into {self.parts}")
        return (*shape[: self.axis], length // self.parts, *shape[self.axis + 1 :])

    @override
    def apply(self, arrays: Sequence[Array]) -> Array:
        (array,) = arrays
        step = self.shape([array.shape])[self.axis]
        window = slice(self.index * step, (self.index + 1) * step)
        return array[(slice(None),) * self.axis + (window,)]


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Several arrays joined along ``axis``, in the order of their names; undone by Take."""

    axis: int

    @override
    def shape(self, shapes: Sequence[Shape]) -> Shape:
        first = shapes[0]
        length = sum(shape[self.axis] for shape in shapes)
        return (*first[: self.axis], length, *first[self.axis + 1 :])

    @override
    def apply(self, arrays: Sequence[Array]) -> Array:
        joined: Array = np.concatenate(list(arrays), axis=self.axis)
        return joined
