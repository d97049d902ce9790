"""PyTorch's pickles: nothing in them runs, and only state dicts of plain tensors are taken."""

import contextlib
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.fuzz import damaged
from model_base.checkpoints import TORCH_BIN
from model_base.checkpoints.torch_bin import from_numpy, to_numpy
from model_base.errors import CheckpointUnreadable, UnsafeCheckpoint

HOSTILE = ("sp_malicious_os_system", "sp_malicious_open_legacy", "sp_malicious_exec_in_shard2")


class Opens:
    """Would create a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_is_refused_and_does_not_run(legacy: bool, tmp_path: Path) -> None:
    path, trace = tmp_path / "m.bin", tmp_path / "trace"
    content = {"a": torch.zeros(1), "b": Opens(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UnsafeCheckpoint, match=r"m\.bin"):
        TORCH_BIN.open(path)
    assert not trace.exists()


def test_a_plain_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "m.bin", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Opens(trace)))
    with pytest.raises(CheckpointUnreadable, match=r"m\.bin"):
        TORCH_BIN.open(path)
    assert not trace.exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_the_hostile_fixtures_are_refused_and_do_not_run(name: str, fixtures: Path) -> None:
    mark = json.loads((fixtures / name / "expected.json").read_text())["must_not_create"]
    refused = []
    for path in (fixtures / name / "ckpt").rglob("*.bin"):
        with contextlib.suppress(UnsafeCheckpoint):
            TORCH_BIN.open(path)
            continue
        refused.append(path)
    assert len(refused) == 1
    assert not Path(mark).exists()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (torch.zeros(2), "a Tensor"),
        ([torch.zeros(2)], "a list"),
        ({"model": {"a": torch.zeros(2)}}, "entry 'model' is a dict"),
        ({"step": 3}, "entry 'step' is a int"),
        ({"a": torch.zeros(2).to_sparse()}, "entry 'a' is a torch.sparse_coo"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "torch.complex64"),
        ({"a": torch.zeros(2, device="meta")}, "entry 'a' is"),
        ({"a": torch.zeros(1).expand(2**40)}, r"shape \(1099511627776,\)"),
    ],
)
def test_only_a_state_dict_of_dense_tensors_is_taken(
    content: object, what: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "m.bin")
    with pytest.raises(CheckpointUnreadable, match=rf"m\.bin.*{what}"):
        TORCH_BIN.open(tmp_path / "m.bin")


@pytest.mark.parametrize("seed", range(80))
def test_a_damaged_pickle_in_a_whole_zip_is_refused_by_the_file_s_name(
    seed: int, tmp_path: Path
) -> None:
    path, whole = tmp_path / "m.bin", tmp_path / "whole.bin"
    torch.save({"a": torch.zeros(2, 3), "b": torch.zeros(4)}, whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, damaged(data, seed) if name.endswith("data.pkl") else data)
    refusal = ""
    try:
        checkpoint = TORCH_BIN.open(path)
        for name, info in checkpoint.infos.items():
            assert checkpoint.read(name).shape == info.shape
    except CheckpointUnreadable as error:
        refusal = str(error)
    assert not refusal or re.search(r"m\.bin.* (damaged|refused|is not a state dict)", refusal)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_that_was_cut_short_says_so(legacy: bool, tmp_path: Path) -> None:
    """Cut within the name of a class, it names one that is not a tensor's, and is refused."""
    path = tmp_path / "m.bin"
    torch.save({"a": torch.zeros(50)}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in range(1, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointUnreadable, match=r"m\.bin: damaged|m\.bin in .* is refused"):
            TORCH_BIN.open(path)


def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "m.bin").mkdir()
    with pytest.raises(CheckpointUnreadable, match=r"m\.bin: Is a directory"):
        TORCH_BIN.open(tmp_path / "m.bin")


@pytest.mark.parametrize("legacy", [False, True])
def test_views_and_parameters_are_read_by_value(legacy: bool, tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    content = {"column": base[:, 1], "turned": base.T, "weight": torch.nn.Parameter(base)}
    torch.save(content, tmp_path / "m.bin", _use_new_zipfile_serialization=not legacy)
    checkpoint = TORCH_BIN.open(tmp_path / "m.bin")
    for name, tensor in content.items():
        assert checkpoint.read(name).tolist() == tensor.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.bool])
def test_tensor_and_array_share_memory(dtype: torch.dtype) -> None:
    tensor = torch.ones(4).to(dtype)
    back = from_numpy(to_numpy(tensor))
    assert (back.dtype, back.data_ptr()) == (dtype, tensor.data_ptr())


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32)[::-1],
        np.frombuffer(bytearray(b"\x01" + np.arange(3, dtype="<f4").tobytes()), "<f4", 3, 1),
    ],
    ids=["backwards", "unaligned"],
)
def test_memory_that_torch_cannot_address_is_copied(array: np.ndarray) -> None:
    assert from_numpy(array).tolist() == array.tolist()


def test_without_pytorch_a_bin_says_what_reads_it(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    TORCH_BIN.write(tmp_path / "w.bin", {"a": np.zeros(2, np.float32)}, {})
    code = """
import sys
from pathlib import Path
sys.modules["torch"] = None
from model_base.checkpoints import TORCH_BIN
try:
    TORCH_BIN.open(Path(sys.argv[1]))
except OSError as error:
    print(error)
"""
    assert "pip install 'model-base[torch]'" in run_python(code, tmp_path / "w.bin")
