"""The messages between the API process and a worker.

A message is a small typed header (msgspec, so that a wrong type is refused, not interpreted) and
one block of raw array bytes that the header describes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import ml_dtypes
import msgspec
import numpy as np

from service.core.messages import Array, ModelFacts, ModelStats
from service.core.work import SequenceWork, TensorWork, Want, WorkItem

_BYTES = "bytes"


class Load(msgspec.Struct, frozen=True, tag=True):
    """First message to a worker: what to load and how to run.

    Attributes:
        folder: of config.json and the weights.
        pooling: modes of pooling; empty means that no embedding is made.
        threads: of the framework's own pool.
        max_batch_tokens: budget of one forward.
        max_length: cap below the model's own, 0 for none.
        max_sequence_tokens: limit of a model that has none of its own, 0 for none.
    """

    folder: str
    dtype: str
    device: str
    pooling: tuple[str, ...]
    threads: int
    max_batch_tokens: int
    max_length: int = 0
    max_sequence_tokens: int = 0


class ArrayInfo(msgspec.Struct, frozen=True, array_like=True):
    """One array inside the block, which holds them one after another, C-contiguous.

    The dtype ``bytes`` stands for an object array of byte strings; each is behind its length
    (uint32).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


class Submit(msgspec.Struct, frozen=True, tag=True):
    """Compute one request.

    Attributes:
        lengths: tokens of each sequence or part. For sequences the block holds all ``input_ids``
            end to end, then, if ``has_types``, all token types (int32).
        arrays: raw tensors in the block, the same names for each part; empty for sequences.
        signature: of raw tensors, see ``TensorWork``; ``joins`` and ``deadline_s`` as well.
        admitted_s: ``time.monotonic`` of admission, one clock for all processes of a machine.
    """

    id: int
    admitted_s: float
    want: str = ""
    lengths: tuple[int, ...] = ()
    has_types: bool = False
    arrays: tuple[ArrayInfo, ...] = ()
    signature: str = ""
    joins: bool = False
    deadline_s: float = math.inf


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Drop what is left of a request; no answer follows."""

    id: int


class AskStats(msgspec.Struct, frozen=True, tag=True):
    """Report size and cost; without ``sequence_length`` of a length the runner picks."""

    id: int
    batch_size: int
    sequence_length: int | None


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Finish what is queued, then end."""


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Bytes of weights in place so far."""

    bytes_done: int
    bytes_total: int


class Warming(msgspec.Struct, frozen=True, tag=True):
    """All weights are in place; the first forwards are being run."""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Requests are taken from now on."""

    facts: ModelFacts


class LoadFailed(msgspec.Struct, frozen=True, tag=True):
    """The model cannot be loaded; the worker ends."""

    reason: str


