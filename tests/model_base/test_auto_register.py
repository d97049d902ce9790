"""Architectures of other packages: registered by hand, or found by their entry point."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_base import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    UnsupportedConfig,
    auto,
)


class OtherConfig(BertConfig):
    model_type = "other"
    heads = {}


class OtherModel(BertModel):
    config_class = OtherConfig


@pytest.fixture(autouse=True)
def forgotten_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "_configs", dict(auto._configs))
    monkeypatch.setattr(auto, "_models", dict(auto._models))


def small(**fields: Any) -> OtherConfig:
    return OtherConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1,
                       intermediate_size=8, vocab_size=11, **fields)  # fmt: skip


def test_a_registered_architecture_is_saved_and_loaded_like_ours(tmp_path: Path) -> None:
    AutoConfig.register("other", OtherConfig)
    AutoModel.register(OtherConfig, OtherModel)
    AutoModel.from_config(small()).save_pretrained(tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is OtherModel
    assert type(AutoConfig.for_model("other")) is OtherConfig


def test_what_contradicts_itself_or_is_taken_is_refused() -> None:
    with pytest.raises(ValueError, match="is 'other'; accepted: 'another'"):
        AutoConfig.register("another", OtherConfig)

    class Bert(BertConfig):
        pass

    with pytest.raises(ValueError, match="'bert' is taken by BertConfig"):
        AutoConfig.register("bert", Bert)
    with pytest.raises(ValueError, match="accepted: OtherConfig"):
        AutoModel.register(OtherConfig, BertModel)
    with pytest.raises(ValueError, match="has a class for AutoModelForMaskedLM"):
        AutoModelForMaskedLM.register(BertConfig, BertForMaskedLM)


def test_registering_twice_changes_nothing() -> None:
    for _ in range(2):
        AutoConfig.register("other", OtherConfig)
        AutoModel.register(OtherConfig, OtherModel)


@pytest.mark.parametrize("model_type", ["nothing", None, ["bert"]])
def test_an_unknown_type_is_refused_by_name(model_type: Any) -> None:
    with pytest.raises(UnsupportedConfig, match="'model_type' is .* accepted: .*bert, "):
        auto.config_class(model_type)


PACKAGE = {
    "acme/__init__.py": "",
    "acme/configs/__init__.py": "",
    "acme/configs/tiny.py": """
from model_base import PretrainedConfig


class TinyConfig(PretrainedConfig):
    model_type = "tiny"
    heads = {"AutoModel": "TinyModel"}
""",
    "acme/torch/__init__.py": "",
    "acme/torch/models/__init__.py": "",
    "acme/torch/models/tiny.py": """
from torch import nn

from acme.configs.tiny import TinyConfig
from model_base import PreTrainedModel


class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(3, 2)
        self.post_init()

    def _init_weights(self, module):
        pass

    def forward(self, input_ids):
        return self.embed(input_ids)
""",
    "acme-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n",
    "acme-1.0.dist-info/entry_points.txt":
        "[model_base.architectures]\ntiny = acme.configs.tiny:TinyConfig\n",
}  # fmt: skip


def test_an_installed_package_adds_one_by_its_entry_point(
    tmp_path: Path, run_python: Callable[..., str]
) -> None:
    for name, text in PACKAGE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from model_base import AutoConfig, AutoModel
model = AutoModel.from_config(AutoConfig.for_model("tiny"))
model.save_pretrained(sys.argv[1] + "/saved")
print(type(AutoModel.from_pretrained(sys.argv[1] + "/saved")).__module__)
"""
    assert run_python(code, tmp_path) == "acme.torch.models.tiny\n"
