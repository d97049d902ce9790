"""Files that the real libraries wrote: the same numbers, whatever framework and version."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import model_base
from model_base.auto import config_class
from model_base.configs import CONFIGS

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "tests" / "fixtures"
FLAGS: dict[str, dict[str, Any]] = {
    "tf": {"from_tf": True}, "tf1": {"from_tf": True}, "flax": {"from_flax": True}, "pt": {},
}  # fmt: skip


def gold() -> Path:
    """The whole set where it is, else what is committed: every architecture and format once."""
    folder = Path(os.environ.get("MODEL_BASE_FIXTURES", ROOT.parent / "shared" / "fixtures"))
    return folder if (folder / "manifest.json").is_file() else COMMITTED


def rows(folder: Path) -> list[dict[str, Any]]:
    """The manifest's rows of one whole model each; sp_ are cases, read by the gate."""
    manifest = json.loads((folder / "manifest.json").read_text())["fixtures"]
    return [row for row in manifest if not row["name"].startswith("sp_")]


def test_every_architecture_is_committed() -> None:
    texts = [(COMMITTED / r["name"] / "ckpt" / "config.json").read_text() for r in rows(COMMITTED)]
    files = {config_class(json.loads(text)["model_type"]).__module__ for text in texts}
    assert files == {config.__module__ for config in CONFIGS}


@pytest.mark.parametrize("row", rows(gold()), ids=lambda row: row["name"])
def test_a_file_gives_the_outputs_of_the_library_that_wrote_it(row: dict[str, Any]) -> None:
    fixtures, name, flags = gold(), row["name"], FLAGS[row["framework"]]
    if row["format"] == "st_tf":
        flags = {}  # safetensors of Keras' names need no flag
    facts = json.loads((fixtures / name / "expected.json").read_text())
    architecture = facts["architecture"].removeprefix("TF").removeprefix("Flax")
    model, info = getattr(model_base, architecture).from_pretrained(
        fixtures / name / "ckpt", torch_dtype="float32", output_loading_info=True, **flags
    )
    assert info == {key: [] for key in info}
    with np.load(fixtures / name / "expected.npz") as arrays:
        inputs = {key[3:]: torch.as_tensor(arrays[key]) for key in arrays if key.startswith("in.")}
        wanted = {key[4:]: arrays[key] for key in arrays if key.startswith("out.")}
    with torch.no_grad():
        outputs = model(**{key: _index(value) for key, value in inputs.items()})
    compared = wanted.keys() & outputs.keys()
    assert compared
    for key in compared:
        limit = 1e-4 if flags else 2e-5
        np.testing.assert_allclose(outputs[key], wanted[key], rtol=limit, atol=limit, err_msg=key)


def _index(value: torch.Tensor) -> torch.Tensor:
    return value if value.is_floating_point() else value.long()


@pytest.mark.parametrize("framework", ["tf", "flax"])
def test_another_framework_s_file_is_saved_as_our_own(framework: str, tmp_path: Path) -> None:
    name = {"tf": "tf_bertmodel_h5", "flax": "flax_bertmodel_msgpack"}[framework]
    model = model_base.BertModel.from_pretrained(COMMITTED / name / "ckpt", **FLAGS[framework])
    model.save_pretrained(tmp_path)
    again, info = model_base.BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    for key, tensor in again.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[key]), key