class Result(msgspec.Struct, frozen=True, tag=True):
    """Outputs of some sequences of a request.

    Attributes:
        indices: which sequences; ``arrays`` has ``len(arrays) / len(indices)`` for each, in order.
    """

    id: int
    indices: tuple[int, ...]
    arrays: tuple[ArrayInfo, ...]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The request cannot be answered.

    Attributes:
        is_input: the input's fault (safe to show), not the model's.
    """

    id: int
    message: str
    is_input: bool = False


class BatchDone(msgspec.Struct, frozen=True, tag=True):
    """What one forward was, for metrics."""

    num_sequences: int
    num_tokens: int
    forward_s: float
    waited_s: tuple[float, ...]
    resident_bytes: int


class StatsReply(msgspec.Struct, frozen=True, tag=True):
    """Answer to AskStats."""

    id: int
    stats: ModelStats


ToWorker = Load | Submit | Cancel | AskStats | Stop
FromWorker = Progress | Warming | Ready | LoadFailed | Result | Failed | BatchDone | StatsReply


def pack_work(request_id: int, admitted_s: float, work: Sequence[WorkItem]) -> tuple[Submit, bytes]:
    """One request as a message: sequences of which one thing is wanted, or parts of tensors."""
    parts = [item for item in work if isinstance(item, TensorWork)]
    if parts:
        infos, block = pack_arrays([pair for part in parts for pair in part.arrays.items()])
        tokens = tuple(part.num_tokens for part in parts)
        first = parts[0]
        submit = Submit(
            request_id, admitted_s, lengths=tokens, arrays=infos,
            signature=first.signature, joins=first.joins, deadline_s=first.deadline_s,
        )  # fmt: skip
        return submit, block
    sequences = [item for item in work if isinstance(item, SequenceWork)]
    lengths = tuple(item.num_tokens for item in sequences)
    ids = [item.input_ids for item in sequences]
    has_types = any(item.token_type_ids is not None for item in sequences)
    if has_types:
        ids += [
            np.zeros(item.num_tokens, np.int32) if item.token_type_ids is None
            else item.token_type_ids
            for item in sequences
        ]  # fmt: skip
    block = b"".join(np.ascontiguousarray(each, np.int32).tobytes() for each in ids)
    return Submit(request_id, admitted_s, sequences[0].want, lengths, has_types), block


def unpack_work(message: Submit, block: memoryview) -> list[WorkItem]:
    """The work of a message; arrays are views of the block."""
    if message.arrays:
        pairs = unpack_arrays(message.arrays, block)
        each = len(pairs) // len(message.lengths)
        return [
            TensorWork(
                dict(pairs[number * each : (number + 1) * each]),
                num_tokens,
                message.signature,
                message.joins,
                message.deadline_s,
            )  # fmt: skip
            for number, num_tokens in enumerate(message.lengths)
        ]
    flat = np.frombuffer(block, np.int32)
    ends = np.cumsum(message.lengths)
    ids = np.split(flat[: ends[-1]], ends[:-1])
    types: Sequence[Array | None] = [None] * len(ids)
    if message.has_types:
        types = np.split(flat[ends[-1] :], ends[:-1])
    want = Want(message.want)
    return [SequenceWork(i, want, t) for i, t in zip(ids, types, strict=True)]


def pack_results(
    request_id: int, indices: Sequence[int], results: Sequence[Mapping[str, Array]]
) -> tuple[Result, bytes]:
    """Outputs of some sequences as a message."""
    infos, block = pack_arrays([pair for result in results for pair in result.items()])
    return Result(request_id, tuple(indices), infos), block


def unpack_results(message: Result, block: memoryview) -> list[tuple[int, dict[str, Array]]]:
    """Each sequence's index and outputs; arrays are views of the block."""
    pairs = list(unpack_arrays(message.arrays, block))
    each = len(pairs) // len(message.indices)
    return [
        (index, dict(pairs[number * each : (number + 1) * each]))
        for number, index in enumerate(message.indices)
    ]


def pack_arrays(pairs: Iterable[tuple[str, Array]]) -> tuple[tuple[ArrayInfo, ...], bytes]:
    """Arrays as their descriptions and one block."""
    named = [(name, np.asarray(array, order="C")) for name, array in pairs]
    infos = tuple(ArrayInfo(name, _dtype_name(array), array.shape) for name, array in named)
    return infos, b"".join(_to_bytes(array) for _, array in named)


def _dtype_name(array: Array) -> str:
    return _BYTES if array.dtype.hasobject else array.dtype.name


def _to_bytes(array: Array) -> bytes:
    if not array.dtype.hasobject:
        return array.tobytes()
    return b"".join(len(value).to_bytes(4, "little") + value for value in array.ravel())


def unpack_arrays(infos: Sequence[ArrayInfo], block: memoryview) -> list[tuple[str, Array]]:
    """Names and arrays, views of the block."""
    arrays: list[tuple[str, Array]] = []
    offset = 0
    for info in infos:
        count = int(np.prod(info.shape, dtype=np.int64))
        if info.dtype == _BYTES:
            array, offset = _read_bytes(block, count, offset)
        else:
            dtype = np.dtype(getattr(ml_dtypes, info.dtype, None) or info.dtype)
            array = np.frombuffer(block, dtype, count, offset)
            offset += array.nbytes
        arrays.append((info.name, array.reshape(info.shape)))
    return arrays


def _read_bytes(block: memoryview, count: int, offset: int) -> tuple[Array, int]:
    """An array of byte strings, and where it ends."""
    if count > len(block):
        raise ValueError(f"{count} byte strings are more than a block of {len(block)} bytes holds")
    values = np.empty(count, object)
    for index in range(count):
        length = int.from_bytes(block[offset : offset + 4], "little")
        start, offset = offset + 4, offset + 4 + length
        if offset > len(block):
            raise ValueError(f"a byte string ends at {offset}, its block at {len(block)}")
        values[index] = bytes(block[start:offset])
    return values, offset
