"""TFModelUtilsMixin: the size of a model.

Source: transformers 4.19.2, ``modeling_tf_utils.TFModelUtilsMixin``.
"""

import math
from collections.abc import Iterator
from typing import Any

import keras


def named_variables(model: Any) -> dict[str, Any]:
    """Every weight by the path of names that leads to it, ``bert/pooler/dense/kernel``.

    Keras 3 leaves the scopes out of the names of variables that a layer makes outside its call, so
    the names are walked here. What two layers share goes by the first path.
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, variable in _walked(model, ""):
        if id(variable) not in seen:
            assert name not in found, f"two weights of {type(model).__name__} are called {name}"
            seen.add(id(variable))
            found[name] = variable
    return found


def _walked(layer: Any, path: str) -> Iterator[tuple[str, Any]]:
    for variable in (*layer._trainable_variables, *layer._non_trainable_variables):
        yield path + variable.name, variable
    for child in layer._layers:  # Keras has no public list of a layer's own
        if isinstance(child, keras.layers.Layer):
            own_path = getattr(child, "checkpoint_path", None)
            yield from _walked(child, own_path or f"{path}{child.name}/")


class TFModelUtilsMixin:
    """A few utilities for ``keras.Model``, to be used as a mixin."""

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Number of values in the weights, shared ones counted once.

        Args:
            only_trainable: leave out those that training does not change.
        """
        return sum(
            math.prod(variable.shape)
            for variable in named_variables(self).values()
            if variable.trainable or not only_trainable
        )
