"""How much memory it takes to load and to write, measured in a process of its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from model_base import BertConfig, BertModel, TFBertModel
from service.conversion import convert

MEGABYTE = 2**20
LARGEST = 32 * MEGABYTE
SLACK = 24 * MEGABYTE
MEASURE = """
import sys
from pathlib import Path
import torch  # what a .bin is read with is in memory before it is measured
import tensorflow as tf
from model_base import BertConfig, TFBertModel
from tests.model_base.peak import Peak

folder, target, *flags = sys.argv[1:]
target = Path(target)
tiny = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
tiny = TFBertModel(tiny)
tiny.save_pretrained(target / "tiny")
tiny.export_saved_model(target / "tiny_graph")
with Peak() as load:
    model = TFBertModel.from_pretrained(folder, **{flag: True for flag in flags})
with Peak() as save:
    model.save_pretrained(target / "h5", max_shard_size="16MB")
with Peak() as export:
    model.export_saved_model(target / "graph")
for peak in (load, save, export):
    print(*peak.over)
"""


@pytest.fixture(scope="module")
def in_shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 120 MB in shards of 16, one folder for each format."""
    folder = tmp_path_factory.mktemp("in_shards")
    config = BertConfig(
        vocab_size=16384, hidden_size=512, num_hidden_layers=4, num_attention_heads=8,
        intermediate_size=2048,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder / "safetensors", max_shard_size="16MB")
    for to in ("bin", "flax", "tf"):
        convert(folder / "safetensors", folder / to, to, "16MB", lambda done, total: None)
    return folder


@pytest.mark.parametrize(
    ("form", "flags"),
    [("safetensors", ()), ("bin", ("from_pt",)), ("flax", ("from_flax",)), ("tf", ())],
)
def test_a_model_is_in_memory_once_while_it_is_loaded_and_written(
    in_shards: Path, form: str, flags: tuple[str, ...], tmp_path: Path,
    run_python: Callable[..., str],
) -> None:  # fmt: skip
    size = sum(path.stat().st_size for path in (in_shards / "safetensors").glob("*-of-*"))
    lines = run_python(MEASURE, in_shards / form, tmp_path, *flags).splitlines()
    (load, load_mapped), (save, _), (export, _) = (map(int, line.split()) for line in lines)
    assert size - SLACK < load < size + SLACK
    assert load_mapped < size + LARGEST + SLACK
    assert save < SLACK
    assert export < LARGEST + SLACK


def test_no_forward_copies_the_weights_of_a_model_that_was_loaded(tmp_path: Path) -> None:
    """Writing into a variable makes TensorFlow copy it at every read from then on."""
    config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    TFBertModel(config).save_pretrained(tmp_path)
    for variable in TFBertModel.from_pretrained(tmp_path).weights:
        one, other = (np.asarray(memoryview(variable.value.value())) for _ in range(2))
        assert np.shares_memory(one, other), variable.path
