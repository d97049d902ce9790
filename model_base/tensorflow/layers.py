"""Small Keras layers, and mathematics without weights, that architectures share.

Every layer has its weights from the start, built from sizes and not from inputs, and is named as
the checkpoints of its architecture name it: the path of names from the model to a variable is the
variable's name in a file.

Shape letters: B batch, L length, H hidden, N heads, D head size.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf
from typing_extensions import override

from model_base.activations import activation_kind
from model_base.errors import CheckpointMismatch

Tensor = Any
"""TensorFlow ships no types."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": tf.nn.gelu,
    "gelu_tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * tf.sigmoid(1.702 * x),
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "mish": lambda x: x * tf.tanh(tf.nn.softplus(x)),
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "linear": tf.identity,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function that a configuration calls ``name``.

    Raises:
        UnsupportedConfig: the name is not known.
    """
    return ACTIVATIONS[activation_kind(name)]


class Layer(keras.layers.Layer):
    """Base of all layers here: named, and complete when it is made.

    Attributes:
        checkpoint_path: in place of the path of names that leads here, where checkpoints have
            another one; None as a rule.
    """

    checkpoint_path: str | None = None

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self._allow_non_tensor_positional_args = True  # layouts and numbers of layers
        self.built = True  # nothing is left to be made when it is called

    def variable(self, name: str, shape: tuple[int, ...], start: Any = "zeros") -> Any:
        """A variable of this layer, float32, trainable."""
        if (room := _room.get()) and not isinstance(start, Normal):
            room.take(shape)
        return _with_start(self.add_weight(name=name, shape=shape, initializer=start), start)


class _Room:
    """How much a model that is to be filled may take, before it is known to be the file's.

    Keras makes values at once, so a configuration of absurd sizes would be found out too late.
    """

    def __init__(self, stored_bytes: int) -> None:
        self._stored = stored_bytes
        self._left = 8 * stored_bytes + 2**30

    def take(self, shape: Iterable[int]) -> None:
        self._left -= 4 * math.prod(shape)
        if self._left < 0:
            raise CheckpointMismatch(
                f"the configuration's sizes ask for more than 8 times the {self._stored} bytes of "
                "weights that the files hold and 1 GiB; accepted: the sizes of the stored tensors, "
                "any with ignore_mismatched_sizes=True"
            )


_room: ContextVar[_Room | None] = ContextVar("_room", default=None)
"""Of new layers that are to be filled from a file; each thread has its own."""


class Normal(keras.initializers.TruncatedNormal):
    """How weights start: normal, cut off at two deviations; zeros while a model is to be filled."""

    @override
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        if room := _room.get():
            room.take(shape)
            return tf.zeros(shape, dtype or tf.float32)
        return super().__call__(shape, dtype)


@contextlib.contextmanager
def to_be_filled(stored_bytes: int) -> Iterator[None]:
    """Inside the block new layers are not given random values.

    Args:
        stored_bytes: of the tensors that they are to be filled from.

    Raises:
        CheckpointMismatch: the layers are far larger than that.
    """
    before = _room.set(_Room(stored_bytes))
    try:
        yield
    finally:
        _room.reset(before)


def _with_start(variable: Any, start: Any) -> Any:
    """A variable that knows how it starts."""
    variable.start = start
    return variable


def start_again(variable: Any) -> None:
    """Give a variable the values of a new model's; those that are always the same it has."""
    if isinstance(start := getattr(variable, "start", None), Normal):
        variable.assign(start(variable.shape))


def replace(layer: Any, attribute: str, values: Tensor) -> None:
    """Put a variable of other values, and perhaps of another shape, in the place of one.

    Keras locks what a layer has when it is built, and keeps what it has ever tracked.
    """
    old = getattr(layer, attribute)
    if tuple(old.shape) == tuple(values.shape):
        old.assign(values)
        return
    layer._tracker.unlock()
    layer._untrack_variable(old)
    start = getattr(old, "start", "zeros")
    new = layer.add_weight(name=old.name, shape=tuple(values.shape), initializer="zeros")
    setattr(layer, attribute, _with_start(new, start))
    layer._tracker.lock()
    new.assign(values)


