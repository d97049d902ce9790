"""TrainingMixin: Keras' training with the loss that the model computes itself.

Source: transformers 4.19.2, ``TFPreTrainedModel``: ``compile``, ``train_step``, ``test_step``,
``load_repo_checkpoint``.
"""

import inspect
import os
import pickletools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from model_base.checkpoints import TF_H5
from model_base.checkpoints.base import explain_unreadable
from model_base.loading.resolve import WeightFiles
from model_base.loading.source import open_source, rules_of
from model_base.log import get_logger
from model_base.outputs import ModelOutput
from model_base.tensorflow.layers import Tensor
from model_base.tensorflow.loading import fill

logger = get_logger("training")

_MEMOS = ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT")


class TrainingMixin:
    """How a model is trained and evaluated."""

    _using_dummy_loss = False

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = "passthrough", metrics: Any = None,
        loss_weights: Any = None, weighted_metrics: Any = None, run_eagerly: bool | None = None,
        steps_per_execution: int | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        """Configure training, as ``keras.Model.compile``.

        Args:
            optimizer: Keras'.
            loss: ``"passthrough"`` is the mean of the model's own loss; anything else, None
                included, is Keras'.
            metrics: Keras'; none with the model's own loss.
            loss_weights: Keras'.
            weighted_metrics: Keras'.
            run_eagerly: Keras'.
            steps_per_execution: Keras'.
            kwargs: Keras'; ``jit_compile`` is False unless given.

        Raises:
            ValueError: metrics with the model's own loss.
        """
        own = isinstance(loss, str) and loss == "passthrough"
        if own and metrics:
            raise ValueError(
                f"metrics is {metrics!r}, but the model's own loss has none; accepted: None, or "
                "another loss"
            )
        if own:
            logger.warning("No loss specified: the model's own is used; loss=None turns it off")
        self._using_dummy_loss = own
        super().compile(  # type: ignore[misc]
            optimizer=optimizer, loss=None if own else loss, metrics=metrics,
            loss_weights=loss_weights, weighted_metrics=weighted_metrics, run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution or 1,
            **{"jit_compile": False, **kwargs},
        )  # fmt: skip

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of an optimizer; ``loss`` and metrics by name.

        Args:
            data: inputs, or a tuple of inputs, labels, weights. With the model's own loss the
                labels go among the inputs: a tensor under the name of its only argument for
                labels, a mapping under its own names; what is there already stays.
        """
        model: Any = self
        x, y, weight = self._unpacked(data)
        with tf.GradientTape() as tape:
            y_pred = model(x, training=True)
            loss = self._loss_of(x, y, y_pred, weight)
            scaled = model.optimizer.scale_loss(loss)  # of mixed precision
        gradients = tape.gradient(scaled, model.trainable_weights)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_weights, strict=True))
        return self._logs(loss, x, y, y_pred, weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of evaluation; ``data`` and the result are as ``train_step``'s."""
        model: Any = self
        x, y, weight = self._unpacked(data)
        y_pred = model(x, training=False)
        return self._logs(self._loss_of(x, y, y_pred, weight), x, y, y_pred, weight)

    def predict_step(self, data: Any) -> dict[str, Tensor]:
        """The output for a batch as a plain mapping, which Keras can put together."""
        model: Any = self
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        output = model(x, training=False)
        return dict(output) if isinstance(output, ModelOutput) else output

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Keras' loss; of labels and logits alone, by position, that of the head (deprecated)."""
        if len(args) == 2 and not kwargs and hasattr(self, "hf_compute_loss"):
            logger.warning("compute_loss(labels, logits) is called hf_compute_loss now")
            return self.hf_compute_loss(*args)
        return super().compute_loss(*args, **kwargs)  # type: ignore[misc]

    def load_repo_checkpoint(self, repo_path_or_name: str | os.PathLike[str]) -> dict[str, int]:
        """Take up a training that a callback saved: its weights and its epoch.

        Reads ``checkpoint/weights.h5``, and of ``checkpoint/extra_data.pickle`` the epoch alone:
        the optimizer's state in it could only be had by unpickling, which may run code, so the
        optimizer starts anew.

        Args:
            repo_path_or_name: a local folder.

        Returns:
            ``{"epoch": n}``.

        Raises:
            CheckpointUnreadable: a file is damaged.
            FileNotFoundError: a file is absent.
            RuntimeError: the model has not been compiled.
        """
        model: Any = self
        if getattr(model, "optimizer", None) is None:
            raise RuntimeError("load_repo_checkpoint needs a compiled model")
        folder = Path(repo_path_or_name) / "checkpoint"
        weights, extra = folder / "weights.h5", folder / "extra_data.pickle"
        for path in (weights, extra):
            if not path.is_file():
                raise FileNotFoundError(f"{path} is not there")
        epoch, files = _epoch_of(extra), WeightFiles(TF_H5, [weights], str(weights))
        with open_source(files, rules_of(model.config_class)) as source:
            fill(model, source).log(type(model).__name__, source.label)
        logger.warning("the optimizer's state in %s is not read: unpickling may run code", extra)
        return {"epoch": epoch}

    def _unpacked(self, data: Any) -> tuple[Any, Any, Any]:
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        if not self._using_dummy_loss or y is None:
            return x, y, weight
        arguments = [name for name in inspect.signature(self.call).parameters if name != "self"]  # type: ignore[attr-defined]
        inputs = dict(x) if isinstance(x, Mapping) else {arguments[0]: x}
        labels = [name for name in arguments if "label" in name or name.endswith("_positions")]
        if isinstance(y, Mapping):
            found = y
        elif len(labels) == 1:
            found = {labels[0]: y}
        else:
            raise ValueError(f"labels are one tensor; accepted: a mapping of {', '.join(labels)}")
        return {**found, **inputs}, y, weight

    def _loss_of(self, x: Any, y: Any, y_pred: Any, weight: Any) -> Tensor:
        if not self._using_dummy_loss:
            return self.compute_loss(
                x=x, y=y, y_pred=_of_labels(y_pred, y), sample_weight=weight, training=True
            )
        model: Any = self
        if getattr(y_pred, "loss", None) is None:
            raise ValueError("the model computed no loss; accepted: labels among the inputs")
        if weight is not None:
            raise ValueError(
                "sample_weight or class_weight given, but the model's own loss has none; accepted: "
                "weights with another loss"
            )
        return tf.add_n([tf.reduce_mean(y_pred.loss), *model.losses])

    def _logs(self, loss: Tensor, x: Any, y: Any, y_pred: Any, weight: Any) -> dict[str, Any]:
        model: Any = self
        model._loss_tracker.update_state(loss)
        if self._using_dummy_loss:
            return {"loss": model._loss_tracker.result()}
        logs: dict[str, Any] = model.compute_metrics(x, y, _of_labels(y_pred, y), weight)
        return logs


def _of_labels(y_pred: Any, y: Any) -> Any:
    """Of an output what labels are compared with: entries of their names, or the first."""
    if not isinstance(y_pred, ModelOutput):
        return y_pred
    if isinstance(y, Mapping):
        return {name: y_pred[name] for name in y if name in y_pred}
    return next(value for name, value in y_pred.items() if name != "loss")


def _epoch_of(path: Path) -> int:
    """The number that a pickled mapping has under ``epoch``, read without unpickling anything.

    Raises:
        CheckpointUnreadable: there is none.
    """
    follows = False
    try:
        for operation, argument, _ in pickletools.genops(path.read_bytes()):
            if follows and isinstance(argument, int) and "INT" in operation.name:
                return argument
            follows = argument == "epoch" or (follows and operation.name in _MEMOS)
    except ValueError as error:
        raise explain_unreadable(path, error) from error
    raise explain_unreadable(path, "it has no epoch")
