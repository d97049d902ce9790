"""The TensorFlow runner: padded batches of sequences, raw tensors as they are, all in graphs.

Shape letters: B sequences, L tokens of the longest one, H hidden.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
import psutil
import tensorflow as tf
from typing_extensions import override

from model_base.auto import model_module
from model_base.configs import CONFIGS
from model_base.constants import UNLIMITED
from model_base.errors import ModelBaseError, UnsupportedConfig
from model_base.tensorflow.module_utils import named_variables
from service.channel.messages import Load
from service.core.messages import Array, ModelFacts, ModelStats
from service.core.work import SequenceWork, TensorWork, Want, WorkItem, WorkResult
from service.worker.runners.base import InputRejected, Runner
from service.worker.runners.checkpoint import (
    DeviceMissing,
    Stored,
    check_complete,
    find_stored,
    likely_want,
)
from service.worker.runners.checks import LengthLimits, check_ids, check_masks, misfit
from service.worker.runners.row_pooling import pool_row

_STACK = "tensorflow"
_DTYPES = ("auto", "float32")
_WARM_LENGTHS = ((8,), (64,) * 4, (256,))
_EXAMPLE_TOKENS = 64
_SHORT = 16
"""Tokens of sequences that are padded together however short the others are."""
_MAX_GRAPHS = 32
"""Each set of arguments has a graph; a client can think of thousands."""
_NOT_TENSORS = ("past", "past_key_values", "encoder_outputs")
_FLOATS = ("head_mask", "inputs_embeds", "hidden_states", "_values")
"""Ends of the names of arguments that are floats, whatever a client sends."""
_MISFITS = (
    tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError, tf.errors.UnimplementedError,
    ValueError, IndexError, TypeError, OverflowError, AttributeError,
)  # fmt: skip
"""What TensorFlow and models raise when tensors do not fit."""

_Form = tuple[tuple[str, str, tuple[int | None, ...]], ...]
"""Name, dtype and shape of each argument; None for an axis of any length."""


class DtypeRefused(ModelBaseError, ValueError):
    """Raised when a dtype is asked for in which the stack does not compute."""


class TensorFlowRunner(Runner):
    """One model on one device; each set of arguments is traced once, for any shape."""

    def __init__(self, model: Any, order: Load, stored: Stored, device: str) -> None:
        self._model = model
        self._order = order
        self._stored = stored
        self._device = device
        self._arguments = _tensors_of(model)
        self._takes_text = _takes_text(model, self._arguments)
        self._limits = self._length_limits()
        self._example = self._make_example()
        self._untrained: frozenset[str] = frozenset()
        self._graph = functools.lru_cache(_MAX_GRAPHS)(self._trace)

    @classmethod
    @override
    def preload(cls) -> None:
        for config in CONFIGS:
            try:
                model_module(config, _STACK)
            except UnsupportedConfig:
                continue  # not every architecture is in this stack

    @classmethod
    @override
    def load(cls, order: Load, progress: Callable[[int, int], None]) -> Self:
        if order.dtype not in _DTYPES:
            raise DtypeRefused(
                f"dtype is {order.dtype!r}; accepted in TensorFlow: {', '.join(_DTYPES)}"
            )
        device = _set_up(order)
        stored = find_stored(order, _STACK)
        model, info = stored.kind.from_pretrained(
            order.folder, config=stored.config, output_loading_info=True, **stored.flags
        )
        runner = cls(model, order, stored, device)
        runner._untrained = check_complete(info["missing_keys"], stored.head)
        num_bytes = sum(runner._bytes_by_dtype.values())
        progress(num_bytes, num_bytes)
        return runner

    @property
    @override
    def facts(self) -> ModelFacts:
        return ModelFacts(
            architecture=type(self._model).__name__,
            framework=_STACK,
            dtype="float32",
            device=self._device,
            task=self._stored.task,
            num_parameters=self._model.num_parameters(),
            num_bytes=sum(self._bytes_by_dtype.values()),
            max_length=min(self._limits.longest, self._order.max_length or UNLIMITED),
            pooling="+".join(self._order.pooling) or None,
            inputs=tuple(self._example),
            values_per_token=self._values_per_token,
        )

    @property
    def _values_per_token(self) -> dict[str, float]:
        config, sizes = self._model.config, {}
        for name, array in self._example.items():
            if name == "input_values":
                sizes[name] = config.num_samples(_EXAMPLE_TOKENS) / _EXAMPLE_TOKENS
            elif array.dtype.kind == "f":
                sizes[name] = array[0].size / _EXAMPLE_TOKENS
        return sizes

    @property
    def _bytes_by_dtype(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for variable in named_variables(self._model).values():
            dtype = tf.as_dtype(variable.dtype)
            sizes[dtype.name] = sizes.get(dtype.name, 0) + int(variable.shape.num_elements()) * int(
                dtype.size
            )
        return sizes

    def _length_limits(self) -> LengthLimits:
        config = self._model.config
        longest: int = config.max_tokens
        is_set = longest == UNLIMITED and self._model.main_input_name != "pixel_values"
        sounds = {}
        if "input_values" in self._arguments:
            first, second = config.num_samples(1), config.num_samples(2)
            sounds["input_values"] = first, second - first
        return LengthLimits(
            (self._order.max_sequence_tokens or UNLIMITED) if is_set else longest,
            is_set=is_set,
            max_batch_tokens=self._order.max_batch_tokens,
            ids=config.id_limits,
            makes_ids="decoder_input_ids" in self._arguments,
            sounds=sounds,
        )

    def _make_example(self) -> dict[str, Array]:
        """Zeros for all that a call needs."""
        model = self._model
        if model.main_input_name == "input_values":
            frames = min(_EXAMPLE_TOKENS, self._limits.longest)
            return {"input_values": np.zeros((1, model.config.num_samples(frames)), np.float32)}
        return {
            name: np.zeros_like(tensor.numpy())
            for name, tensor in model.dummy_inputs.items()
            if not name.endswith("attention_mask")
        }

    @property
    @override
    def num_lanes(self) -> int:
        return 1  # an operation has its own threads, as many as the worker may use

    @override
    def warm_up(self) -> None:
        if not self._takes_text:
            self.run([TensorWork(self._example)], 1)
            return
        want = likely_want(self._order, self._stored.head)
        for shape in _WARM_LENGTHS:
            ids = [np.zeros(min(length, self._limits.longest), np.int32) for length in shape]
            rows = [SequenceWork(each, want) for each in ids]
            self.run(rows, 1)
            self.run([TensorWork(self._padded(rows))], 1)

    @override
    def run(self, batch: Sequence[WorkItem], num_threads: int) -> Sequence[WorkResult]:
        if isinstance(batch[0], TensorWork):
            return [self._run_tensors(batch[0].arrays)]
        if not self._takes_text:
            raise InputRejected(
                f"{type(self._model).__name__} takes no text alone; give the raw tensors "
                + ", ".join(self.facts.inputs)
            )
        rows = [item for item in batch if isinstance(item, SequenceWork)]
        results: dict[int, WorkResult] = {}
        for group in _groups([row.num_tokens for row in rows]):
            found = self._run_padded([rows[index] for index in group])
            results.update(zip(group, found, strict=True))
        return [results[index] for index in range(len(rows))]

    def _run_padded(self, rows: Sequence[SequenceWork]) -> list[WorkResult]:
        lengths = [row.num_tokens for row in rows]
        is_trunk = rows[0].want is not Want.LOGITS
        arrays = self._padded(rows)
        try:
            output = self._forward(arrays, is_trunk)
        except _MISFITS as error:
            raise misfit(arrays, error) from error
        if not is_trunk:
            return _split(output, lengths)
        hidden_BLH = output["last_hidden_state"].numpy()
        states = [hidden[:length] for hidden, length in zip(hidden_BLH, lengths, strict=True)]
        if rows[0].want is Want.EMBEDDING:
            return [{"embedding": pool_row(each, self._order.pooling)} for each in states]
        return [{"last_hidden_state": each} for each in states]

    def _padded(self, rows: Sequence[SequenceWork]) -> dict[str, Array]:
        """``[B, L]`` of what the model's default signature takes, and of what is given."""
        size = len(rows), max(row.num_tokens for row in rows)
        padding = self._model.config.pad_token_id or 0
        arrays = {
            "input_ids": np.full(size, padding, np.int32),
            "attention_mask": np.zeros(size, np.int32),
        }
        has_types = any(row.token_type_ids is not None for row in rows)
        if "token_type_ids" in self._arguments and (
            has_types or "token_type_ids" in self._model.input_signature
        ):
            arrays["token_type_ids"] = np.zeros(size, np.int32)
        for number, row in enumerate(rows):
            arrays["input_ids"][number, : row.num_tokens] = row.input_ids
            arrays["attention_mask"][number, : row.num_tokens] = 1
            if row.token_type_ids is not None and "token_type_ids" in arrays:
                arrays["token_type_ids"][number, : row.num_tokens] = row.token_type_ids
        return arrays

    def _run_tensors(self, arrays: Mapping[str, Array]) -> WorkResult:
        self._check(arrays)
        try:
            output = self._forward({n: _converted(n, a) for n, a in arrays.items()})
        except InputRejected:
            raise
        except _MISFITS as error:
            raise misfit(arrays, error) from error
        result = {n: a for n, a in _arrays(output) if n not in self._untrained}
        if "loss" in result:
            result["loss"] = result["loss"].mean()  # of each row or token, in this stack
        return result

    def _check(self, arrays: Mapping[str, Array]) -> None:
        if unknown := sorted(set(arrays) - self._arguments):
            raise InputRejected(
                f"unknown input {unknown[0]!r:.80}; accepted: {', '.join(sorted(self._arguments))}"
            )
        check_ids(arrays, self._model.config.id_limits)
        check_masks(arrays)
        self._limits.check(arrays)

    def _forward(self, arrays: Mapping[str, Array], is_trunk: bool = False) -> Any:
        form = tuple(sorted((n, a.dtype.name, _relaxed(n, a)) for n, a in arrays.items()))
        return self._graph(form, is_trunk)({n: tf.constant(a) for n, a in arrays.items()})

    def _trace(self, form: _Form, is_trunk: bool) -> Any:
        """The model, or its trunk, as a graph of those arguments."""
        model = self._model
        layer = getattr(model, model.base_model_prefix, model) if is_trunk else model
        options = {"use_cache": False} if "use_cache" in _parameters(layer) else {}

        def forward(inputs: Mapping[str, Any]) -> Any:
            return layer(**inputs, **options, training=False)

        specs = {name: tf.TensorSpec(shape, dtype, name=name) for name, dtype, shape in form}
        return tf.function(forward, input_signature=[specs], autograph=False, jit_compile=False)

    @override
    def stats(self, batch_size: int, sequence_length: int | None) -> ModelStats:
        if sequence_length is not None:
            raise InputRejected(
                f"sequence_length is {sequence_length}; accepted: none, the operations of a "
                "TensorFlow model are not counted"
            )
        return ModelStats(
            num_parameters=self._model.num_parameters(),
            num_trainable=self._model.num_parameters(only_trainable=True),
            num_without_embeddings=None,
            num_bytes_by_dtype=self._bytes_by_dtype,
            batch_size=batch_size,
            sequence_length=None,
            inputs={},
            floating_point_ops=None,
            forward_flops=None,
            resident_bytes=psutil.Process().memory_info().rss,
        )


