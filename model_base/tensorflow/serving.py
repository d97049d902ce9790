"""ServingMixin: a model as a graph with a signature, and as a SavedModel.

Source: transformers 4.19.2, ``TFPreTrainedModel.serving``, ``serving_output``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import tensorflow as tf

from model_base.tensorflow.layers import Tensor
from model_base.tensorflow.module_utils import named_variables

_KEPT_IF_ASKED = {
    "hidden_states": "output_hidden_states", "attentions": "output_attentions",
    "cross_attentions": "output_attentions", "encoder_hidden_states": "output_hidden_states",
    "encoder_attentions": "output_attentions", "decoder_hidden_states": "output_hidden_states",
    "decoder_attentions": "output_attentions",
}  # fmt: skip
"""Outputs that are served only if the configuration has them computed."""


class ServingMixin:
    """How a model is served.

    Attributes:
        serving_inputs: names of the integers ``[B, L]`` that the default signature takes.
    """

    config: Any
    serving_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "token_type_ids")

    @property
    def input_signature(self) -> dict[str, Any]:
        """Shapes and dtypes of the default signature's inputs, by name."""
        return {
            name: tf.TensorSpec([None, None], tf.int32, name=name) for name in self.serving_inputs
        }

    @property
    def serving(self) -> Any:
        """The model as a ``tf.function`` of one mapping.

        A traced function keeps the variables that it saw: once resizing or pruning has replaced
        one, the function is made anew.
        """
        variables = tuple(map(id, named_variables(self).values()))
        if getattr(self, "_served", ((), None))[0] != variables:
            function = tf.function(
                self.eager_serving, input_signature=[self.input_signature], jit_compile=False
            )
            self._served = variables, function
        return self._served[1]

    def eager_serving(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What ``serving`` computes, without a graph."""
        model: Any = self
        return self.serving_output(model(dict(inputs), training=False))

    def serving_output(self, output: Any) -> dict[str, Tensor]:
        """The output as tensors by name; what there is for each layer becomes one tensor."""
        served = {}
        for name, value in output.items():
            if not getattr(self.config, _KEPT_IF_ASKED.get(name, ""), True):
                continue
            if name == "past_key_values" and self.config.is_encoder_decoder:
                continue  # of two lengths: it is not one tensor
            served[name] = tf.convert_to_tensor(value)
        return served

    def export(self, filepath: str | os.PathLike[str], format: str = "tf_saved_model") -> None:
        """``export_saved_model``, by the name that Keras gives it.

        Raises:
            ValueError: another format.
            OSError: as there.
        """
        if format != "tf_saved_model":
            raise ValueError(f"format is {format!r}; accepted: 'tf_saved_model'")
        self.export_saved_model(Path(filepath))

    def export_saved_model(self, path: Path) -> None:
        """Write a SavedModel that needs neither this library nor Keras.

        Its signatures are ``serving_default`` with int32 inputs and ``int64_serving``, the same
        with int64.

        Args:
            path: of the folder, which is made.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        holder = tf.Module()
        holder.weights = [variable.value for variable in named_variables(self).values()]
        narrow = self.serving.get_concrete_function()
        signatures = {"serving_default": narrow}
        wide = {name: _int64(spec) for name, spec in self.input_signature.items()}
        if wide != self.input_signature:

            def cast(inputs: Mapping[str, Tensor]) -> Any:
                """The same graph, which is traced once only."""
                specs = self.input_signature
                return narrow({name: tf.cast(inputs[name], specs[name].dtype) for name in specs})

            function = tf.function(cast, input_signature=[wide], jit_compile=False)
            signatures["int64_serving"] = function.get_concrete_function()
        try:
            tf.saved_model.save(holder, str(path), signatures=signatures)
        except tf.errors.OpError as error:
            raise OSError(f"cannot write {path}: {error.message}") from error


def _int64(spec: Any) -> Any:
    dtype = tf.int64 if spec.dtype == tf.int32 else spec.dtype
    return tf.TensorSpec(spec.shape, dtype, name=spec.name)
