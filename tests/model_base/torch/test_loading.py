"""from_pretrained and load_sharded_checkpoint."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model_base import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    load_sharded_checkpoint,
)
from model_base.checkpoints.safetensors import Safetensors
from model_base.checkpoints.sharding import Index, ShardedCheckpoint, write_index
from model_base.errors import (
    CheckpointMismatch,
    CheckpointNotFound,
    CheckpointUnreadable,
    CorruptCheckpoint,
    UnsupportedConfig,
)

Small = Callable[..., BertConfig]


@pytest.fixture
def folder(small: Small, tmp_path: Path) -> Path:
    """A saved BertForMaskedLM, float32, that names its dtype."""
    BertForMaskedLM(small()).save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    """The folder with its tensors changed."""
    model = BertForMaskedLM.from_pretrained(folder)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    del tensors["cls.predictions.decoder.weight"], tensors["cls.predictions.decoder.bias"]
    save_file(change(tensors), folder / "model.safetensors", {"format": "pt"})
    return folder


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


def test_a_model_is_loaded_as_it_was_saved_and_in_eval_mode(small: Small, tmp_path: Path) -> None:
    model = BertForMaskedLM(small())
    model.save_pretrained(tmp_path)
    loaded, info = BertForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert same(model, loaded)
    assert not loaded.training
    assert not any(info.values())
    assert loaded.name_or_path == loaded.config.name_or_path == str(tmp_path)


def test_tied_weights_are_one_parameter_after_loading(folder: Path) -> None:
    model = BertForMaskedLM.from_pretrained(folder)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.cls.predictions.bias is model.cls.predictions.decoder.bias


def test_untied_weights_stay_apart(small: Small, tmp_path: Path) -> None:
    model = BertForMaskedLM(small(tie_word_embeddings=False))
    model.save_pretrained(tmp_path)
    loaded = BertForMaskedLM.from_pretrained(tmp_path)
    assert same(model, loaded)
    assert loaded.get_output_embeddings().weight is not loaded.get_input_embeddings().weight


# ---- dtypes


@pytest.mark.parametrize(
    ("asked", "stored", "config", "expected"),
    [
        (None, torch.bfloat16, "bfloat16", torch.float32),
        ("auto", torch.float32, "bfloat16", torch.bfloat16),
        ("auto", torch.float16, None, torch.float16),
        (torch.float64, torch.float16, "float16", torch.float64),
        ("bfloat16", torch.float32, None, torch.bfloat16),
        ("torch.float16", torch.float32, None, torch.float16),
    ],
)
def test_the_dtype_is_as_asked_else_the_config_s_else_the_file_s(
    asked: Any, stored: torch.dtype, config: str | None, expected: torch.dtype, folder: Path
) -> None:
    rewrite(folder, lambda tensors: {n: t.to(stored) for n, t in tensors.items()})
    settings = BertConfig.from_pretrained(folder)
    settings.torch_dtype = config
    settings.save_pretrained(folder)
    model = BertForMaskedLM.from_pretrained(folder, torch_dtype=asked)
    assert {p.dtype for p in model.parameters()} == {expected}
    assert torch.get_default_dtype() is torch.float32


def test_auto_passes_over_integers_at_the_head_of_the_file(folder: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        first = {"a.position_ids": torch.arange(4)}
        return first | {name: tensor.half() for name, tensor in tensors.items()}

    rewrite(folder, change)
    config = BertConfig.from_pretrained(folder)
    config.torch_dtype = None
    model = BertForMaskedLM.from_pretrained(folder, config=config, torch_dtype="auto")
    assert model.dtype is torch.float16


@pytest.mark.parametrize("dtype", ["int8", torch.int64, "float33", 7])
def test_a_dtype_that_is_not_floating_is_refused(dtype: Any, folder: Path) -> None:
    with pytest.raises(ValueError, match="cannot make BertForMaskedLM in dtype .*; accepted"):
        BertForMaskedLM.from_pretrained(folder, torch_dtype=dtype)


def test_the_default_dtype_is_restored_when_construction_fails(folder: Path) -> None:
    class Broken(BertForMaskedLM):
        def __init__(self, config: BertConfig) -> None:
            raise ZeroDivisionError

    for make in (Broken.from_pretrained, lambda _, **k: Broken._from_config(BertConfig(), **k)):
        with pytest.raises(ZeroDivisionError):
            make(folder, torch_dtype=torch.float16)
        assert torch.get_default_dtype() is torch.float32


def test_without_a_dtype_torch_s_default_is_taken(folder: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        assert BertForMaskedLM.from_pretrained(folder).dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


# ---- memory


def test_training_after_a_load_does_not_change_the_file(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    model = BertForMaskedLM.from_pretrained(folder).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("head", [BertModel, BertForMaskedLM, BertForSequenceClassification])
def test_no_tensor_stays_without_memory(head: Any, folder: Path) -> None:
    model = head.from_pretrained(folder)
    assert not any(t.is_meta for t in (*model.parameters(), *model.buffers()))


@pytest.mark.parametrize("lost", ["encoder", "pooler", "LayerNorm", "embeddings", ""])
def test_no_tensor_stays_without_memory_whatever_is_missing(lost: str, folder: Path) -> None:
    rewrite(folder, lambda tensors: {n: t for n, t in tensors.items() if lost not in n})
    model, info = BertForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(t.is_meta for t in model.parameters())
    assert all(bool(t.isfinite().all()) for t in model.parameters())
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert bool(info["missing_keys"]) is (lost != "pooler")


def test_a_constructor_that_computes_what_is_not_stored_is_our_mistake(folder: Path) -> None:
    class Computing(BertModel):
        def __init__(self, config: BertConfig) -> None:
            super().__init__(config)
            self.register_buffer("angles", torch.arange(3), persistent=False)

    with pytest.raises(AssertionError, match=r"Computing computes .*\['angles'\]"):
        Computing.from_pretrained(folder)


# ---- what fits and what does not


def test_what_is_missing_is_initialised_as_in_a_new_model_and_warned_of(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "model_base.loading"):
        model, info = BertForSequenceClassification.from_pretrained(
            folder, output_loading_info=True
        )
    assert set(info["missing_keys"]) == {
        "bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight",
        "classifier.bias",
    }  # fmt: skip
    assert model.classifier.bias.abs().sum() == 0
    assert 0.01 < model.classifier.weight.std() < 0.03
    assert "classifier.weight" in caplog.text
    assert "cls.predictions.bias" in caplog.text


def test_a_module_that_is_missing_in_part_keeps_the_part_it_has(folder: Path) -> None:
    name = "cls.predictions.transform.LayerNorm"

    def change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        del tensors[f"{name}.bias"]
        return tensors | {f"{name}.weight": torch.full((32,), 7.0)}

    model = BertForMaskedLM.from_pretrained(rewrite(folder, change))
    norm = model.get_submodule(name)
    assert norm.weight.unique().tolist() == [7.0]
    assert norm.bias.unique().tolist() == [0.0]


def test_a_base_model_is_loaded_from_a_checkpoint_with_a_head(folder: Path) -> None:
    model, info = BertModel.from_pretrained(
        folder, add_pooling_layer=False, output_loading_info=True
    )
    assert info["missing_keys"] == []
    assert "cls.predictions.bias" in info["unexpected_keys"]
    assert same(model, BertForMaskedLM.from_pretrained(folder).bert)


def test_a_head_of_another_size_is_refused_or_initialised(
    small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    BertForSequenceClassification(small(num_labels=2)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointMismatch, match=r"classifier\.weight: stored \(2, 32\)"):
        BertForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    model, info = BertForSequenceClassification.from_pretrained(
        tmp_path, num_labels=3, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert ("classifier.weight", (2, 32), (3, 32)) in info["mismatched_keys"]
    assert model.classifier.weight.shape == (3, 32)
    assert "shapes did not match" in caplog.text


def test_contradictory_names_are_refused(folder: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}

    with pytest.raises(CorruptCheckpoint, match="is corrupted"):
        BertForMaskedLM.from_pretrained(rewrite(folder, change))


def test_names_of_2018_are_understood(folder: Path) -> None:
    before = BertForMaskedLM.from_pretrained(folder)

    def change(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        return {
            next((n.replace(a, b) for a, b in old.items() if n.endswith(a)), n): tensor
            for n, tensor in tensors.items()
        }

    after, info = BertForMaskedLM.from_pretrained(rewrite(folder, change), output_loading_info=True)
    assert same(before, after)
    assert not any(info.values())


def test_unsupported_mathematics_is_refused_before_anything_is_read(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnsupportedConfig, match="hidden_act"):
        BertForMaskedLM.from_pretrained(folder, config=BertConfig(hidden_act="new"))


# ---- other ways to say what to load


def test_a_state_dict_takes_the_place_of_files(small: Small, folder: Path) -> None:
    model = BertForMaskedLM(small())
    for name in (None, folder):
        loaded = BertForMaskedLM.from_pretrained(
            name, config=small(), state_dict=model.state_dict()
        )
        assert same(model, loaded)


def test_a_loaded_state_dict_does_not_share_memory_by_surprise(small: Small) -> None:
    model = BertForMaskedLM(small())
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loaded = BertForMaskedLM.from_pretrained(None, config=small(), state_dict=tensors)
    with torch.no_grad():
        loaded.get_input_embeddings().weight.zero_()
    assert torch.equal(model.state_dict()["bert.embeddings.word_embeddings.weight"],
                       tensors["bert.embeddings.word_embeddings.weight"])  # fmt: skip


@pytest.mark.parametrize("kwargs", [{}, {"config": BertConfig()}])
def test_nothing_to_load_from_is_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs config and state_dict"):
        BertModel.from_pretrained(None, **kwargs)


def test_a_weight_file_is_loaded_by_its_own_path(folder: Path) -> None:
    model = BertForMaskedLM.from_pretrained(folder / "model.safetensors")
    assert same(model, BertForMaskedLM.from_pretrained(folder))


def test_a_tensorflow_1_checkpoint_has_to_be_asked_for(folder: Path) -> None:
    (folder / "model.ckpt.index").touch()
    with pytest.raises(CheckpointNotFound, match="set from_tf=True"):
        BertModel.from_pretrained(folder / "model.ckpt")
    with pytest.raises(CheckpointUnreadable, match=r"model\.ckpt\.index .* is empty"):
        BertModel.from_pretrained(folder / "model.ckpt", from_tf=True)


def test_old_arguments_without_effect_are_taken(folder: Path) -> None:
    BertModel.from_pretrained(folder, low_cpu_mem_usage=True, _fast_init=False, proxies={},
                              resume_download=True, mirror="x")  # fmt: skip


def test_arguments_of_later_versions_are_taken_at_their_neutral_values(folder: Path) -> None:
    BertModel.from_pretrained(folder, trust_remote_code=False, use_safetensors=True, token=None,
                              attn_implementation="sdpa", device_map="cpu")  # fmt: skip


@pytest.mark.parametrize("argument", [{"trust_remote_code": True}, {"nonsense": 1}])
def test_an_unknown_argument_is_refused_with_its_value(
    folder: Path, argument: dict[str, Any]
) -> None:
    name, value = next(iter(argument.items()))
    with pytest.raises(TypeError, match=f"from_pretrained got {name}={value}: it is neither"):
        BertModel.from_pretrained(folder, **argument)


def test_fields_of_the_config_can_be_replaced_and_others_go_to_the_class(folder: Path) -> None:
    model = BertModel.from_pretrained(folder, hidden_act="relu", add_pooling_layer=False)
    assert (model.config.hidden_act, model.pooler) == ("relu", None)
    with pytest.raises(TypeError, match="martian"):
        BertModel.from_pretrained(folder, martian=1)


def test_an_auto_class_takes_fields_of_the_config_too(folder: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=5)
    assert type(model) is BertForSequenceClassification
    assert model.classifier.out_features == 5


def test_a_given_config_is_used_as_it_is_and_learns_the_name(small: Small, folder: Path) -> None:
    config = small(hidden_act="relu")
    model = BertForMaskedLM.from_pretrained(folder, config=config)
    assert model.config is config
    assert config.name_or_path == str(folder)


# ---- shards


@pytest.mark.parametrize("safe", [True, False])
def test_a_sharded_model_is_loaded_as_it_was_saved(
    safe: bool, small: Small, tmp_path: Path
) -> None:
    model = BertForMaskedLM(small())
    model.save_pretrained(tmp_path, max_shard_size="10KB", safe_serialization=safe)
    assert len(list(tmp_path.glob("*-of-*"))) > 2
    loaded, info = BertForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert same(model, loaded)
    assert not any(info.values())


@pytest.mark.parametrize("safe", [True, False])
def test_shards_are_loaded_into_an_existing_model(safe: bool, small: Small, tmp_path: Path) -> None:
    model = BertModel(small())
    model.save_pretrained(tmp_path, max_shard_size="10KB", safe_serialization=safe)
    other = BertModel(small()).double()
    places = {name: tensor.data_ptr() for name, tensor in other.state_dict().items()}
    result = load_sharded_checkpoint(other, tmp_path)
    assert {name: tensor.data_ptr() for name, tensor in other.state_dict().items()} == places
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    assert other.dtype is torch.float64
    assert same(model.double(), other)


def test_names_that_do_not_fit_are_refused_before_anything_is_copied(
    small: Small, tmp_path: Path
) -> None:
    BertModel(small()).save_pretrained(tmp_path, max_shard_size="10KB")
    model = BertModel(small(num_hidden_layers=3), add_pooling_layer=False)
    before = model.embeddings.word_embeddings.weight.clone()
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*layer\.2.*Unexpected key.*pooler"):
        load_sharded_checkpoint(model, tmp_path)
    assert torch.equal(model.embeddings.word_embeddings.weight, before)
    result = load_sharded_checkpoint(model, tmp_path, strict=False)
    assert result.unexpected_keys == ["pooler.dense.bias", "pooler.dense.weight"]
    assert not torch.equal(model.embeddings.word_embeddings.weight, before)


def test_a_tied_tensor_that_is_stored_once_is_not_missing(small: Small, tmp_path: Path) -> None:
    model, other = BertForMaskedLM(small()), BertForMaskedLM(small())
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    result = load_sharded_checkpoint(other, tmp_path)
    assert (result.missing_keys, result.unexpected_keys) == ([], [])
    assert same(model, other)


def test_shards_of_any_module_are_loaded_under_their_own_names(tmp_path: Path) -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gamma, self.beta = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))

    torch.save({"gamma": torch.zeros(2), "beta": torch.zeros(2)}, tmp_path / "1.bin")
    index = Index({"gamma": "1.bin", "beta": "1.bin"}, {})
    write_index(tmp_path / "pytorch_model.bin.index.json", index)
    model = Scale()
    load_sharded_checkpoint(model, tmp_path)
    assert (model.gamma.sum(), model.beta.sum()) == (0, 0)


def test_shapes_that_do_not_fit_are_refused(small: Small, tmp_path: Path) -> None:
    BertModel(small()).save_pretrained(tmp_path, max_shard_size="10KB")
    with pytest.raises(RuntimeError, match="size mismatch for embeddings"):
        load_sharded_checkpoint(BertModel(small(vocab_size=9)), tmp_path)


def test_a_folder_without_an_index_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="has no checkpoint index"):
        load_sharded_checkpoint(nn.Linear(1, 1), folder)


def test_progress_counts_the_bytes_to_the_end(folder: Path) -> None:
    steps: list[tuple[int, int]] = []
    BertForMaskedLM.from_pretrained(folder, _progress=lambda *step: steps.append(step))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1] > 0


@pytest.mark.parametrize("safe", [True, False])
def test_shards_are_loaded_although_a_whole_file_lies_beside_them(
    safe: bool, small: Small, tmp_path: Path
) -> None:
    model, other = BertModel(small()), BertModel(small())
    model.save_pretrained(tmp_path / "whole", safe_serialization=safe)
    (whole,) = (tmp_path / "whole").glob("*model*")
    other.save_pretrained(tmp_path, max_shard_size="10KB", safe_serialization=safe)
    whole.rename(tmp_path / whole.name)
    load_sharded_checkpoint(model, tmp_path)
    assert same(model, other)


@pytest.mark.parametrize("load", [load_sharded_checkpoint, None])
def test_no_shard_stays_open(
    load: Any, small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ShardedCheckpoint] = []
    init = ShardedCheckpoint.__init__

    def note(self: ShardedCheckpoint, *arguments: Any) -> None:
        seen.append(self)
        init(self, *arguments)

    BertModel(small()).save_pretrained(tmp_path, max_shard_size="10KB")
    monkeypatch.setattr(ShardedCheckpoint, "__init__", note)
    if load is None:
        BertModel.from_pretrained(tmp_path)
    else:
        load(BertModel(small()), tmp_path)
    assert [checkpoint._open for checkpoint in seen] == [None]


def test_each_shard_is_read_in_one_go(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = BertModel(small())
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    weight_map = {}
    for number, name in enumerate(model.state_dict()):  # neighbours lie in different shards
        weight_map[name] = f"model-0000{number % 3 + 1}-of-00003.safetensors"
    for file in set(weight_map.values()):
        part = {n: t for n, t in model.state_dict().items() if weight_map[n] == file}
        save_file(part, tmp_path / file, {"format": "pt"})
    write_index(tmp_path / "model.safetensors.index.json", Index(weight_map, {}))
    opened: list[str] = []
    open_ = Safetensors.open

    def note(self: Safetensors, path: Path) -> Any:
        opened.append(path.name)
        return open_(self, path)

    monkeypatch.setattr(Safetensors, "open", note)
    assert same(model, BertModel.from_pretrained(tmp_path))
    assert max(Counter(opened).values()) == 2  # for the header, and for the data


def test_parameters_that_the_class_freezes_are_loaded_frozen(small: Small, tmp_path: Path) -> None:
    class Frozen(BertModel):
        def __init__(self, config: BertConfig) -> None:
            super().__init__(config)
            self.embeddings.requires_grad_(False)

    BertModel(small()).save_pretrained(tmp_path)
    loaded = Frozen.from_pretrained(tmp_path)
    assert not any(p.requires_grad for p in loaded.embeddings.parameters())
    assert all(p.requires_grad for p in loaded.encoder.parameters())
