"""model-base convert: a model in another weight format."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_base import AutoModel, GPT2LMHeadModel
from service.cli import main
from service.conversion import NotConvertible, convert

FIXTURES = Path(__file__).parents[1] / "fixtures"
FLAGS: dict[str, dict[str, Any]] = {"flax": {"from_flax": True}, "tf": {"from_tf": True}}
SOURCES = {
    "pt_bertmodel_bin_legacy": {},
    "pt_bertmodel_bin_sharded": {},
    "v457_t5forconditionalgeneration_st": {},
    "tf_bertmodel_h5": {"from_tf": True},
    "tf_gpt2lmheadmodel_h5": {"from_tf": True},
    "tf1_bertforpretraining": {"from_tf": True},
    "flax_clipmodel_msgpack": {"from_flax": True},
    "v426_tf_bertformaskedlm_h5_sharded": {"from_tf": True},
}


def silent(done: int, total: int) -> None:
    assert done <= total


def weights(folder: Path, **flags: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)  # what a file lacks is random
    found: dict[str, torch.Tensor] = AutoModel.from_pretrained(folder, **flags).state_dict()
    return found


@pytest.mark.parametrize("size", ["10GB", "30KB"])
@pytest.mark.parametrize("to", ["safetensors", "bin", "flax"])
@pytest.mark.parametrize("name", SOURCES)
def test_the_values_are_the_same_in_every_format(
    name: str, to: str, size: str, tmp_path: Path
) -> None:
    source = FIXTURES / name / "ckpt"
    convert(source, tmp_path / "new", to, size, silent)
    before = weights(source, **SOURCES[name])
    after = weights(tmp_path / "new", **FLAGS.get(to, {}))
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        assert torch.equal(tensor, after[key]), key
    assert (size == "10GB") == (not list((tmp_path / "new").glob("*.index.json")))
    assert (tmp_path / "new/config.json").read_bytes() == (source / "config.json").read_bytes()


def test_names_in_a_flax_file_are_those_that_flax_gives(tmp_path: Path) -> None:
    from model_base.checkpoints import FLAX_MSGPACK

    for name in ("flax_albertmodel_msgpack", "flax_bartforconditionalgeneration_msgpack"):
        source = FIXTURES / name / "ckpt"
        convert(source, tmp_path / name, "flax", "10GB", silent)
        wanted = FLAX_MSGPACK.open(source / "flax_model.msgpack")
        found = FLAX_MSGPACK.open(tmp_path / name / "flax_model.msgpack")
        assert dict(found.infos) == dict(wanted.infos)
        for key in wanted.infos:
            assert np.array_equal(found.read(key), wanted.read(key))


@pytest.mark.parametrize("to", ["safetensors", "flax"])
def test_no_framework_is_imported(to: str, tmp_path: Path, run_python: Callable[..., str]) -> None:
    code = """
import json, sys
from pathlib import Path
from service.conversion import convert
convert(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], "10GB", lambda done, total: None)
print(json.dumps(sorted({"torch", "tensorflow", "keras", "jax"} & set(sys.modules))))
"""
    source = FIXTURES / "tf_bertmodel_h5/ckpt"
    assert json.loads(run_python(code, source, tmp_path / "new", to)) == []


@pytest.mark.tensorflow
def test_keras_files_and_saved_models_are_written_by_tensorflow(tmp_path: Path) -> None:
    import tensorflow as tf

    source = FIXTURES / "v457_gpt2lmheadmodel_st/ckpt"
    convert(source, tmp_path / "h5", "tf", "10GB", silent)
    before = GPT2LMHeadModel.from_pretrained(source).eval()
    after = GPT2LMHeadModel.from_pretrained(tmp_path / "h5", from_tf=True)
    for key, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[key]), key
    convert(source, tmp_path / "served", "saved-model", "10GB", silent)
    serve = tf.saved_model.load(str(tmp_path / "served/1")).signatures["serving_default"]
    ids = np.array([[5, 6, 7]], np.int32)
    served = serve(input_ids=tf.constant(ids), attention_mask=tf.ones_like(ids))["logits"]
    with torch.no_grad():
        wanted = before(torch.from_numpy(ids).long()).logits
    np.testing.assert_allclose(served, wanted, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_converted_is_told_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FIXTURES / "tf_bertmodel_h5/ckpt"
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    for given, target, text in (
        (tmp_path / "absent", tmp_path / "new", "is not a folder"),
        (source, tmp_path / "full", "is not an empty folder"),
        (tmp_path / "full", tmp_path / "new", "has no config.json"),
    ):
        with pytest.raises(NotConvertible, match=text):
            convert(given, target, "safetensors", "10GB", silent)
        assert main(["convert", str(given), str(target), "--to", "bin"]) == 2
        assert text in capsys.readouterr().err
    with pytest.raises(ValueError, match="size"):
        convert(source, tmp_path / "new", "bin", "ten", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.tensorflow
def test_a_model_that_is_not_whole_is_not_converted_by_tensorflow(tmp_path: Path) -> None:
    source = tmp_path / "trunk"
    shutil.copytree(FIXTURES / "tf_bertmodel_h5/ckpt", source)
    config = json.loads((source / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (source / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotConvertible, match="weights are not in the files, such as .*classifier"):
        convert(source, tmp_path / "new", "tf", "10GB", silent)
    assert not (tmp_path / "new").exists()


def test_what_a_killed_conversion_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "new/.saving-x").mkdir(parents=True)
    (tmp_path / "new/.saving-x/half").touch()
    convert(FIXTURES / "tf_bertmodel_h5/ckpt", tmp_path / "new", "flax", "10GB", silent)
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"config.json", "flax_model.msgpack"}


def test_the_command_shows_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = FIXTURES / "tf_bertmodel_h5/ckpt"
    assert main(["convert", str(source), str(tmp_path / "new"), "--to", "safetensors"]) == 0
    out, err = capsys.readouterr()
    assert "100%" in err
    assert out == f"{tmp_path / 'new'}\n"
    assert main(["convert", str(tmp_path), str(tmp_path / "other"), "--to", "safetensors"]) == 2
    assert "B/s" not in capsys.readouterr().err
    assert (tmp_path / "new/model.safetensors").is_file()
