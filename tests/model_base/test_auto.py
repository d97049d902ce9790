"""Auto classes: the class that a configuration names."""

from collections.abc import Callable
from pathlib import Path

import pytest

import model_base
from model_base import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)
from model_base.auto import stored_head
from model_base.configs import CONFIGS
from model_base.constants import TASKS
from tests.model_base.torch.models.small import SMALL

Small = Callable[..., BertConfig]
PAIRS = [(config, auto) for config in CONFIGS for auto in config.heads]


@pytest.mark.parametrize(("config", "auto"), PAIRS, ids=lambda value: str(value))
def test_each_auto_class_makes_the_head_that_the_architecture_names(
    config: type, auto: str
) -> None:
    settings = SMALL[config](is_decoder=auto == "AutoModelForCausalLM")
    model = getattr(model_base, auto).from_config(settings)
    assert type(model).__name__ == config.heads[auto]
    assert auto in TASKS


def test_a_model_is_loaded_by_its_config(small: Small, tmp_path: Path) -> None:
    BertForSequenceClassification(small()).save_pretrained(tmp_path)
    assert type(AutoConfig.from_pretrained(tmp_path)) is BertConfig
    model, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert type(model) is BertModel
    assert info["missing_keys"] == []


def test_a_given_config_decides(small: Small, tmp_path: Path) -> None:
    BertModel(small()).save_pretrained(tmp_path)
    config = small(hidden_act="relu")
    assert AutoModel.from_pretrained(tmp_path, config=config).config is config


@pytest.mark.parametrize(
    ("architectures", "head"),
    [
        (["BertForMaskedLM"], "AutoModelForMaskedLM"),
        (["TFBertForMaskedLM"], "AutoModelForMaskedLM"),
        (["FlaxBertForQuestionAnswering"], "AutoModelForQuestionAnswering"),
        (["BertModel"], "AutoModel"),
        (["SomethingElse"], "AutoModel"),
        (None, "AutoModel"),
    ],
)
def test_the_head_that_was_stored_is_known(architectures: list[str] | None, head: str) -> None:
    assert stored_head(BertConfig(architectures=architectures)) == head


def test_an_auto_class_is_no_model() -> None:
    with pytest.raises(OSError, match="AutoModelForMaskedLM is not a model: use"):
        AutoModelForMaskedLM()


def test_a_head_that_an_architecture_lacks_is_refused(small: Small) -> None:
    class Headless(BertConfig):
        heads = {}

    with pytest.raises(ValueError, match="Headless has no class for AutoModel"):
        AutoModel.from_config(Headless())


def test_a_config_is_made_by_its_type() -> None:
    assert AutoConfig.for_model("bert", hidden_size=8).hidden_size == 8
