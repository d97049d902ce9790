"""save_pretrained: everything or nothing."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from model_base import AutoModel, BertConfig, BertForMaskedLM, BertModel

Small = Callable[..., BertConfig]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def stored_names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as file:
        return list(file.keys())


def test_a_model_is_saved_with_its_config(small: Small, tmp_path: Path) -> None:
    BertModel(small()).half().save_pretrained(tmp_path / "a" / "b")
    assert files(tmp_path / "a" / "b") == ["config.json", "model.safetensors"]
    config = json.loads((tmp_path / "a" / "b" / "config.json").read_text())
    assert (config["architectures"], config["torch_dtype"]) == (["BertModel"], "float16")


class Custom(BertModel):
    """A class of the user's own."""


def test_a_class_of_an_auto_class_is_saved_with_the_file_that_defines_it(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Custom, "_auto_class", None)
    Custom.register_for_auto_class("AutoModel")
    Custom(small()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["auto_map"] == {"AutoModel": "test_saving.Custom"}
    assert (tmp_path / "test_saving.py").read_text() == Path(__file__).read_text()
    assert type(AutoModel.from_pretrained(tmp_path)) is BertModel  # the file is never run


def test_an_unknown_auto_class_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'AutoThing' is no auto class; accepted: AutoModel, "):
        Custom.register_for_auto_class("AutoThing")


def test_a_view_of_another_tensor_is_saved_with_it(small: Small, tmp_path: Path) -> None:
    model = BertModel(small())
    weight = model.encoder.layer[0].attention.self.query.weight.detach()
    model.register_buffer("row", weight[:1])
    model.register_buffer("turned", weight.T)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        for name, tensor in model.state_dict().items():
            assert torch.equal(file.get_tensor(name), tensor)


def test_a_bin_holds_every_name_and_safetensors_each_tensor_once(
    small: Small, tmp_path: Path
) -> None:
    model = BertForMaskedLM(small())
    model.save_pretrained(tmp_path)
    names = stored_names(tmp_path / "model.safetensors")
    assert "bert.embeddings.word_embeddings.weight" in names
    assert not any("decoder" in name for name in names)
    model.save_pretrained(tmp_path, safe_serialization=False)
    assert torch.load(tmp_path / "pytorch_model.bin").keys() == model.state_dict().keys()


@pytest.mark.parametrize("safe", [True, False])
def test_shards_and_their_index_agree(safe: bool, small: Small, tmp_path: Path) -> None:
    model = BertModel(small())
    model.save_pretrained(tmp_path, max_shard_size=10_000, safe_serialization=safe)
    whole = "model.safetensors" if safe else "pytorch_model.bin"
    index = json.loads((tmp_path / f"{whole}.index.json").read_text())
    shards = set(index["weight_map"].values())
    assert shards == {name for name in files(tmp_path) if "-of-" in name}
    assert index["weight_map"].keys() == model.state_dict().keys()
    total = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert index["metadata"]["total_size"] == total


def test_saving_over_the_folder_it_was_loaded_from_works(small: Small, tmp_path: Path) -> None:
    BertModel(small()).save_pretrained(tmp_path)
    model = BertModel.from_pretrained(tmp_path)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path)
    for again in (model, BertModel.from_pretrained(tmp_path)):
        assert all(torch.equal(t, before[name]) for name, t in again.state_dict().items())


def test_weight_files_of_an_earlier_save_are_removed_and_others_kept(
    small: Small, tmp_path: Path
) -> None:
    model = BertModel(small())
    kept = ["vocab.txt", "model.onnx", "pytorch_model.bin.bak", "tf_model.h5"]
    for name in kept:
        (tmp_path / name).touch()
    model.save_pretrained(tmp_path, max_shard_size="10KB", safe_serialization=False)
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    assert not list(tmp_path.glob("pytorch_model-*"))
    model.save_pretrained(tmp_path)
    assert files(tmp_path) == sorted([*kept, "config.json", "model.safetensors"])


def test_another_process_writes_weights_only_and_removes_nothing(
    small: Small, tmp_path: Path
) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    BertModel(small()).save_pretrained(tmp_path, is_main_process=False)
    assert files(tmp_path) == ["model.safetensors", "pytorch_model.bin"]


def test_a_state_dict_is_written_in_place_of_the_model_s(small: Small, tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2), "b": torch.zeros(3, dtype=torch.bfloat16)}
    BertModel(small()).save_pretrained(tmp_path, state_dict=tensors)
    assert stored_names(tmp_path / "model.safetensors") == ["a", "b"]


def test_names_that_are_not_to_be_saved_are_left_out(small: Small, tmp_path: Path) -> None:
    model = BertModel(small())
    model._keys_to_ignore_on_save = ["pooler.dense.bias"]
    model.save_pretrained(tmp_path)
    names = stored_names(tmp_path / "model.safetensors")
    assert "pooler.dense.bias" not in names
    assert "pooler.dense.weight" in names


def test_what_wraps_a_model_is_taken_off(small: Small, tmp_path: Path) -> None:
    class Wrapper(BertModel):
        def __init__(self, module: BertModel) -> None:
            super().__init__(module.config)
            self.module = module

    Wrapper(BertModel(small())).save_pretrained(tmp_path)
    assert "pooler.dense.bias" in stored_names(tmp_path / "model.safetensors")


def test_a_function_of_one_s_own_writes_each_bin(small: Small, tmp_path: Path) -> None:
    def save(tensors: Any, path: Path) -> None:
        path.write_text(str(len(tensors)))

    model = BertModel(small())
    model.save_pretrained(tmp_path, save_function=save, safe_serialization=False)
    assert (tmp_path / "pytorch_model.bin").read_text() == str(len(model.state_dict()))


@pytest.mark.parametrize("safe", [True, False])
def test_views_and_transposed_weights_are_saved_by_value(
    safe: bool, small: Small, tmp_path: Path
) -> None:
    model = BertModel(small())
    weight = torch.randn(64, 32)
    model.pooler.dense.weight = torch.nn.Parameter(weight[::2].T)
    model.save_pretrained(tmp_path, safe_serialization=safe)
    loaded = BertModel.from_pretrained(tmp_path)
    assert torch.equal(loaded.pooler.dense.weight, weight[::2].T)


def test_a_path_that_is_a_file_and_unknown_arguments_are_refused(
    small: Small, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        BertModel(small()).save_pretrained(tmp_path / "file")
    with pytest.raises(TypeError, match="has no argument martian"):
        BertModel(small()).save_pretrained(tmp_path, martian=1)


@pytest.mark.parametrize("safe", [True, False])
def test_a_save_that_fails_half_way_leaves_the_old_files(
    safe: bool, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BertModel(small()).save_pretrained(tmp_path, max_shard_size="10KB", safe_serialization=safe)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("model_base.saving.write_index", full)
    with pytest.raises(OSError, match="No space left"):
        BertModel(small()).save_pretrained(tmp_path, max_shard_size="9KB", safe_serialization=safe)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield folder
    finally:  # lazily: whatever a failed test left open
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("safe", [True, False])
def test_a_full_disk_is_an_error_of_the_system_and_leaves_the_old_files(
    safe: bool, small: Small, tiny_disk: Path
) -> None:
    BertModel(small()).save_pretrained(tiny_disk, safe_serialization=safe)
    before = {path.name: path.read_bytes() for path in tiny_disk.iterdir()}
    with pytest.raises(OSError, match=r"(?i)space|write|device"):
        BertModel(small(vocab_size=900)).save_pretrained(tiny_disk, safe_serialization=safe)
    assert {path.name: path.read_bytes() for path in tiny_disk.iterdir()} == before
