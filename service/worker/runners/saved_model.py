"""The SavedModel runner: any graph with signatures, loaded as TensorFlow Serving loads it.

Only the meta graph is read, none of the Python objects that wrote it: so models of TF 1, of Keras 2
with an optimizer and of a plain ``tf.Module`` load alike. A SavedModel is code: its graph may read
and write files. Which ones are loaded is decided by ``service/repository``.
"""

import logging
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import psutil
import tensorflow as tf
from typing_extensions import override

from model_base.errors import ModelBaseError
from service.channel.messages import Load
from service.core.messages import Array, ModelFacts, ModelStats, SignatureFacts, TensorFacts
from service.core.signatures import default_signature
from service.core.work import TensorWork, WorkItem, WorkResult
from service.worker.runners.base import InputRejected, Runner

logger = logging.getLogger("service.worker")

_TAG = "serve"
_INTERNAL = "__saved_model"
_UNLIMITED = 2**31 - 1
_WARM_LENGTH = 8
_MAX_REASON = 300
_MARGIN_S = 0.1
_WARM_UP_S = 30.0
_LENGTH_SETTING = "limits.max_sequence_tokens"
_VARIABLE_OPS = ("VarHandleOp", "VariableV2", "Variable")
_MISFITS = (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError, tf.errors.UnimplementedError)
"""What an operation raises when its input does not fit."""
_WRITES = re.compile(
    "Assign|ResourceScatter|^Scatter(Update|Add|Sub|Mul|Div|Min|Max|Nd(Update|Add|Sub)$)|^Write|^Save|"
    "Table(Insert|Import|Remove)|Queue|^Delete|^ReadFile|PyFunc|^Print"
)
"""Names of operations that change something when they run, or reach outside the graph."""
_NODE = re.compile(r"\{\{.*?\}\}")


class SavedModelUnusable(ModelBaseError, ValueError):
    """Raised when a SavedModel has nothing to serve, or is asked for what it cannot do."""


