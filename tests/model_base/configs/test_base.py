"""Configurations: what is read, kept, refused and written."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model_base import AutoConfig, BertConfig, LlamaConfig, PretrainedConfig
from model_base.errors import ConfigNotFound, ConfigUnreadable, HubUnavailable, UnsupportedConfig


def stored(folder: Path, **fields: Any) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"} | fields))
    return folder


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=8, num_labels=3, pruned_heads={1: [0, 2]}, is_decoder=True)
    config.save_pretrained(tmp_path)
    again = BertConfig.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    assert again.name_or_path == str(tmp_path)
    assert again.pruned_heads == {1: [0, 2]}


def test_only_what_differs_from_the_base_is_written(tmp_path: Path) -> None:
    BertConfig(num_labels=2).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert "temperature" not in written
    assert written["model_type"] == "bert"
    assert (tmp_path / "config.json").read_text().endswith("}\n")


@pytest.mark.parametrize("key", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("value", ["bfloat16", "torch.bfloat16"])
def test_the_dtype_is_read_under_its_old_and_its_new_key(
    key: str, value: str, tmp_path: Path
) -> None:
    assert BertConfig.from_pretrained(stored(tmp_path, **{key: value})).torch_dtype == "bfloat16"


def test_a_field_at_the_base_s_default_is_written_if_the_class_has_another(tmp_path: Path) -> None:
    LlamaConfig(tie_word_embeddings=True).save_pretrained(tmp_path)
    assert LlamaConfig.from_pretrained(tmp_path).tie_word_embeddings is True


def test_the_new_dtype_key_wins() -> None:
    assert BertConfig(dtype="float16", torch_dtype="float32").torch_dtype == "float16"


def test_a_torch_dtype_is_kept_by_name() -> None:
    assert BertConfig(torch_dtype=torch.float16).torch_dtype == "float16"


def test_unknown_keys_are_kept_and_written(tmp_path: Path) -> None:
    config = BertConfig.from_pretrained(stored(tmp_path, my_field={"a": [1]}))
    assert config.my_field == {"a": [1]}
    assert json.loads(config.to_json_string())["my_field"] == {"a": [1]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantization_config", {"bits": 4}),
        ("compression_config", {"format": "x"}),
        ("position_embedding_type", "rotary"),
        ("hidden_act", "gelu_10"),
        ("hidden_act", ["gelu"]),
    ],
)
def test_mathematics_that_we_do_not_have_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedConfig, match=f"config field '{field}' is .*; accepted: ") as e:
        BertConfig(**{field: value}).check_supported()
    assert (e.value.field, e.value.value) == (field, value)


def test_code_that_a_config_names_is_ignored(tmp_path: Path) -> None:
    path = stored(tmp_path, auto_map={"AutoModel": "evil.Model"}, transformers_version="9")
    config = AutoConfig.from_pretrained(path)
    assert not hasattr(config, "auto_map")
    assert "auto_map" not in config.to_dict()


@pytest.mark.parametrize(
    "name",
    ["check_supported", "handled", "to_dict", "heads", "weight_rules", "use_return_dict",
     "__class__", "__dict__", "__init__", "_auto_class", "from_dict"],
)  # fmt: skip
def test_a_config_file_replaces_nothing_of_the_class(name: str, tmp_path: Path) -> None:
    config = BertConfig.from_pretrained(
        stored(tmp_path, **{name: {"x": 1}}, position_embedding_type="rotary")
    )
    with pytest.raises(UnsupportedConfig, match="position_embedding_type"):
        config.check_supported()
    assert name not in config.to_dict()


@pytest.mark.parametrize("text", ["", "{", "[1]", "7", "null", "\xff", "[" * 100_000])
def test_a_damaged_config_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigUnreadable, match=r"config\.json"):
        BertConfig.from_pretrained(tmp_path)


def test_a_config_over_the_size_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_base.configs.base.MAX_JSON_BYTES", 10)
    with pytest.raises(ConfigUnreadable, match="over the limit of 10"):
        BertConfig.from_pretrained(stored(tmp_path))


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigNotFound, match=r"has no config\.json"):
        BertConfig.from_pretrained(tmp_path)


def test_a_name_that_is_nothing_is_refused() -> None:
    with pytest.raises(HubUnavailable, match="is not a folder here"):
        BertConfig.from_pretrained("https://example.org/model")


def test_keyword_arguments_replace_fields_and_others_come_back(tmp_path: Path) -> None:
    config, unused = BertConfig.from_pretrained(
        stored(tmp_path), hidden_size=16, num_labels=5, foo=1, return_unused_kwargs=True
    )
    assert (config.hidden_size, config.num_labels, unused) == (16, 5, {"foo": 1})


def test_labels_are_numbered_and_counted() -> None:
    config = BertConfig(id2label={"0": "no", "1": "yes", "2": "maybe"})
    assert config.id2label == {0: "no", 1: "yes", 2: "maybe"}
    assert config.label2id == {"no": 0, "yes": 1, "maybe": 2}
    assert config.num_labels == 3
    config.num_labels = 2
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}


def test_a_number_of_labels_beside_other_names_wins() -> None:
    assert BertConfig(id2label={0: "a", 1: "b"}, num_labels=3).id2label[2] == "LABEL_2"


@pytest.mark.parametrize("field", ["id2label", "pruned_heads"])
@pytest.mark.parametrize("value", [["a"], "ab", {"one": "a"}, {None: "a"}, 7])
def test_what_is_not_numbered_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is .*; accepted: a mapping by number"):
        BertConfig(**{field: value})


@pytest.mark.parametrize("count", [-1, 10**12])
def test_an_absurd_number_of_labels_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"num_labels is {count}; accepted"):
        BertConfig(num_labels=count)


def test_an_unknown_problem_type_is_refused() -> None:
    with pytest.raises(ValueError, match="problem_type is 'ranking'; accepted: regression, "):
        BertConfig(problem_type="ranking")


def test_other_names_of_a_field_are_the_field() -> None:
    class Other(PretrainedConfig):
        attribute_map = {"n_embd": "hidden_size"}

    config = Other(n_embd=8)
    assert (config.hidden_size, config.n_embd) == (8, 8)
    config.hidden_size = 9
    assert config.n_embd == 9
    assert "n_embd" not in config.to_dict()


def test_configurations_are_equal_by_their_fields() -> None:
    assert BertConfig() == BertConfig()
    assert BertConfig() != BertConfig(hidden_size=8)


def test_a_default_is_not_shared_between_configurations() -> None:
    BertConfig().pruned_heads[0] = [1]
    assert BertConfig().pruned_heads == {}


def test_a_folder_is_needed_to_save_into(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="is a file"):
        BertConfig().save_pretrained(tmp_path / "file")


def test_an_unknown_architecture_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedConfig, match=r"'model_type' is 'martian'; accepted: .*bert"):
        AutoConfig.from_pretrained(stored(tmp_path, model_type="martian"))


def test_a_huge_value_is_shortened_in_the_message() -> None:
    assert len(str(UnsupportedConfig("hidden_act", "x" * 10_000, "gelu"))) < 200
    assert len(str(UnsupportedConfig("sizes", list(range(10_000)), "a number"))) < 200
