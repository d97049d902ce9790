"""Tells Keras how outputs are taken apart and put together: models can then be parts of others.

Without it ``keras.Model(ids, TFBertModel(config)(ids).pooler_output)`` is refused: Keras knows
tensors in lists and mappings only. Outputs that other packages define are registered alike. Trunk
layers are parts of others with ``return_dict=False``.
"""

from typing import Any

import optree

from model_base import outputs
from model_base.outputs import ModelOutput


def register(output_class: type[ModelOutput]) -> None:
    """Make an output's entries known to Keras."""
    optree.register_pytree_node(output_class, _taken_apart, _maker(output_class), namespace="keras")


def _taken_apart(output: Any) -> tuple[list[Any], tuple[str, ...]]:
    return list(output.values()), tuple(output)


def _maker(output_class: type[ModelOutput]) -> Any:
    return lambda names, values: output_class(**dict(zip(names, values, strict=True)))


for _found in vars(outputs).values():
    if isinstance(_found, type) and issubclass(_found, ModelOutput):
        register(_found)
