"""TensorFlow 1 checkpoints: what is listed, how it is read, and damage."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from model_base import BertForPreTraining, CheckpointUnreadable
from model_base.checkpoints import TF_CHECKPOINT

GOLD = Path(__file__).parents[2] / "fixtures"


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The index of a small BERT with its optimizer's state."""
    shutil.copytree(GOLD / "tf1_bertforpretraining" / "ckpt", tmp_path / "ckpt")
    return tmp_path / "ckpt" / "model.ckpt.index"


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
