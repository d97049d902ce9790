"""SavedModels as different libraries write them. Each doubles, so that answers are known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def write_module(folder: Path) -> None:
    """A plain ``tf.Module`` with several signatures, each of its own kind."""
    import tensorflow as tf

    numbers = tf.TensorSpec([None, 3], tf.float32)

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.scale = tf.Variable([2.0, 2.0, 2.0])
            self.table = tf.Variable(tf.range(10.0), trainable=False)

        @tf.function(input_signature=[numbers])  # type: ignore[untyped-decorator]
        def double(self, x: Any) -> Any:
            return {"y": x * self.scale}

        @tf.function(  # type: ignore[untyped-decorator]
            input_signature=[tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([], tf.float64)]
        )
        def look_up(self, ids: Any, plus: Any) -> Any:
            found = tf.cast(tf.gather(self.table, ids), tf.float64) + plus
            return {"found": found, "count": tf.size(ids)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])  # type: ignore[untyped-decorator]
        def shout(self, text: Any) -> Any:
            return {"loud": tf.strings.upper(text), "raw_bytes": text}

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)])  # type: ignore[untyped-decorator]
        def embed(self, ids: Any) -> Any:
            return {
                "vectors": tf.gather(self.table, ids),
                "root": tf.sqrt(tf.cast(ids, tf.float32)),
            }

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float64)])  # type: ignore[untyped-decorator]
        def spin(self, x: Any) -> Any:
            """Counts down to zero; what is too large to be made less by one never gets there."""
            (x,) = tf.while_loop(lambda x: tf.reduce_any(x > 0), lambda x: (x - 1,), (x,))
            return {"y": x}

    module = Module()
    names = ("look_up", "shout", "embed", "spin")
    signatures = {name: getattr(module, name) for name in names} | {
        "serving_default": module.double
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


def write_keras(folder: Path) -> None:
    """What ``model.export`` writes, of a model with an optimizer that has state."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(
                3, kernel_initializer=lambda shape, dtype: 2 * np.eye(3, dtype=dtype)
            ),
        ]
    )
    model.compile("adam", "mse")
    model.export(str(folder), verbose=False)


def write_tf1(folder: Path) -> None:
    """A graph with variables that are no resources, and one signature of a name of its own."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 3], "x")
        scale = v1.get_variable("scale", initializer=[2.0] * 3, use_resource=False)
        y = tf.multiply(x, scale, "y")
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
        builder.add_meta_graph_and_variables(session, ["serve"], {"old": signature})
        builder.save()


DOUBLERS: dict[str, Callable[[Path], None]] = {
    "module": write_module, "keras": write_keras, "tf1": write_tf1,
}  # fmt: skip
"""Each takes ``[B, 3]`` float32 by its default signature, and gives the double."""
