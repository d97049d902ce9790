"""Flax msgpack: chunked arrays, scalars, and bombs."""

import math
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from model_base.checkpoints import FLAX_MSGPACK
from model_base.errors import CheckpointUnreadable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.msgpack"


def leaf(shape: Any, dtype: Any, data: Any, code: int = 1) -> msgpack.ExtType:
    return msgpack.ExtType(code, msgpack.packb((shape, dtype, data), use_bin_type=True))


def of(array: np.ndarray, code: int = 1) -> msgpack.ExtType:
    return leaf(array.shape, array.dtype.name, array.tobytes(), code)


def test_nested_names_are_joined_by_slashes(path: Path) -> None:
    path.write_bytes(msgpack.packb({"bert": {"pooler": {"kernel": of(np.ones((2, 3)))}}}))
    checkpoint = FLAX_MSGPACK.open(path)
    assert checkpoint.read("bert/pooler/kernel").shape == (2, 3)


def test_an_array_in_chunks_is_joined(path: Path) -> None:
    values = np.arange(6, dtype=np.float32)
    chunked = {
        "__msgpack_chunked_array__": True,
        "shape": {"0": 2, "1": 3},
        "chunks": {"0": of(values[:4]), "1": of(values[4:])},
    }
    path.write_bytes(msgpack.packb({"a": chunked}))
    assert FLAX_MSGPACK.open(path).read("a").tolist() == values.reshape(2, 3).tolist()


def test_scalars_are_arrays_without_axes(path: Path) -> None:
    path.write_bytes(msgpack.packb({"a": of(np.array(2.5, np.float32), code=3), "b": 7}))
    checkpoint = FLAX_MSGPACK.open(path)
    assert [checkpoint.read(name).tolist() for name in "ab"] == [2.5, 7]


def test_a_name_may_be_long(path: Path) -> None:
    name = "a" * 4000
    path.write_bytes(msgpack.packb({name: {"b": of(np.ones(2))}}))
    assert FLAX_MSGPACK.open(path).read(f"{name}/b").tolist() == [1, 1]


def nested(depth: int) -> bytes:
    return b"\x81\xa1a" * depth + msgpack.packb(of(np.ones(1)))


def chunked(*axes: Any) -> bytes:
    shape = {str(index): axis for index, axis in enumerate(axes)}
    chunks = {"0": of(np.ones(math.prod(axes) and 320))}
    return msgpack.packb(
        {"a": {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}}
    )


HOSTILE = {
    "chunks of a shape of floats": chunked(320.0),
    "chunks of a negative shape": chunked(-320, -1),
    "chunks of a shape of truths": chunked(320, True),
    "chunks of nothing in a huge shape": chunked(2**62, 2**62, 0),
    "chunks of 70 axes": chunked(*[1] * 69, 320),
    "nothing in a huge shape": msgpack.packb({"a": leaf((2**62, 2**62, 0), "float32", b"")}),
    "nested 100 deep": nested(100),
    "nested 100,000 deep": nested(100_000),
    "fewer bytes than the shape": msgpack.packb({"a": leaf((4,), "float32", b"0000")}),
    "a huge shape": msgpack.packb({"a": leaf((2**31, 2**31), "float32", b"0000")}),
    "a negative shape": msgpack.packb({"a": leaf((-2, -2), "float32", b"0" * 16)}),
    "a shape of floats": msgpack.packb({"a": leaf((2.0,), "float32", b"0" * 8)}),
    "a shape of truths": msgpack.packb({"a": leaf((True,), "float32", b"0000")}),
    "a name longer than is read at once": msgpack.packb({"a" * 5000: of(np.ones(1))}),
    "a dtype longer than is read at once": msgpack.packb({"a": leaf((1,), "f" * 5000, b"0000")}),
    "a shape of text": msgpack.packb({"a": leaf(("4",), "float32", b"0" * 16)}),
    "a shape of 70 axes": msgpack.packb({"a": leaf((1,) * 70, "float32", b"0000")}),
    "an object dtype": msgpack.packb({"a": leaf((1,), "object", b"0" * 8)}),
    "a record dtype": msgpack.packb({"a": leaf((1,), "f4,f4", b"0" * 8)}),
    "no dtype": msgpack.packb({"a": leaf((1,), None, b"0" * 8)}),
    "a number for values": msgpack.packb({"a": leaf((1,), "float32", 4)}),
    "two parts": msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb((1, 2)))}),
    "another extension": msgpack.packb({"a": msgpack.ExtType(42, b"code")}),
    "text for an array": msgpack.packb({"a": "text"}),
    "a list": msgpack.packb({"a": [1, 2]}),
    "an array at the top": msgpack.packb(of(np.ones(1))),
    "a list of 4 billion at the top": b"\xdd\xff\xff\xff\xff",
    "lists of a million in each other": b"\xdd\x00\x10\x00\x00" * 300 + b"\x00" * 2**20,
    "an extension longer than the file": b"\x81\xa1a\xc9\xff\xff\xff\xff\x01abc",
    "chunks that do not fit": msgpack.packb(
        {
            "a": {
                "__msgpack_chunked_array__": True,
                "shape": {"0": 9},
                "chunks": {"0": of(np.ones(2))},
            }
        }
    ),
    "chunks without a shape": msgpack.packb({"a": {"__msgpack_chunked_array__": True}}),
    "names that are not text": msgpack.packb({1: of(np.ones(1))}),
    "names that are not UTF-8": b"\x81\xa1\xff\x01",
    "bytes left over": msgpack.packb({"a": of(np.ones(1))}) + b"\x00",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_by_its_name_and_takes_no_memory(case: str, path: Path) -> None:
    path.write_bytes(HOSTILE[case])
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointUnreadable, match=r"m\.msgpack"):
            FLAX_MSGPACK.open(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()
