"""TensorFlow 1 checkpoints: what is listed, how it is read, and damage."""

import contextlib
import shutil
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from model_base import BertForPreTraining, CheckpointUnreadable
from model_base.checkpoints import TF_CHECKPOINT
from model_base.checkpoints.tf_checkpoint import TfCheckpoint

GOLD = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The index of a small BERT with its optimizer's state."""
    shutil.copytree(GOLD / "tf1_bertforpretraining" / "ckpt", tmp_path / "ckpt")
    return tmp_path / "ckpt" / "model.ckpt.index"


def varint(value: int) -> bytes:
    """A number of a protocol buffer."""
    low = bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
    return low + varint(value >> 7) if value > 0x7F else low


def field(number: int, value: int | bytes) -> bytes:
    """A field: a number, or what is nested."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fixed64(number: int, value: int) -> bytes:
    """A field of eight bytes."""
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def shape(*dims: int) -> bytes:
    """The field of a tensor's shape."""
    return field(2, b"".join(field(2, field(1, dim)) for dim in dims))


FLOAT = field(1, 1)
SIXTEEN_BYTES = FLOAT + shape(2, 2) + field(5, 16)
"""The entry of a float32 ``[2, 2]`` at the start of the data."""
HEADER = (0, b"", field(1, 1))


def block(rows: Iterable[tuple[int, bytes, bytes]]) -> bytes:
    """A block without its trailer, of bytes shared with the key before, own bytes, value."""
    content = b"".join(
        varint(shared) + varint(len(own)) + varint(len(value)) + own + value
        for shared, own, value in rows
    )
    return content + struct.pack("<II", 0, 1)


def table(rows: Iterable[tuple[int, bytes, bytes]], times: int = 1) -> bytes:
    """An index of one block, which is referred to several times."""
    data = block(rows)
    handle = varint(0) + varint(len(data))
    top = block((0, b"", handle) for _ in range(times))
    footer = handle + varint(len(data) + 5) + varint(len(top))
    magic = struct.pack("<Q", 0xDB4775248B80FB57)
    return data + bytes(5) + top + bytes(5) + footer.ljust(40, b"\0") + magic


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., TfCheckpoint]:
    """Open an index of one tensor, ``w``, beside 16 bytes of data or others."""

    def build(entry: bytes, header: bytes = HEADER[2], data: bytes = bytes(16)) -> TfCheckpoint:
        path = tmp_path / "w.index"
        path.write_bytes(table([(0, b"", header), (0, b"w", entry)]))
        path.with_name("w.data-00000-of-00001").write_bytes(data)
        return TF_CHECKPOINT.open(path)

    return build


def test_weights_are_listed_and_what_the_optimizer_keeps_is_not(index: Path) -> None:
    checkpoint = TF_CHECKPOINT.open(index)
    info = checkpoint.infos["bert/embeddings/word_embeddings"]
    assert (info.shape, info.dtype) == ((320, 32), np.float32)
    assert not [name for name in checkpoint.infos if "adam" in name or "step" in name]


def test_values_are_mapped_and_private(index: Path) -> None:
    before = index.with_suffix(".data-00000-of-00001").read_bytes()
    array = TF_CHECKPOINT.open(index).read("bert/embeddings/LayerNorm/gamma")
    array[:] = 7
    assert index.with_suffix(".data-00000-of-00001").read_bytes() == before


@pytest.mark.parametrize("name", ["", "model.ckpt", "model.ckpt.index"])
def test_folder_prefix_and_index_mean_the_same(index: Path, name: str) -> None:
    model, info = BertForPreTraining.from_pretrained(
        index.parent / name, config=index.parent / "config.json", from_tf=True,
        output_loading_info=True,
    )  # fmt: skip
    assert not any(info.values())
    kernel = TF_CHECKPOINT.open(index).read("bert/encoder/layer_1/output/dense/kernel")
    stored = model.bert.encoder.layer[1].output.dense.weight
    np.testing.assert_array_equal(stored.detach(), kernel.T)


