from typing import Any

import ml_dtypes
import msgspec
import numpy as np
import pytest

from service.channel import messages as msg
from service.core.messages import ModelFacts, ModelStats
from service.core.work import SequenceWork, TensorWork, Want

FACTS = ModelFacts("BertModel", "torch", "float32", "cpu", "feature-extraction", 1, 4, 64, "mean")
STATS = ModelStats(1, 1, 1, {"float32": 4}, 1, 8, {"input_ids": (1, 8)}, 48, 96, 1000)
MESSAGES: list[tuple[msgspec.Struct, Any]] = [
    (msg.Load("/m", "auto", "cpu", ("cls", "mean"), 2, 1024), msg.ToWorker),
    (msg.Submit(3, 1.5, "embedding", (4, 5), True), msg.ToWorker),
    (msg.Cancel(3), msg.ToWorker),
    (msg.AskStats(4, 2, 128), msg.ToWorker),
    (msg.Stop(), msg.ToWorker),
    (msg.Progress(1, 2**40), msg.FromWorker),
    (msg.Warming(), msg.FromWorker),
    (msg.Ready(FACTS), msg.FromWorker),
    (msg.LoadFailed("why"), msg.FromWorker),
    (msg.Result(3, (0, 2), (msg.ArrayInfo("embedding", "float32", (2,)),)), msg.FromWorker),
    (msg.Failed(3, "no", is_input=True), msg.FromWorker),
    (msg.BatchDone(2, 9, 0.25, (0.0, 0.5), 10), msg.FromWorker),
    (msg.StatsReply(4, STATS), msg.FromWorker),
]


@pytest.mark.parametrize(("message", "union"), MESSAGES, ids=lambda m: type(m).__name__)
def test_a_message_survives_the_way(message: msgspec.Struct, union: Any) -> None:
    encoded = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(encoded, type=union) == message


def roundtrip(work: list[Any]) -> list[Any]:
    message, block = msg.pack_work(1, 0.0, work)
    return msg.unpack_work(message, memoryview(block))


def test_sequences_survive_with_their_lengths_and_types() -> None:
    work = [
        SequenceWork(np.array([1, 2, 3], np.int32), Want.LOGITS),
        SequenceWork(np.array([9], np.int32), Want.LOGITS, np.array([1], np.int32)),
        SequenceWork(np.arange(100, dtype=np.int32), Want.LOGITS),
    ]
    back = roundtrip(work)
    for sent, got in zip(work, back, strict=True):
        assert got.want is Want.LOGITS
        np.testing.assert_array_equal(got.input_ids, sent.input_ids)
        expected = np.zeros_like(sent.input_ids) if sent.token_type_ids is None else [1]
        np.testing.assert_array_equal(got.token_type_ids, expected)


def test_sequences_without_types_have_none_on_the_other_side() -> None:
    (got,) = roundtrip([SequenceWork(np.array([5, 6], np.int64), Want.EMBEDDING)])
    assert got.token_type_ids is None
    assert got.input_ids.dtype == np.int32


ARRAYS = [
    np.arange(6, dtype=np.int64).reshape(2, 3),
    np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
    np.array([True, False, True]),
    np.array([0.5, -2.0], np.float16),
    np.array([0.5, -2.0], ml_dtypes.bfloat16),
    np.array(3.5, np.float32),  # no axis at all
    np.zeros((2, 0), np.float32),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.name}{list(a.shape)}")
def test_an_array_survives_with_dtype_and_shape(array: np.ndarray) -> None:
    infos, block = msg.pack_arrays([("x", array)])
    ((name, back),) = msg.unpack_arrays(infos, memoryview(block))
    assert (name, back.dtype, back.shape) == ("x", array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


def test_raw_tensors_of_all_dtypes_share_one_block() -> None:
    arrays = {f"x{i}": array for i, array in enumerate(ARRAYS)}
    (got,) = roundtrip([TensorWork(arrays, 6)])
    assert got.num_tokens == 6
    for name, array in arrays.items():
        np.testing.assert_array_equal(got.arrays[name], array)


def test_results_come_back_by_the_index_of_their_sequence() -> None:
    results = [{"a": np.ones(2, np.float32) * i, "b": np.full((1, i + 1), i)} for i in range(3)]
    message, block = msg.pack_results(8, [4, 0, 2], results)
    back = dict(msg.unpack_results(message, memoryview(block)))
    assert list(back) == [4, 0, 2]
    for index, result in zip([4, 0, 2], results, strict=True):
        np.testing.assert_array_equal(back[index]["a"], result["a"])
        np.testing.assert_array_equal(back[index]["b"], result["b"])


@pytest.mark.parametrize("dtype", ["object", "O", "finfo", "no such"])
def test_a_dtype_that_is_not_plain_numbers_is_refused(dtype: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        msg.unpack_arrays([msg.ArrayInfo("x", dtype, (1,))], memoryview(b"12345678"))


def test_an_array_beyond_its_block_is_refused() -> None:
    with pytest.raises(ValueError, match="buffer"):
        msg.unpack_arrays([msg.ArrayInfo("x", "float32", (3,))], memoryview(b"12345678"))


def test_byte_strings_cross_with_every_byte_that_they_have() -> None:
    texts = np.array([[b"", b"a\x00"], [b"\xff", b"long" * 1000]], object)
    numbers = np.arange(3)
    infos, block = msg.pack_arrays([("t", texts), ("n", numbers)])
    (_, back), (_, last) = msg.unpack_arrays(infos, memoryview(block))
    assert back.tolist() == texts.tolist()
    assert last.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("count", "block"), [(1, b"\x05\x00\x00\x00abc"), (2**40, b"")])
def test_byte_strings_beyond_their_block_are_refused(count: int, block: bytes) -> None:
    with pytest.raises(ValueError, match="block"):
        msg.unpack_arrays([msg.ArrayInfo("x", "bytes", (count,))], memoryview(block))


def test_tensors_keep_their_signature_and_whether_they_join_and_until_when() -> None:
    work = [TensorWork({"x": np.ones((2, 3))}, 6, "s", joins=True, deadline_s=2.5)] * 2
    back = msg.unpack_work(*_sent(msg.pack_work(1, 0.0, work)))
    fields = [(w.signature, w.joins, w.num_tokens, w.deadline_s) for w in back]  # type: ignore[union-attr]
    assert fields == [("s", True, 6, 2.5)] * 2


def _sent(packed: tuple[msg.Submit, bytes]) -> tuple[msg.Submit, memoryview]:
    return packed[0], memoryview(packed[1])
