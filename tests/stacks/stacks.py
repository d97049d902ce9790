"""The stacks behind one interface: what the contract needs of a model, in arrays."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pytest

import model_base

Arrays = Mapping[str, np.ndarray]


class Stack(Protocol):
    """One framework's way to make, run and describe models."""

    name: str

    def model_class(self, name: str) -> Any:
        """The class that PyTorch calls ``name``."""

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        """Every weight once, by canonical name, in PyTorch's layout."""

    def randomize(self, model: Any) -> None:
        """Give every weight random values, biases and norms included."""

    def run(self, model: Any, inputs: Arrays, **asked: Any) -> Any:
        """The output, not training."""

    def words(self, model: Any) -> np.ndarray:
        """The words' embeddings ``[V, H]``."""


class TorchStack:
    """PyTorch."""

    name = "torch"

    def model_class(self, name: str) -> Any:
        return getattr(model_base, name)

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        names = dict(model.named_parameters())
        return {name: tensor.detach().numpy().copy() for name, tensor in names.items()}

    def randomize(self, model: Any) -> None:
        import torch

        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)

    def run(self, model: Any, inputs: Arrays, **asked: Any) -> Any:
        import torch

        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        with torch.no_grad():
            return model.eval()(**tensors, **asked)

    def words(self, model: Any) -> np.ndarray:
        return model.get_input_embeddings().weight.detach().numpy().copy()


class TensorFlowStack:
    """TensorFlow."""

    name = "tensorflow"

    def model_class(self, name: str) -> Any:
        return getattr(model_base, f"TF{name}")

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        from model_base.tensorflow.loading import canonical_arrays

        return {name: np.array(array) for name, array in canonical_arrays(model).items()}

    def randomize(self, model: Any) -> None:
        random = np.random.default_rng(0)
        for variable in model.weights:
            noise = random.normal(size=variable.shape, scale=0.05)
            variable.assign(variable.numpy() + noise.astype(np.float32))

    def run(self, model: Any, inputs: Arrays, **asked: Any) -> Any:
        import tensorflow as tf

        narrow = {n: a.astype(np.int32) if a.dtype == np.int64 else a for n, a in inputs.items()}
        tensors = {name: tf.constant(array) for name, array in narrow.items()}
        return model(**tensors, **asked, training=False)

    def words(self, model: Any) -> np.ndarray:
        return model.get_input_embeddings().weight.numpy()


STACKS: tuple[Any, ...] = (
    TorchStack(),
    pytest.param(TensorFlowStack(), marks=pytest.mark.tensorflow),
)
