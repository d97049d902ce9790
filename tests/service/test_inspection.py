"""What ``model-base inspect`` prints, of folders good and bad."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_base.checkpoints import SAFETENSORS
from service.inspection import NotAModel, inspect_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    configure(tmp_path, model_type="bert", architectures=["BertModel"])
    return tmp_path


def configure(folder: Path, **fields: Any) -> None:
    (folder / "config.json").write_text(json.dumps(fields))


def shown(folder: Path) -> dict[str, str]:
    lines = [line for line in inspect_folder(folder).splitlines() if line]
    return {line[:14].strip(): line[14:] for line in lines}


def refusal(folder: Path) -> str:
    with pytest.raises(NotAModel) as refused:
        inspect_folder(folder)
    text = str(refused.value)
    assert text.isprintable()
    assert len(text) <= 500
    return text


def test_parameters_are_the_values_that_are_floating(folder: Path) -> None:
    arrays = {
        "weight": np.zeros((2, 3), np.float32),
        "half": np.zeros(4, np.float16),
        "position_ids": np.zeros(512, np.int64),
    }
    SAFETENSORS.write(folder / "model.safetensors", arrays, {"format": "pt"})
    lines = shown(folder)
    assert lines["tensors"] == "3"
    assert lines["parameters"] == "10"
    assert lines["bytes"] == f"{6 * 4 + 4 * 2 + 512 * 8:,}"
    assert lines["dtypes"] == "int64 512, float32 6, float16 4"


@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_several_names_share_counts_once(
    folder: Path, dtype: torch.dtype, is_sharded: bool
) -> None:
    table = torch.zeros(20, 3, dtype=dtype)
    tensors = {"embed": table, "head": table, "half": table[:10], "none": table[:0]}
    name = "pytorch_model.bin"
    torch.save(tensors, folder / name)
    if is_sharded:
        (folder / name).rename(folder / "1.bin")
        torch.save({"other": torch.zeros(20, 3, dtype=dtype)}, folder / "2.bin")
        files = dict.fromkeys(tensors, "1.bin") | {"other": "2.bin"}
        (folder / f"{name}.index.json").write_text(json.dumps({"weight_map": files}))
    lines = shown(folder)
    values = 60 + 30 + 60 * is_sharded
    assert lines["tensors"] == f"{3 + is_sharded} (1 more name for the same values)"
    assert lines["parameters"] == str(values)
    assert lines["bytes"] == str(values * dtype.itemsize)


@pytest.mark.parametrize("fields", [{}, {"architectures": None, "model_type": None}])
def test_what_the_configuration_does_not_say_is_unknown(
    folder: Path, fields: dict[str, Any]
) -> None:
    configure(folder, **fields)
    assert shown(folder)["architecture"] == shown(folder)["model type"] == "unknown"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("architectures", [1]),
        ("architectures", ["A", None]),
        ("architectures", 5),
        ("architectures", {"a": "\x1b[2J" * 1000}),
        ("model_type", ["bert", 2]),
        ("model_type", {"a": 1}),
    ],
)
def test_a_field_of_a_wrong_type_is_refused_by_file_and_key(
    folder: Path, key: str, value: object
) -> None:
    configure(folder, **{key: value})
    assert refusal(folder).startswith(f"config.json: {key} is ")


@pytest.mark.parametrize("name", ["x" * 300, "x" * 10**6, "\x1b[2J\n", "a/" * 10**5, "a\0b"])
def test_a_shard_s_impossible_name_is_one_clear_line(folder: Path, name: str) -> None:
    index = {"weight_map": {"w": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model.safetensors.index.json" in refusal(folder)


def test_what_files_say_cannot_steer_a_terminal(folder: Path) -> None:
    configure(folder, model_type="\x1b]0;owned\x07", architectures=["A\nB", "\ud800", "Bärt"])
    lines = shown(folder)
    assert lines["model type"] == r"\x1b]0;owned\x07"
    assert lines["architecture"] == r"A\nB, \ud800, Bärt"


def test_each_saved_model_is_told_with_its_version(folder: Path) -> None:
    for number in ("2", "10"):
        version = folder / "saved_model" / number
        version.mkdir(parents=True)
        (version / "saved_model.pb").touch()
    text = inspect_folder(folder)
    assert "model type    bert" in text
    assert text.index("saved_model version 2 (no variables)") < text.index("saved_model version 10")
    assert "no weights of a known format" not in text
    assert "saved_model version 10" in inspect_folder(folder / "saved_model")
    assert "format        saved_model (no variables)" in inspect_folder(version)


@pytest.mark.tensorflow
def test_variables_of_a_saved_model_are_counted_without_tensorflow(tmp_path: Path) -> None:
    from tests.service.worker.runners.saved_model_files import write_keras, write_tf1

    for write, count in ((write_keras, "24"), (write_tf1, "3")):  # Keras stores each twice
        write(tmp_path / count)
        lines = shown(tmp_path / count)
        assert lines["format"] == "saved_model (1 file)"
        assert lines["parameters"] == count
