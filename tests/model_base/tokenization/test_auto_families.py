"""AutoTokenizer: what a family's tokenizers return, and which side they fill."""

import json
import shutil
from pathlib import Path

import pytest

from model_base import AutoTokenizer

_TYPES = {
    "albert": "albert", "bart": "bart", "bert": "bert", "camembert": "camembert", "clip": "clip",
    "gemma": "gemma2", "gpt2": "gpt2", "gpt_neox": "gpt_neox", "llama": "llama",
    "modernbert": "modernbert", "opt": "opt", "qwen2": "qwen2", "roberta": "roberta", "t5": "t5",
    "wav2vec2": "wav2vec2", "xlm_roberta": "xlm-roberta",
}  # fmt: skip


@pytest.mark.parametrize("name", _TYPES)
def test_a_family_that_the_settings_do_not_name_is_that_of_the_model(
    name: str, fixtures: Path, tmp_path: Path
) -> None:
    folder = tmp_path / name
    shutil.copytree(fixtures / "tokenizers" / name, folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    if config["tokenizer_class"] == "PreTrainedTokenizerFast":  # it says less than the model does
        config["model_input_names"] = ["input_ids", "attention_mask"]
        path.write_text(json.dumps(config))
    named = AutoTokenizer.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": _TYPES[name]}))
    del config["tokenizer_class"]
    config.pop("model_input_names", None)
    path.write_text(json.dumps(config))
    unnamed = AutoTokenizer.from_pretrained(folder)
    assert type(unnamed) is type(named)
    assert unnamed.padding_side == named.padding_side
    assert unnamed.model_input_names == named.model_input_names
    assert dict(unnamed("hello")) == dict(named("hello"))


@pytest.mark.parametrize(
    ("model_type", "has_types", "side"),
    [
        ("bert", True, "right"), ("deberta-v2", True, "right"), ("distilbert", False, "right"),
        ("roberta", False, "right"), ("gpt_neox", False, "right"), ("modernbert", False, "right"),
        ("mpnet", False, "right"), ("llama", False, "left"), ("gemma3_text", False, "left"),
        ("mistral", False, "left"), (None, True, "right"),
    ],
)  # fmt: skip
def test_columns_and_the_padded_side_follow_the_model_if_no_class_is_named(
    model_type: str | None,
    has_types: bool,
    side: str,
    tiny_bert: Path,
    tmp_path: Path,
) -> None:
    AutoTokenizer.from_pretrained(tiny_bert).backend_tokenizer.save(
        str(tmp_path / "tokenizer.json")
    )
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    found = AutoTokenizer.from_pretrained(tmp_path)
    assert ("token_type_ids" in found("hello")) == has_types
    assert found.padding_side == side