class SavedModelRunner(Runner):
    """One meta graph in one session, whose threads all calls share."""

    def __init__(
        self,
        signatures: Mapping[str, "_Signature"],
        variables: Sequence["_Variable"],
        device: str,
        order: Load,
    ) -> None:
        self._signatures = signatures
        self._variables = variables
        self._device = device
        self._order = order

    @classmethod
    @override
    def preload(cls) -> None:
        logging.getLogger("tensorflow").setLevel(logging.ERROR)  # calls our loader deprecated
        _ = tf.compat.v1.saved_model.load, tf.compat.v1.Session  # imported on first use

    @classmethod
    @override
    def load(cls, order: Load, progress: Callable[[int, int], None]) -> Self:
        if order.dtype != "auto":
            raise SavedModelUnusable(
                f"dtype is {order.dtype!r}; accepted: auto, a SavedModel computes as it was written"
            )
        graph = tf.Graph()
        with graph.as_default():
            config, device = _session_config(order)
            session = tf.compat.v1.Session(graph=graph, config=config)
            meta = tf.compat.v1.saved_model.load(session, [_TAG], order.folder)
        signatures = dict(_signatures(meta, session))
        if not signatures:
            raise SavedModelUnusable(
                "the SavedModel has no signature that takes and gives plain tensors; save it with "
                "tf.saved_model.save(module, folder, signatures=module.some_tf_function)"
            )
        names = [name for each in signatures.values() for name in each.output_names]
        variables = list(_variables(graph, names))
        num_bytes = sum(variable.num_bytes for variable in variables)
        progress(num_bytes, num_bytes)
        return cls(signatures, variables, device, order)

    @property
    @override
    def facts(self) -> ModelFacts:
        signatures = {name: each.facts for name, each in self._signatures.items()}
        default = default_signature(signatures) or next(iter(signatures))
        sizes = self._bytes_by_dtype
        return ModelFacts(
            architecture="SavedModel",
            framework="saved_model",
            dtype=max(sizes, key=sizes.__getitem__, default="float32"),
            device=self._device,
            task="tensors",
            num_parameters=sum(v.num_parameters for v in self._variables),
            num_bytes=sum(sizes.values()),
            max_length=_UNLIMITED,
            inputs=tuple(signatures[default].inputs),
            signatures=signatures,
        )

    @property
    def _bytes_by_dtype(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for variable in self._variables:
            sizes[variable.dtype] = sizes.get(variable.dtype, 0) + variable.num_bytes
        return sizes

    @property
    @override
    def num_lanes(self) -> int:
        return 1  # the session has its own threads, as many as the worker may use

    @override
    def warm_up(self) -> None:
        for name, signature in self._signatures.items():
            arrays = signature.example()
            if arrays is None or signature.changes_state:
                continue
            try:
                due_s = time.monotonic() + _WARM_UP_S
                self.run([TensorWork(arrays, signature=name, deadline_s=due_s)], 1)
            except tf.errors.FailedPreconditionError as error:
                raise SavedModelUnusable(
                    f"signature {name} reads what the graph never fills ({_reason(error)}): "
                    "TensorFlow Serving could not serve it either. Of a Keras model save it with "
                    "model.export(folder), of one of ours with save_pretrained(saved_model=True)"
                ) from error
            except (InputRejected, tf.errors.OpError) as error:  # zeros need not make sense to it
                logger.info("signature %s was not warmed up: %s", name, error)

    @override
    def run(self, batch: Sequence[WorkItem], num_threads: int) -> Sequence[WorkResult]:
        work = [item for item in batch if isinstance(item, TensorWork)]
        if len(work) < len(batch):
            raise InputRejected(
                f"a SavedModel takes no tokenised text; give the raw tensors {self.facts.inputs}"
            )
        signature = self._signatures[work[0].signature]
        feeds = [signature.feed(item.arrays) for item in work]
        # If one of several is too slow, each is computed alone, until its own.
        deadline_s = min(item.deadline_s for item in work)
        for feed in feeds:
            self._check_lengths(signature, feed)
        if len(feeds) > 1:
            lengths = [len(feed[0]) for feed in feeds]
            together = [np.concatenate(arrays) for arrays in zip(*feeds, strict=True)]
            if results := _split(signature.call(together, deadline_s), lengths):
                return results
        return [signature.call(feed, deadline_s) for feed in feeds]

    def _check_lengths(self, signature: "_Signature", feed: Sequence[Array]) -> None:
        """Refuse rows of more ids than there may be, and too many rows that stay together.

        A graph does not tell its limit; the memory of attention grows with the square of a row.
        """
        limit = self._order.max_sequence_tokens or _UNLIMITED
        num_pairs = limit * max(limit, self._order.max_batch_tokens)
        for (name, facts), array in zip(signature.facts.inputs.items(), feed, strict=True):
            if array.dtype.kind not in "iu" or array.ndim < 2 or not _is_sequence(facts):
                continue
            rows, length = array.shape[:2]
            if length > limit or rows * length**2 > num_pairs:
                raise InputRejected(
                    f"{name} has {rows} rows of {length} ids; accepted: rows of up to {limit}, and "
                    f"{max(num_pairs // length**2, 1)} rows of {length} (setting {_LENGTH_SETTING})"
                )

    @override
    def stats(self, batch_size: int, sequence_length: int | None) -> ModelStats:
        if sequence_length is not None:
            raise InputRejected(
                f"sequence_length is {sequence_length}; accepted: none, the operations of a "
                "SavedModel are not counted"
            )
        return ModelStats(
            num_parameters=sum(v.num_parameters for v in self._variables),
            num_trainable=None,
            num_without_embeddings=None,
            num_bytes_by_dtype=self._bytes_by_dtype,
            batch_size=batch_size,
            sequence_length=None,
            inputs={},
            floating_point_ops=None,
            forward_flops=None,
            resident_bytes=psutil.Process().memory_info().rss,
        )


@dataclass(frozen=True, slots=True)
class _Signature:
    """A callable of the graph.

    Attributes:
        output_names: of the graph's tensors.
        function: takes the inputs and ``options``, and gives the outputs, in the order of
            ``facts``.
        changes_state: whether a call leaves the graph other than it was.
    """

    facts: SignatureFacts
    output_names: Sequence[str]
    function: Callable[..., Sequence[Any]]
    changes_state: bool

    def feed(self, arrays: Mapping[str, Array]) -> list[Array]:
        """The inputs in order, in the dtypes of the graph.

        Raises:
            InputRejected: naming the input that is missing, unknown or does not fit.
        """
        accepted = ", ".join(self.facts.inputs)
        for name in arrays:
            if name not in self.facts.inputs:
                raise InputRejected(f"unknown input {name!r:.80}; accepted: {accepted}")
        for name in self.facts.inputs:
            if name not in arrays:
                raise InputRejected(f"input {name!r} is missing; accepted: {accepted}")
        return [_fit(name, arrays[name], facts) for name, facts in self.facts.inputs.items()]

    def call(self, feed: Sequence[Array], deadline_s: float) -> dict[str, Array]:
        """The outputs by name.

        Raises:
            InputRejected: an operation does not take the values or shapes, or what loops has not
                come to its end by ``deadline_s``.
        """
        try:
            values = self.function(*feed, options=_ending_at(deadline_s))
        except tf.errors.DeadlineExceededError as error:
            raise InputRejected("the graph had not ended when the request's time was up") from error
        except _MISFITS as error:
            raise InputRejected(f"the graph refuses the input: {_reason(error)}") from error
        return {
            name: np.asarray(value) for name, value in zip(self.facts.outputs, values, strict=True)
        }

    def example(self) -> dict[str, Array] | None:
        """Zeros and empty texts of a small shape; None if the shape can be any."""
        arrays: dict[str, Array] = {}
        for name, facts in self.facts.inputs.items():
            if facts.shape is None:
                return None
            shape = [n or (_WARM_LENGTH if axis else 1) for axis, n in enumerate(facts.shape)]
            dtype = _dtype(facts)
            arrays[name] = np.full(shape, b"" if dtype.hasobject else 0, dtype)
        return arrays


@dataclass(frozen=True, slots=True)
class _Variable:
    """A variable of the graph.

    Attributes:
        num_values: 0 if its shape is not known.
    """

    dtype: str
    num_values: int
    num_bytes: int

    @property
    def num_parameters(self) -> int:
        return self.num_values if "float" in self.dtype else 0


def _ending_at(deadline_s: float) -> Any:
    """Options of a call that is ended then, a little after its client was told so."""
    if math.isinf(deadline_s):
        return None
    left_s = max(0.0, deadline_s - time.monotonic()) + _MARGIN_S
    return tf.compat.v1.RunOptions(timeout_in_ms=int(1000 * left_s))


def _reason(error: Any) -> str:
    """The line that says what is wrong; around it are names of nodes and of source files."""
    lines = str(error.message).partition("[[")[0].strip().splitlines() or [""]
    return " ".join(_NODE.sub("", lines[-1]).split())[:_MAX_REASON]


def _session_config(order: Load) -> tuple[Any, str]:
    """Threads and device of the session; they are the process's from its first operation on."""
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=order.threads,
        inter_op_parallelism_threads=order.threads,
    )
    gpus = [] if order.device == "cpu" else tf.config.list_physical_devices("GPU")
    if order.device.startswith("cuda") or (gpus and order.device == "auto"):
        number = order.device.partition(":")[2] or "0"
        if int(number) >= len(gpus):
            raise SavedModelUnusable(
                f"device is {order.device!r}, but TensorFlow finds {len(gpus)} GPUs here; "
                "accepted: cpu"
            )
        config.gpu_options.visible_device_list = number
        config.gpu_options.allow_growth = True
        return config, f"cuda:{number}"
    config.device_count["GPU"] = 0
    return config, "cpu"


