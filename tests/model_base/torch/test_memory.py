"""How much memory a load takes, measured in a process of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model_base import BertConfig, BertModel
from model_base.checkpoints import FLAX_MSGPACK

MEGABYTE = 2**20
SLACK = 12 * MEGABYTE

MEASURE = """
import sys, torch
import model_base
from model_base import BertModel, BertConfig, load_sharded_checkpoint
from tests.model_base.peak import Peak

folder, dtype = sys.argv[1], sys.argv[2]
tiny = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
BertModel._from_config(tiny)(torch.ones(1, 2, dtype=torch.long))
"""
FROM_PRETRAINED = """
with Peak() as p:
    model = BertModel.from_pretrained(folder, torch_dtype=dtype)
print(*p.over)
"""
INTO_A_MODEL = """
model = BertModel(BertConfig.from_pretrained(folder))
with Peak() as p:
    load_sharded_checkpoint(model, folder)
print(*p.over)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A model of 80 MB in shards of 16 MB: as safetensors and as ``.bin``."""
    config = BertConfig(
        vocab_size=4000, hidden_size=512, num_hidden_layers=5, num_attention_heads=8,
        intermediate_size=2048,
    )  # fmt: skip
    model = BertModel(config)
    folders = {}
    for safe in (True, False):
        folders[safe] = tmp_path_factory.mktemp("large")
        model.save_pretrained(folders[safe], max_shard_size="16MB", safe_serialization=safe)
    return folders


@pytest.fixture(scope="module")
def from_flax(large: dict[bool, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as one msgpack file, its matrices transposed as Flax has them."""
    folder = tmp_path_factory.mktemp("flax")
    model = BertModel.from_pretrained(large[True])
    model.config.save_pretrained(folder)
    arrays = {}
    for name, tensor in model.state_dict().items():
        *path, leaf = name.split(".")
        if leaf == "weight":
            leaf = "scale" if path[-1] == "LayerNorm" else "kernel"
        leaf = "embedding" if path[-1].endswith("_embeddings") else leaf
        array = tensor.numpy().copy()
        arrays["/".join([*path, leaf])] = array.T if leaf == "kernel" else array
    FLAX_MSGPACK.write(folder / "flax_model.msgpack", arrays, {})
    return folder


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*-of-*"))


def measured(run_python: Callable[..., str], code: str, folder: Path, dtype: str) -> list[int]:
    return [int(number) for number in run_python(MEASURE + code, folder, dtype).split()]


@pytest.mark.parametrize("safe", [True, False])
def test_a_load_in_the_file_s_dtype_copies_nothing(
    safe: bool, large: dict[bool, Path], run_python: Callable[..., str]
) -> None:
    own, _ = measured(run_python, FROM_PRETRAINED, large[safe], "float32")
    assert own < SLACK


def test_a_load_that_need_not_be_small_copies_everything(
    large: dict[bool, Path], run_python: Callable[..., str]
) -> None:
    code = FROM_PRETRAINED.replace("dtype)", "dtype, low_cpu_mem_usage=False)")
    own, everything = measured(run_python, code, large[True], "float32")
    assert own > size_of(large[True]) - SLACK
    assert everything < size_of(large[True]) + 16 * MEGABYTE + SLACK


@pytest.mark.parametrize("safe", [True, False])
def test_a_load_in_another_dtype_takes_the_model_and_one_shard(
    safe: bool, large: dict[bool, Path], run_python: Callable[..., str]
) -> None:
    own, everything = measured(run_python, FROM_PRETRAINED, large[safe], "bfloat16")
    model = size_of(large[safe]) // 2
    assert model - SLACK < own < model + SLACK
    assert everything < model + 16 * MEGABYTE + SLACK


@pytest.mark.parametrize("safe", [True, False])
def test_loading_shards_into_a_model_takes_one_shard(
    safe: bool, large: dict[bool, Path], run_python: Callable[..., str]
) -> None:
    own, everything = measured(run_python, INTO_A_MODEL, large[safe], "float32")
    assert own < SLACK
    assert everything < 16 * MEGABYTE + SLACK


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_load_of_a_flax_file_takes_the_model_and_one_tensor(
    dtype: str, from_flax: Path, large: dict[bool, Path], run_python: Callable[..., str]
) -> None:
    code = FROM_PRETRAINED.replace("dtype)", "dtype, from_flax=True)")
    own, everything = measured(run_python, code, from_flax, dtype)
    model = size_of(large[True]) // (1 if dtype == "float32" else 2)
    assert model - SLACK < own < model + SLACK
    assert everything < model + 16 * MEGABYTE + SLACK


def test_the_measure_sees_what_is_allocated(
    large: dict[bool, Path], run_python: Callable[..., str]
) -> None:
    code = """
with Peak() as p:
    gone = torch.ones(10 * 2**20)
    for _ in range(2):  # the first look may have begun before
        p.looked.clear()
        assert p.looked.wait(30)
    del gone
print(*p.over)
"""
    own, _ = measured(run_python, code, large[True], "float32")
    assert abs(own - 40 * MEGABYTE) < SLACK