def dense(
    name: str, size_in: int, size_out: int, spread: float = 0.02, *, bias: bool = True
) -> Any:
    """A linear layer: ``kernel [in, out]``, ``bias [out]``."""
    return _built(
        keras.layers.Dense(
            size_out, use_bias=bias, kernel_initializer=Normal(stddev=spread), name=name
        ),
        size_in,
    )


def _built(layer: Any, size_in: int) -> Any:
    layer.build((None, size_in))
    _with_start(layer.kernel, layer.kernel_initializer)
    return layer


def layer_norm(name: str, size: int, eps: float) -> Any:
    """Normalisation over the last axis: ``gamma [size]``, ``beta [size]``."""
    layer = keras.layers.LayerNormalization(epsilon=eps, name=name)
    layer.build((None, size))
    return layer


class Embedding(Layer):
    """A table ``[rows, size]``; its variable goes by the name that checkpoints have."""

    def __init__(
        self, name: str, rows: int, size: int, spread: float = 0.02, table: str = "embeddings"
    ) -> None:
        super().__init__(name)
        self.table = self.variable(table, (rows, size), Normal(stddev=spread))

    @property
    def weight(self) -> Any:
        """The table."""
        return self.table

    @override
    def call(self, ids: Tensor) -> Tensor:
        return tf.gather(self.table, ids)


class DropoutDense(keras.layers.Dense):
    """A linear layer with dropout before it."""

    def __init__(
        self, name: str, size_in: int, size_out: int, dropout_p: float, spread: float = 0.02
    ) -> None:
        super().__init__(size_out, kernel_initializer=Normal(stddev=spread), name=name)
        self.dropout_p = dropout_p
        _built(self, size_in)

    @override
    def call(self, hidden: Tensor, training: bool = False) -> Tensor:
        return super().call(dropout(hidden, self.dropout_p, training))


class Scope(Layer):
    """Layers under one name; each child is an attribute of its own name."""

    def __init__(self, name: str, children: Iterable[Any]) -> None:
        super().__init__(name)
        for child in children:
            setattr(self, child.name, child)


def dropout(hidden: Tensor, rate: float, training: bool) -> Tensor:
    """Zeros at the rate while training; nothing otherwise."""
    return tf.nn.dropout(hidden, rate) if training and rate else hidden