def _signatures(meta: Any, session: Any) -> Iterator[tuple[str, _Signature]]:
    """Every signature of plain tensors; others (sparse, ragged) are told in the log."""
    for name, stored in sorted(meta.signature_def.items()):
        if name.startswith(_INTERNAL):
            continue
        inputs, outputs = (dict(sorted(side.items())) for side in (stored.inputs, stored.outputs))
        infos = (*inputs.values(), *outputs.values())
        if not inputs or not outputs or not all(map(_is_plain, infos)):
            logger.warning("signature %s is not served: it is not one of plain tensors", name)
            continue
        facts = SignatureFacts(
            {key: _tensor_facts(info) for key, info in inputs.items()},
            {key: _tensor_facts(info) for key, info in outputs.items()},
        )
        fetched = [info.name for info in outputs.values()]
        function = session.make_callable(
            fetched, [info.name for info in inputs.values()], accept_options=True
        )
        yield name, _Signature(facts, fetched, function, _changes_state(session.graph, fetched))


def _changes_state(graph: Any, fetched: Sequence[str]) -> bool:
    """Whether what computes the outputs also writes variables, tables or files, or runs code."""
    names = [name.partition(":")[0] for name in fetched]
    definition = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), names)
    functions = {each.signature.name: each.node_def for each in definition.library.function}
    todo, seen = list(definition.node), set[str]()
    while todo:
        node = todo.pop()
        if _WRITES.search(node.op):
            return True
        for name in (node.op, *(value.func.name for value in node.attr.values())):
            if name in functions and name not in seen:
                seen.add(name)
                todo += functions[name]
    return False


