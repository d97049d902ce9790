"""Files that the real libraries wrote: the same numbers, whatever framework and version."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import model_base

# (fixture, how to ask for another framework's file)
TF, FLAX = {"from_tf": True}, {"from_flax": True}
FILES: list[tuple[str, dict[str, Any]]] = [
    ("pt_bertmodel_bin", {}),
    ("pt_bertmodel_bin_legacy", {}),
    ("pt_bertrelkey_bin", {}),
    ("pt_bertmodel_bin_sharded", {}),
    ("v457_bertmodel_st", {}),
    ("v457_bertmodel_st_sharded", {}),
    ("v5_bertformaskedlm_st_bf16", {}),
    ("tf_bertmodel_h5", TF),
    ("tf_bertformaskedlm_h5", TF),
    ("tf_bertfortokenclassification_h5", TF),
    ("flax_bertmodel_msgpack", FLAX),
    ("flax_bertmodel_msgpack_bf16", FLAX),
    ("flax_bertformaskedlm_msgpack", FLAX),
    ("flax_bertforquestionanswering_msgpack_fp16", FLAX),
    ("flax_bertforsequenceclassification_msgpack_bf16_mask", FLAX),
    ("v426_tf_bertformaskedlm_h5_sharded", TF),
    ("v426_tf_bertforsequenceclassification_st_tf", {}),
    ("v426_flax_bertmodel_msgpack_sharded", FLAX),
    ("tf_bartforconditionalgeneration_h5", TF),
    ("flax_bartforconditionalgeneration_msgpack", FLAX),
    ("tf_vitforimageclassification_h5", TF),
    ("flax_vitforimageclassification_msgpack", FLAX),
    ("tf_clipmodel_h5", TF),
    ("flax_clipmodel_msgpack", FLAX),
    ("tf_gpt2lmheadmodel_h5", TF),
    ("tf1_gpt2model", TF),
    ("flax_gpt2lmheadmodel_msgpack", FLAX),
    ("tf_robertaformaskedlm_h5", TF),
    ("flax_electraforpretraining_msgpack", FLAX),
    ("tf_distilbertforsequenceclassification_h5", TF),
    ("tf_albertmodel_h5", TF),
    ("flax_albertmodel_msgpack", FLAX),
]


@pytest.mark.parametrize(("name", "flags"), FILES, ids=[name for name, _ in FILES])
def test_a_file_gives_the_outputs_of_the_library_that_wrote_it(
    name: str, flags: dict[str, bool], fixtures: Path
) -> None:
    facts = json.loads((fixtures / name / "expected.json").read_text())
    architecture = facts["architecture"].removeprefix("TF").removeprefix("Flax")
    model, info = getattr(model_base, architecture).from_pretrained(
        fixtures / name / "ckpt", torch_dtype="float32", output_loading_info=True, **flags
    )
    assert not any(info.values())
    with np.load(fixtures / name / "expected.npz") as arrays:
        inputs = {key[3:]: torch.as_tensor(arrays[key]) for key in arrays if key.startswith("in.")}
        wanted = {key[4:]: arrays[key] for key in arrays if key.startswith("out.")}
    with torch.no_grad():
        outputs = model(**{key: _index(value) for key, value in inputs.items()})
    compared = wanted.keys() & outputs.keys()
    assert compared
    for key in compared:
        limit = 2e-5 if not flags else 1e-4
        np.testing.assert_allclose(outputs[key], wanted[key], rtol=limit, atol=limit, err_msg=key)


def _index(value: torch.Tensor) -> torch.Tensor:
    return value if value.is_floating_point() else value.long()


@pytest.mark.parametrize("name", ["tf_bertmodel_h5", "flax_bertmodel_msgpack"])
def test_another_framework_s_file_is_saved_as_our_own(
    name: str, fixtures: Path, tmp_path: Path
) -> None:
    flags = TF if name.startswith("tf") else FLAX
    model = model_base.BertModel.from_pretrained(fixtures / name / "ckpt", **flags)
    model.save_pretrained(tmp_path)
    again, info = model_base.BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    for key, tensor in again.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[key]), key
