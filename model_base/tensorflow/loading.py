"""Fill a Keras model from a checkpoint: the only place of the TensorFlow stack that moves bytes.

Source: transformers 4.19.2, ``modeling_tf_utils.load_tf_weights`` (what is reported, and how).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from model_base.checkpoints.base import Array
from model_base.conversion.conventions import keras_names
from model_base.conversion.ops import Transpose
from model_base.conversion.rules import Recipe, Recipes, apply_rules
from model_base.loading.report import LoadReport
from model_base.loading.source import Groups, Source, matched, rules_of
from model_base.tensorflow.layers import start_again
from model_base.tensorflow.module_utils import named_variables

_CHUNK_BYTES = 4 * 2**20


def fill(model: Any, source: Source, *, ignore_mismatched: bool = False) -> LoadReport:
    """Put a checkpoint's tensors into a model that was made to be filled.

    What the checkpoint lacks gets the values that a new model would have. The report speaks of
    whole layers of the model where all their weights are missing or left over.

    Raises:
        CheckpointMismatch: a stored shape is not the model's (unless ``ignore_mismatched``).
        CheckpointUnreadable: stored data are damaged.
    """
    variables = named_variables(model)
    wanted = _canonical(model, variables)
    found = matched(model, groups_of(wanted, variables), source, ignore_mismatched, reshape=True)
    order = {name: number for number, name in enumerate(source.checkpoint.infos)}
    recipes = sorted(found.recipes.items(), key=lambda item: order[item[1].sources[0]])
    for name, recipe in recipes:
        (own,) = wanted[name].sources
        array = recipe.apply(source.checkpoint.read)
        _put(variables[own], from_canonical(array, wanted[name], variables[own].shape))
        for stored in recipe.sources:
            source.checkpoint.release(stored)
    for name in found.empty:
        start_again(variables[wanted[name].sources[0]])
    report = found.report
    report.missing = _by_layer([wanted[n].sources[0] + ":0" for n in report.missing], variables)
    own_layers = set(map(_layer_of, variables))
    report.unexpected = _by_layer(report.unexpected, source.checkpoint.infos, own_layers)
    return report


def _put(variable: Any, array: Array) -> None:
    """Give a variable its values in place: an assignment would take twice its memory besides."""
    assert array.shape == tuple(variable.shape), f"{array.shape} is not {variable.path}'s shape"
    is_one = not isinstance(variable.value, tf.distribute.DistributedValues)
    if not (is_one and array.ndim and array.nbytes):
        variable.assign(array)
        return
    step = max(1, _CHUNK_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), step):
        rows = np.require(array[start : start + step], variable.dtype, "A")
        tf.raw_ops.ResourceStridedSliceAssign(
            ref=variable.value.handle, begin=[start], end=[start + len(rows)], strides=[1],
            value=rows,
        )  # fmt: skip
    tf.raw_ops.DisableCopyOnRead(resource=variable.value.handle)  # else each forward copies it


def _canonical(model: Any, variables: Mapping[str, Any]) -> Recipes:
    """How each canonical tensor would be made of a variable of the model."""
    recipes: Recipes = {}
    for name, variable in variables.items():
        canonical, op = keras_names(name, tuple(variable.shape))
        recipes[canonical] = Recipe((name,), (op,) if op else ())
    return apply_rules(recipes, rules_of(model.config_class))


def groups_of(recipes: Recipes, variables: Mapping[str, Any]) -> Groups:
    """Canonical names and shapes of the model's variables."""
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    return [((name,), recipe.shape(shapes)) for name, recipe in recipes.items()]


def canonical_arrays(model: Any) -> Mapping[str, Array]:
    """The model's weights by canonical name, in PyTorch's layout; views where that is possible."""
    variables = named_variables(model)
    return {
        name: recipe.apply(lambda own: variables[own].numpy())
        for name, recipe in _canonical(model, variables).items()
    }


def from_canonical(array: Array, recipe: Recipe, shape: Iterable[int]) -> Array:
    """The values of a variable, from those of the canonical tensor that ``recipe`` makes of it."""
    for op in reversed(recipe.ops):
        if isinstance(op, Transpose):
            array = op.inverse().apply([array])
    return array.reshape(tuple(shape))


def _layer_of(name: str) -> str:
    return name.split("/", 1)[0] if "/" in name else ""


def _by_layer(names: list[str], all_names: Iterable[str], kept: Iterable[str] = ()) -> list[str]:
    """Names; in place of all the names of a layer, the layer's, unless it is one of ``kept``."""
    counts = Counter(map(_layer_of, all_names))
    whole = {
        layer
        for layer, count in Counter(map(_layer_of, names)).items()
        if layer and count == counts[layer] and layer not in kept
    }
    return list(dict.fromkeys(_layer_of(n) if _layer_of(n) in whole else n for n in names))