def _is_plain(info: Any) -> bool:
    if info.WhichOneof("encoding") != "name":
        return False
    dtype = tf.as_dtype(info.dtype)
    is_number = dtype.is_floating or dtype.is_bool or (dtype.is_integer and not dtype.is_quantized)
    return is_number or dtype == tf.string


def _tensor_facts(info: Any) -> TensorFacts:
    shape = info.tensor_shape
    dims = tuple(None if dim.size < 0 else int(dim.size) for dim in shape.dim)
    return TensorFacts(tf.as_dtype(info.dtype).name, None if shape.unknown_rank else dims)


def _is_sequence(facts: TensorFacts) -> bool:
    """Whether the second axis has any length."""
    return facts.shape is None or facts.shape[1] is None


def _dtype(facts: TensorFacts) -> Any:
    return np.dtype(tf.as_dtype(facts.dtype).as_numpy_dtype)


def _fit(name: str, array: Array, facts: TensorFacts) -> Array:
    """The array in the dtype of the graph, if that loses nothing but precision."""
    if facts.shape is not None and not _has_shape(array, facts.shape):
        wanted = ["any" if n is None else n for n in facts.shape]
        raise InputRejected(
            f"{name} has the shape {list(array.shape)}; accepted: [{', '.join(map(str, wanted))}]"
        )
    if not _can_be(array, facts):
        seen = "texts" if array.dtype == object else array.dtype.name
        raise InputRejected(f"{name} is of {seen}; accepted: {facts.dtype}")
    dtype = _dtype(facts)
    with np.errstate(over="ignore", invalid="ignore"):
        fitted = array.astype(dtype, copy=False)
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        is_same = bool((fitted == array).all()) and not ((fitted < 0) != (array < 0)).any()
    else:
        is_same = not tf.as_dtype(dtype).is_floating or _is_finite_as(array, fitted)
    if not is_same:
        raise InputRejected(f"{name} has a number out of the range of {facts.dtype}")
    return fitted


def _has_shape(array: Array, shape: tuple[int | None, ...]) -> bool:
    return array.ndim == len(shape) and all(
        wanted in (None, seen) for seen, wanted in zip(array.shape, shape, strict=True)
    )


def _can_be(array: Array, facts: TensorFacts) -> bool:
    """Whether values of the array's kind can be the graph's: integers may be floats, no more."""
    wanted, kind = tf.as_dtype(facts.dtype), array.dtype.kind
    if kind == "O" or wanted == tf.string:
        return kind == "O" and wanted == tf.string
    if kind == "b" or wanted.is_bool:
        return kind == "b" and bool(wanted.is_bool)
    return kind in ("iu" if wanted.is_integer else "iufV")


def _is_finite_as(array: Array, fitted: Array) -> bool:
    return bool((np.isfinite(fitted.astype(np.float64)) | ~np.isfinite(array)).all())


def _split(outputs: Mapping[str, Array], lengths: Sequence[int]) -> list[dict[str, Array]] | None:
    """Outputs of rows that were computed together; None if they are not one for each row."""
    if any(not a.ndim or len(a) != sum(lengths) for a in outputs.values()):
        return None
    results: list[dict[str, Array]] = [{} for _ in lengths]
    for name, array in outputs.items():
        parts = np.split(array, np.cumsum(lengths)[:-1])
        for result, part in zip(results, parts, strict=True):
            result[name] = part
    return results


def _variables(graph: Any, outputs: Iterable[str]) -> Iterator[_Variable]:
    """Those that the outputs depend on; what optimizers keep, and copies, are not among them."""
    pending = [graph.get_tensor_by_name(name).op for name in outputs]
    seen = set(pending)
    while pending:
        operation = pending.pop()
        if operation.type in _VARIABLE_OPS:
            yield _variable(operation.node_def.attr)
        sources = [tensor.op for tensor in operation.inputs] + operation.control_inputs
        for source in sources:
            if source not in seen:
                seen.add(source)
                pending.append(source)


def _variable(attributes: Any) -> _Variable:
    kind, shape = tf.as_dtype(attributes["dtype"].type), attributes["shape"].shape
    is_known = not shape.unknown_rank and all(dim.size >= 0 for dim in shape.dim)
    count = math.prod(int(dim.size) for dim in shape.dim) if is_known else 0
    return _Variable(kind.name, count, count * kind.size)


RUNNER = SavedModelRunner