def _parameters(layer: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(layer.call).parameters


def _tensors_of(model: Any) -> frozenset[str]:
    """The arguments of its call that are tensors."""
    return frozenset(
        name
        for name, parameter in _parameters(model).items()
        if parameter.annotation is Any and name not in _NOT_TENSORS
    )


def _relaxed(name: str, array: Array) -> tuple[int | None, ...]:
    """Any shape of so many axes; a mask of heads is as large as the model."""
    return array.shape if name.endswith("head_mask") else (None,) * array.ndim


def _takes_text(model: Any, arguments: frozenset[str]) -> bool:
    """Whether one text is all that the model needs."""
    ids = model.input_signature.get("input_ids")
    is_alone = not arguments & {"decoder_input_ids", "pixel_values"}
    return is_alone and ids is not None and len(ids.shape) == 2


def _groups(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of rows that are padded together: less than half of what is computed is padding."""
    group: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[group[0]] if group else 0
        if longest > max(_SHORT, 2 * lengths[index]):
            yield group
            group = []
        group.append(index)
    yield group


def _arrays(output: Any) -> Iterator[tuple[str, Array]]:
    """The outputs that are one tensor."""
    for name, value in output.items():
        if tf.is_tensor(value):
            yield name, value.numpy()


def _split(output: Any, lengths: Sequence[int]) -> list[WorkResult]:
    """A head's output, one mapping a sequence, without padding."""
    results: list[dict[str, Array]] = [{} for _ in lengths]
    for name, array in _arrays(output):
        for result, row, length in zip(results, array, lengths, strict=True):
            result[name] = row if name in output.per_sequence else row[:length]
    return list(results)


def _converted(name: str, array: Array) -> Array:
    """int32 or float32, the two that all models take."""
    if array.dtype.kind not in "iub" or name.endswith(_FLOATS):
        return array.astype(np.float32)
    numbers = array.astype(np.int32)
    if (numbers != array).any():
        raise InputRejected(f"{name} has a number out of the range of int32")
    return numbers


def _set_up(order: Load) -> str:
    """Threads and device of the process; nothing may have been computed in it."""
    keras.config.disable_traceback_filtering()  # it rewrites the messages of models,
    tf.debugging.disable_traceback_filtering()  # and this hides who raised an error
    tf.config.threading.set_intra_op_parallelism_threads(order.threads)
    tf.config.threading.set_inter_op_parallelism_threads(order.threads)
    gpus = tf.config.list_physical_devices("GPU")
    if order.device.startswith("cuda") or (gpus and order.device == "auto"):
        number = int(order.device.partition(":")[2] or "0")
        if number >= len(gpus):
            raise DeviceMissing(
                f"device is {order.device!r}, but TensorFlow finds {len(gpus)} GPUs here; "
                "accepted: cpu"
            )
        tf.config.set_visible_devices(gpus[number], "GPU")
        tf.config.experimental.set_memory_growth(gpus[number], True)
        return f"cuda:{number}"
    if gpus:
        tf.config.set_visible_devices([], "GPU")
    return "cpu"


RUNNER = TensorFlowRunner
