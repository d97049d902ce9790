"""One checkpoint in two stacks: what the tests of every TensorFlow architecture share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import torch

import model_base
from model_base.outputs import ModelOutput

Inputs = dict[str, np.ndarray]

TEXT: Inputs = {
    "input_ids": np.array([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
    "token_type_ids": np.array([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]]),
}
"""Two texts, the second one padded."""

CHOICES: Inputs = {name: np.stack([ids, ids[::-1]], axis=1) for name, ids in TEXT.items()}
"""Two questions with two answers each."""

TOKEN_LABELS: Inputs = {"labels": np.array([[1, -100, 2, 0, 1], [2, 1, -100, -100, -100]])}
TEXT_LABELS: Inputs = {"labels": np.array([2, 0])}
CHOICE_LABELS: Inputs = {"labels": np.array([1, 0])}
SPAN_LABELS: Inputs = {"start_positions": np.array([1, 0]), "end_positions": np.array([3, 2])}


def only(inputs: Inputs, *names: str) -> Inputs:
    """Some of the inputs."""
    return {name: inputs[name] for name in names}


def check_parity(
    folder: Path,
    name: str,
    config: Any,
    inputs: Inputs,
    labels: Inputs | None = None,
    renamed: Mapping[str, str] | None = None,
    **asked: Any,
) -> Any:
    """Compare a PyTorch class with the TensorFlow class of the same name, on random weights.

    The TensorFlow model is loaded from what PyTorch saved, as safetensors and as ``.bin``, and
    again from the h5 file that it writes itself; PyTorch reads that, too. Everything that each of
    them returns is compared, with hidden states, attentions and loss; and the default signature,
    a graph, with the eager call.

    Args:
        folder: to save into.
        name: of the PyTorch class; the other one has ``TF`` before it.
        config: the configuration.
        inputs: by name, those of the default signature among them.
        labels: by name.
        renamed: names of TensorFlow's arguments where they are not PyTorch's.
        asked: other arguments of the call, such as ``use_cache``.

    Returns:
        The TensorFlow model that was loaded first.
    """
    torch_class, tf_class = getattr(model_base, name), getattr(model_base, f"TF{name}")
    torch_model = torch_class(config).eval()
    _randomize(torch_model)
    torch_model.save_pretrained(folder / "safetensors")
    torch_model.save_pretrained(folder / "bin", safe_serialization=False)
    model = _loaded(tf_class, folder / "safetensors")
    model.save_pretrained(folder / "h5")

    given, spelled = {**inputs, **(labels or {})}, renamed or {}
    asked = {"output_hidden_states": True, "output_attentions": True, **asked}
    with torch.no_grad():
        expected = torch_model(**{k: torch.tensor(v) for k, v in given.items()}, **asked)
    for other in (model, _loaded(tf_class, folder / "bin", from_pt=True)):
        output = other(**{spelled.get(k, k): as_tf(v) for k, v in given.items()}, **asked)
        assert_same(output, expected)
    again = _loaded(tf_class, folder / "h5")
    assert_same(again(**{spelled.get(k, k): as_tf(v) for k, v in given.items()}, **asked), expected)

    back = torch_class.from_pretrained(folder / "h5", from_tf=True).state_dict()
    for key, tensor in torch_model.state_dict().items():
        torch.testing.assert_close(back[key], tensor, rtol=0, atol=0, msg=key)
    check_serving(model, inputs)
    return model


def check_serving(model: Any, inputs: Inputs) -> None:
    """Compare the default signature with the eager call of the same inputs."""
    named = {key: as_tf(inputs[key], spec.dtype) for key, spec in model.input_signature.items()}
    served, eager = model.serving(named), model(dict(named))
    for key in set(served) - {"past_key_values"}:
        assert_same(served[key], eager[key], key)


def check_cache(model: Any, ids: np.ndarray, **others: Any) -> None:
    """Compare the last tokens' first outputs after a cache of the others with those of one call.

    Args:
        model: a decoder.
        ids: of whole texts ``[B, L]``, without padding.
        others: arguments of all calls, such as an encoder's states.
    """
    tokens = as_tf(ids)
    first = model(tokens[:, :-2], use_cache=True, **others)
    rest = model(tokens[:, -2:], past_key_values=first.past_key_values, use_cache=True, **others)
    assert_same(rest[0], model(tokens, **others)[0][:, -2:])
    assert rest.past_key_values[0][0].shape[2] == ids.shape[1]


def as_tf(array: np.ndarray, dtype: Any = None) -> Any:
    """A tensor; integers become int32."""
    integers = np.issubdtype(array.dtype, np.integer)
    return tf.constant(array, dtype or (tf.int32 if integers else tf.float32))


def assert_same(actual: Any, expected: Any, path: str = "") -> None:
    """Compare tensors, and whatever holds tensors, within 1e-4; a loss by its mean.

    Outputs must have the same entries that are not None.
    """
    if isinstance(expected, ModelOutput | dict):
        assert set(actual) == set(expected), path
        for name in expected:
            assert_same(actual[name], expected[name], f"{path}/{name}")
    elif isinstance(expected, tuple | list):
        assert len(actual) == len(expected), path
        for number, (one, other) in enumerate(zip(actual, expected, strict=True)):
            assert_same(one, other, f"{path}/{number}")
    else:
        found = np.asarray(actual)
        if path == "/loss":
            found = found.mean()
        np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-4, atol=1e-4, err_msg=path)


def _randomize(model: Any) -> None:
    """Biases and factors too, which begin as zeros and ones."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def _loaded(tf_class: Any, folder: Path, **kwargs: Any) -> Any:
    """A model, of which every weight was found and none was left over."""
    model, info = tf_class.from_pretrained(folder, output_loading_info=True, **kwargs)
    assert not any(info.values()), info
    return model