def test_a_data_file_that_is_absent_or_too_short_is_named(index: Path) -> None:
    data = index.with_suffix(".data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:100])
    checkpoint = TF_CHECKPOINT.open(index)
    with pytest.raises(CheckpointUnreadable, match=r"data-00000-of-00001.*ends at byte"):
        checkpoint.read("cls/seq_relationship/output_weights")
    data.unlink()
    with pytest.raises(CheckpointUnreadable, match="data-00000-of-00001"):
        TF_CHECKPOINT.open(index).read("cls/seq_relationship/output_weights")


def test_a_tensor_is_where_its_entry_says(opened: Callable[..., TfCheckpoint]) -> None:
    stored = np.arange(6, dtype=np.float32)
    checkpoint = opened(SIXTEEN_BYTES + field(4, 8), data=stored.tobytes())
    np.testing.assert_array_equal(checkpoint.read("w"), [[2, 3], [4, 5]])


@pytest.mark.parametrize(("offset", "held"), [(0, 15), (1, 16), (2**40, 16), (0, 0)])
def test_data_that_end_before_the_tensor_are_refused(
    opened: Callable[..., TfCheckpoint], offset: int, held: int
) -> None:
    checkpoint = opened(SIXTEEN_BYTES + field(4, offset), data=bytes(held))
    with pytest.raises(CheckpointUnreadable, match=r"w\.data-00000-of-00001.*(ends at|is empty)"):
        checkpoint.read("w")


@pytest.mark.parametrize("size", [0, 12, 15, 17, 32])
def test_a_size_that_is_not_the_shapes_is_refused(
    opened: Callable[..., TfCheckpoint], size: int
) -> None:
    with pytest.raises(CheckpointUnreadable, match=rf"w\.index.*\(2, 2\).*has {size} bytes"):
        opened(FLOAT + shape(2, 2) + field(5, size))


@pytest.mark.parametrize("place", [1, 3, 4, 5])
@pytest.mark.parametrize("write", [lambda n: field(n, b"1"), lambda n: fixed64(n, 1)])
def test_a_number_that_is_stored_as_something_else_is_refused(
    opened: Callable[..., TfCheckpoint], place: int, write: Callable[[int], bytes]
) -> None:
    with pytest.raises(CheckpointUnreadable, match=rf"w\.index: field {place} is b'"):
        opened(write(place) + SIXTEEN_BYTES)


@pytest.mark.parametrize("written", [field(1, b"1"), fixed64(1, 1), field(1, 2**63)])
def test_a_count_of_data_files_that_is_no_count_is_refused(
    opened: Callable[..., TfCheckpoint], written: bytes
) -> None:
    with pytest.raises(CheckpointUnreadable, match=r"w\.index: field 1 is"):
        opened(SIXTEEN_BYTES, header=written)


@pytest.mark.parametrize(
    "written", [field(2, 1), field(2, field(2, 1)), field(2, field(2, fixed64(1, 4)))]
)
def test_a_shape_that_is_none_is_refused(
    opened: Callable[..., TfCheckpoint], written: bytes
) -> None:
    with pytest.raises(CheckpointUnreadable, match=r"w\.index: field [12] is"):
        opened(FLOAT + written + field(5, 16))


@pytest.mark.parametrize("dims", [(0, 2**63), (0, 2**64 - 1), (0, 2**62, 2**62), (0, 2**62)])
def test_a_shape_that_no_array_has_is_refused(
    opened: Callable[..., TfCheckpoint], dims: tuple[int, ...]
) -> None:
    with pytest.raises(CheckpointUnreadable, match=r"w\.(index|data)"):
        opened(FLOAT + shape(*dims)).read("w")


@pytest.mark.parametrize(
    ("rows", "times", "why"),
    [
        ([HEADER, (0, b"w", SIXTEEN_BYTES)], 3000, "its blocks overlap"),
        ([HEADER, (0, b"k" * 4097, SIXTEEN_BYTES)], 1, "a key has over 4096 bytes"),
        (
            [HEADER, (0, b"k" * 4096, SIXTEEN_BYTES), (4096, b"k", SIXTEEN_BYTES)], 1,
            "a key has over 4096 bytes",
        ),
        ([HEADER, *((0, b"k", b"") for _ in range(2**15))], 1, "over 32768 entries"),
    ],
    ids=["blocks", "key", "grown key", "entries"],
)  # fmt: skip
def test_an_index_that_unfolds_to_more_than_its_file_is_refused(
    tmp_path: Path, rows: list[tuple[int, bytes, bytes]], times: int, why: str
) -> None:
    path = tmp_path / "w.index"
    path.write_bytes(table(rows, times))
    with pytest.raises(CheckpointUnreadable, match=rf"w\.index: .*{why}"):
        TF_CHECKPOINT.open(path)


@pytest.mark.parametrize("lost", [1, 2, 20])
def test_an_entry_that_leaves_its_block_is_refused(tmp_path: Path, lost: int) -> None:
    rows = [HEADER, (0, b"w", SIXTEEN_BYTES)]
    content = block(rows)
    place = content.index(b"w" + SIXTEEN_BYTES) - 1
    path = tmp_path / "w.index"
    whole = bytearray(table(rows))
    whole[place] += lost
    path.write_bytes(whole)
    with pytest.raises(CheckpointUnreadable, match="an entry leaves its block"):
        TF_CHECKPOINT.open(path)


def test_a_file_that_memory_does_not_hold_is_refused(
    opened: Callable[..., TfCheckpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> bytes:
        raise MemoryError

    checkpoint = opened(SIXTEEN_BYTES)
    monkeypatch.setattr(np, "memmap", fail)
    with pytest.raises(CheckpointUnreadable, match="data-00000.*more memory than there is"):
        checkpoint.read("w")
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(CheckpointUnreadable, match=r"w\.index: .*more memory than there is"):
        opened(SIXTEEN_BYTES)


@pytest.mark.parametrize("seed", range(100))
def test_a_damaged_index_is_refused_or_read_but_ends_in_nothing_else(
    index: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(index.read_bytes())
    for place in rng.integers(0, len(data), 3):
        data[place] = rng.integers(256)
    index.write_bytes(data[: rng.integers(1, len(data) + 1)] if seed % 2 else data)
    with contextlib.suppress(CheckpointUnreadable):
        checkpoint = TF_CHECKPOINT.open(index)
        for name in checkpoint.infos:
            checkpoint.read(name)


def test_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="read, not written"):
        TF_CHECKPOINT.write(tmp_path / "model.ckpt.index", {}, {})