def split_heads(hidden_BLH: Tensor, size: int) -> Tensor:
    """``[B, L, H]`` → ``[B, N, L, D]``."""
    shape = tf.shape(hidden_BLH)
    heads = tf.reshape(hidden_BLH, (shape[0], shape[1], hidden_BLH.shape[-1] // size, size))
    return tf.transpose(heads, (0, 2, 1, 3))


def merge_heads(context_BNLD: Tensor) -> Tensor:
    """``[B, N, L, D]`` → ``[B, L, H]``."""
    num_heads, size = context_BNLD.shape[1], context_BNLD.shape[3]
    shape = tf.shape(context_BNLD)
    heads = tf.transpose(context_BNLD, (0, 2, 1, 3))
    return tf.reshape(heads, (shape[0], shape[2], num_heads * size))


def flat_rows(tensor: Tensor) -> Tensor:
    """``[B, C, L, …]`` → ``[B · C, L, …]``."""
    shape = tf.shape(tensor)
    return tf.reshape(tensor, tf.concat(([-1], shape[2:]), axis=0))


class Patches(Layer):
    """Images as vectors of their parts: ``kernel [Y, X, in, out]``, ``bias [out]``."""

    def __init__(
        self, name: str, channels: int, size_out: int, sides: tuple[int, int],
        spread: float = 0.02, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(name)
        self.sides = sides
        shape = (*sides, channels, size_out)
        self.kernel = self.variable("kernel", shape, Normal(stddev=spread))
        self.bias = self.variable("bias", (size_out,)) if bias else None

    @override
    def call(self, pixels_BCYX: Tensor) -> Tensor:
        """``[B, C, Y, X]`` → ``[B, P, H]``, rows first."""
        pixels_BYXC = tf.transpose(tf.cast(pixels_BCYX, tf.float32), (0, 2, 3, 1))
        patches_BYXH = tf.nn.conv2d(pixels_BYXC, self.kernel, self.sides, "VALID")
        if self.bias is not None:
            patches_BYXH += self.bias
        return tf.reshape(patches_BYXH, (tf.shape(patches_BYXH)[0], -1, self.kernel.shape[-1]))


def height_and_width(size: Any) -> tuple[int, int]:
    """Of a size that may be one number."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def of_size(pixels_BCYX: Tensor, size: tuple[int, int], advice: str = "") -> Tensor:
    """The images, if they have this height and width.

    Raises:
        ValueError: they have another one; while a graph runs, InvalidArgumentError.
    """
    pixels_BCYX = tf.convert_to_tensor(pixels_BCYX)
    found = pixels_BCYX.shape[2:]
    if not found.is_compatible_with(size):
        raise ValueError(
            f"images of {'*'.join(map(str, found))} pixels; accepted: {size[0]}*{size[1]}{advice}"
        )
    return tf.ensure_shape(pixels_BCYX, (*pixels_BCYX.shape[:2], *size))


def resized_grid(table_PH: Tensor, old: tuple[int, int], new: tuple[Tensor, Tensor]) -> Tensor:
    """Embeddings of a grid's places, rows first, for a grid of another height and width.

    Source: Keys 1981 with the parameter -0.75, edges repeated: PyTorch's bicubic interpolation.
    """
    grid_YXH = tf.reshape(table_PH, (*old, table_PH.shape[-1]))
    rows, columns = (_cubic(*sizes) for sizes in zip(old, new, strict=True))
    return tf.reshape(
        tf.einsum("ay,bx,yxh->abh", rows, columns, grid_YXH), (-1, table_PH.shape[-1])
    )


def _cubic(old: int, new: Tensor) -> Tensor:
    """``[new, old]``: how much each old place counts for each new one."""
    place = (tf.range(new, dtype=tf.float32) + 0.5) * (old / tf.cast(new, tf.float32)) - 0.5
    near = tf.floor(place)[:, None] + tf.range(-1.0, 3.0)
    d = tf.abs(place[:, None] - near)
    inner = (1.25 * d - 2.25) * d * d + 1
    outer = -0.75 * (((d - 5) * d + 8) * d - 4)
    weight = tf.where(d <= 1, inner, tf.where(d < 2, outer, 0.0))
    owner = tf.clip_by_value(tf.cast(near, tf.int32), 0, old - 1)
    return tf.reduce_sum(tf.one_hot(owner, old) * weight[..., None], axis=1)


class SequenceSummary(Layer):
    """One vector of a sequence's states, by the ``summary`` fields of a configuration.

    Args:
        config: ``summary_type`` says what is read: ``last``, ``first``, ``mean``, or the token
            that the caller names (``cls_index``); the others what becomes of it.
        spread: of the projection's first weights.
        num_labels: size of the result, if ``summary_proj_to_labels``.
        name: in checkpoints.
    """

    def __init__(
        self, config: Any, spread: float, num_labels: int = 1, name: str = "sequence_summary"
    ) -> None:
        super().__init__(name)
        self.config = config
        size = num_labels if config.summary_proj_to_labels else config.hidden_size
        has_projection = config.summary_use_proj
        self.summary = (
            dense("summary", config.hidden_size, size, spread) if has_projection else None
        )
        self.activation = activation(config.summary_activation or "linear")

    @override
    def call(self, hidden: Tensor, index: Tensor = None, training: bool = False) -> Tensor:
        """``[…, L, H]`` and integers ``[…]`` (None: the last token) → ``[…, size]``."""
        kind = self.config.summary_type
        if kind == "first":
            chosen = hidden[..., 0, :]
        elif kind == "mean":
            chosen = tf.reduce_mean(hidden, axis=-2)
        elif kind == "last" or index is None:
            chosen = hidden[..., -1, :]
        else:
            chosen = tf.gather(hidden, index, batch_dims=len(hidden.shape) - 2)
        chosen = dropout(chosen, self.config.summary_first_dropout, training)
        summary = chosen if self.summary is None else self.summary(chosen)
        last_p = getattr(self.config, "summary_last_dropout", 0.0)
        return dropout(self.activation(summary), last_p, training)
