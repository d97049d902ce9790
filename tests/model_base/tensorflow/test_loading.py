"""TFPreTrainedModel.from_pretrained."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from model_base import (  # noqa: E402
    BertConfig,
    BertForMaskedLM,
    BertModel,
    TFBertForMaskedLM,
    TFBertForSequenceClassification,
    TFBertModel,
)
from model_base.errors import (  # noqa: E402
    CheckpointMismatch,
    CheckpointNotFound,
    UnsupportedConfig,
)
from model_base.hub.files import Folder  # noqa: E402
from model_base.loading.resolve import resolve_any  # noqa: E402
from model_base.loading.source import open_source  # noqa: E402
from model_base.tensorflow.layers import _Room  # noqa: E402
from model_base.tensorflow.loading import _put  # noqa: E402
from model_base.tensorflow.module_utils import named_variables  # noqa: E402
from model_base.tensorflow.saving import _Values  # noqa: E402

FIXTURES = Path(__file__).parents[2] / "fixtures"
Small = Callable[..., BertConfig]


def weights(model: Any) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in named_variables(model).items()}


def same(one: Any, other: Any) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[n], theirs[n]) for n in ours)


@pytest.fixture
def folder(small: Small, tmp_path: Path) -> Path:
    """A saved TFBertForMaskedLM."""
    TFBertForMaskedLM(small()).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}, {"safe_serialization": True}])
def test_a_model_is_loaded_as_it_was_saved(
    options: dict[str, Any], small: Small, tmp_path: Path
) -> None:
    model = TFBertForMaskedLM(small())
    model.save_pretrained(tmp_path, **options)
    loaded, info = TFBertForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert same(model, loaded)
    assert not any(info.values())
    assert loaded.name_or_path == str(tmp_path)


@pytest.mark.parametrize("safe", [True, False])
def test_a_torch_model_comes_back_with_the_same_bits(
    safe: bool, small: Small, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    model = BertForMaskedLM(small())
    model.save_pretrained(tmp_path / "pt", safe_serialization=safe)
    flag = {} if safe else {"from_pt": True}
    TFBertForMaskedLM.from_pretrained(tmp_path / "pt", **flag).save_pretrained(tmp_path / "tf")
    again = BertForMaskedLM.from_pretrained(tmp_path / "tf", from_tf=True)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_a_flax_file_is_loaded_if_it_is_asked_for() -> None:
    folder = FIXTURES / "flax_bertmodel_msgpack/ckpt"
    with pytest.raises(CheckpointNotFound, match="set from_flax=True"):
        TFBertModel.from_pretrained(folder)
    model, info = TFBertModel.from_pretrained(folder, from_flax=True, output_loading_info=True)
    assert not any(info.values())
    theirs = BertModel.from_pretrained(folder, from_flax=True).embeddings.word_embeddings.weight
    assert np.array_equal(model.get_input_embeddings().weight.numpy(), theirs.detach().numpy())


def test_a_pytorch_file_has_to_be_asked_for(small: Small, tmp_path: Path) -> None:
    BertModel(small()).save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(CheckpointNotFound, match=r"pytorch_model.bin.*set from_pt=True"):
        TFBertModel.from_pretrained(tmp_path)


def test_what_is_missing_starts_as_in_a_new_model_and_is_told_by_layer(folder: Path) -> None:
    model, info = TFBertForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    pooler = ["bert/pooler/dense/bias:0", "bert/pooler/dense/kernel:0"]
    assert sorted(info["missing_keys"]) == [*pooler, "classifier"]
    kernel = model.classifier.kernel.numpy()
    assert 0 < np.abs(kernel).max() <= 2 * model.config.initializer_range


def test_a_head_s_weights_are_left_over_in_a_base_model(folder: Path) -> None:
    _, info = TFBertModel.from_pretrained(folder, output_loading_info=True)
    assert info["unexpected_keys"] == ["mlm___cls"]


def test_a_head_of_another_size_is_refused_or_starts_anew(small: Small, tmp_path: Path) -> None:
    TFBertForSequenceClassification(small(num_labels=5)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointMismatch, match="classifier"):
        TFBertForSequenceClassification.from_pretrained(tmp_path, num_labels=3)
    model, info = TFBertForSequenceClassification.from_pretrained(
        tmp_path, num_labels=3, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert len(info["mismatched_keys"]) == 2
    assert np.abs(model.classifier.kernel.numpy()).max() > 0


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
@pytest.mark.parametrize("fields", [
    {"vocab_size": 70_001},  # more than one chunk, the last one short
    {"vocab_size": 3, "max_position_embeddings": 2, "pad_token_id": 0},
])  # fmt: skip
def test_large_tensors_arrive_whole(
    fields: dict[str, int], stored: str, small: Small, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    model = BertModel(small(**fields)).to(getattr(torch, stored))
    model.save_pretrained(tmp_path)
    loaded = TFBertModel.from_pretrained(tmp_path)
    for name, tensor in (("word", model.embeddings.word_embeddings.weight),
                         ("position", model.embeddings.position_embeddings.weight)):  # fmt: skip
        variable = next(v for v in loaded.weights if v.path.startswith(f"{name}_embeddings"))
        assert np.array_equal(variable.numpy(), tensor.detach().float().numpy())


def test_a_row_of_more_than_a_chunk_arrives_whole() -> None:
    import keras

    variable = keras.Variable(np.zeros((2, 2**20 + 1), np.float32))
    values = np.random.default_rng(0).normal(size=variable.shape).astype(np.float16)
    _put(variable, values)
    assert np.array_equal(variable.numpy(), values.astype(np.float32))


def test_a_model_is_loaded_under_a_strategy(folder: Path) -> None:
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        mirrored = TFBertForMaskedLM.from_pretrained(folder)
    assert same(mirrored, TFBertForMaskedLM.from_pretrained(folder))


def test_another_dtype_than_single_precision_is_saved(folder: Path, tmp_path: Path) -> None:
    import keras

    model = TFBertModel.from_pretrained(folder)
    variable = keras.Variable(np.ones((2, 3)), dtype="bfloat16")
    assert _Values({"a": variable})["a"].astype(np.float32).tolist() == [[1] * 3] * 2
    assert _Values({"a": model.weights[0]})["a"].dtype == np.float32


def test_another_size_that_is_asked_for_may_be_any(folder: Path) -> None:
    loaded = TFBertModel.from_pretrained(folder, vocab_size=9_000_000, ignore_mismatched_sizes=True)
    assert loaded.get_input_embeddings().weight.shape == (9_000_000, 32)


def test_a_small_file_may_get_a_large_new_head(small: Small, tmp_path: Path) -> None:
    TFBertModel(small()).save_pretrained(tmp_path)
    loaded = TFBertForSequenceClassification.from_pretrained(tmp_path, num_labels=20_000)
    assert loaded.classifier.kernel.shape == (32, 20_000)


def test_the_room_of_a_model_is_eight_times_its_file_and_a_gibibyte() -> None:
    room = _Room(2**30)
    for _ in range(9):
        room.take((2**28,))
    with pytest.raises(CheckpointMismatch, match="8 times the 1073741824 bytes"):
        room.take((1,))


def test_the_bytes_of_a_file_are_those_of_all_its_tensors() -> None:
    files = resolve_any(Folder(FIXTURES / "tf_bertmodel_h5/ckpt"))
    with open_source(files, ()) as source:
        infos = source.checkpoint.infos
        assert source.num_bytes == sum(4 * math.prod(i.shape) for i in infos.values())
        assert len(infos) > 1


def test_absurd_sizes_are_refused_before_they_take_memory(folder: Path) -> None:
    for field in ("vocab_size", "intermediate_size", "max_position_embeddings"):
        with pytest.raises(CheckpointMismatch, match="sizes ask for more than 8 times the"):
            TFBertModel.from_pretrained(folder, **{field: 2**30})


def test_unsupported_mathematics_is_refused(folder: Path) -> None:
    with pytest.raises(UnsupportedConfig, match="hidden_act"):
        TFBertModel.from_pretrained(folder, hidden_act="maxout")


def test_a_new_model_has_random_values_after_a_load_too(folder: Path, small: Small) -> None:
    TFBertModel.from_pretrained(folder)
    assert np.std(TFBertModel(small()).bert.pooler.dense.kernel.numpy()) > 0.01


def test_a_later_save_takes_the_place_of_shards(small: Small, tmp_path: Path) -> None:
    model = TFBertModel(small())
    (tmp_path / "model.safetensors").touch()
    for options, wanted in (
        ({"max_shard_size": "20KB"}, r"tf_model-\d+-of-\d+\.h5|tf_model\.h5\.index\.json"),
        ({}, r"tf_model\.h5"),
    ):
        model.save_pretrained(tmp_path, **options)
        names = {path.name for path in tmp_path.iterdir()} - {"config.json", "model.safetensors"}
        assert all(re.fullmatch(wanted, name) for name in names)
    assert (tmp_path / "model.safetensors").exists()  # it may be PyTorch's
    model.save_pretrained(tmp_path, safe_serialization=True, max_shard_size="20KB")
    assert not (tmp_path / "model.safetensors").exists()
    assert (tmp_path / "model.safetensors.index.json").exists()


def test_both_stacks_keep_their_files_in_one_folder(small: Small, tmp_path: Path) -> None:
    BertForMaskedLM(small()).save_pretrained(tmp_path)
    model = TFBertForMaskedLM.from_pretrained(tmp_path)
    model.set_bias({"bias": tf.ones(61)})
    model.save_pretrained(tmp_path)
    assert {"model.safetensors", "tf_model.h5"} <= {path.name for path in tmp_path.iterdir()}
    assert np.all(TFBertForMaskedLM.from_pretrained(tmp_path).get_bias()["bias"].numpy() == 1)
    assert BertForMaskedLM.from_pretrained(tmp_path).cls.predictions.bias.abs().max() == 0
