"""Absurd values are refused by their names; what real models have is not."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_base import (
    AutoConfig,
    CLIPConfig,
    CLIPVisionConfig,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    Qwen2Config,
    RobertaConfig,
    SiglipConfig,
    T5Config,
    ViTConfig,
    Wav2Vec2Config,
    WhisperConfig,
)
from model_base.configs import CONFIGS
from model_base.configs.bounds import KINDS, MAX_COUNT
from model_base.configs.layer_types import SLIDING
from model_base.errors import UnsupportedConfig

FIXTURES = sorted((Path(__file__).parents[2] / "fixtures").rglob("config.json"))
BAD: tuple[Any, ...] = (
    math.nan,
    math.inf,
    -math.inf,
    2**70,
    -4,
    "x",
    [1],
    [],
    {},
    {"x": 1},
    "",
    True,
)


def absurd(field: str) -> list[Any]:
    """The values of ``BAD`` that the kind of a field does not accept."""
    return [value for value in BAD if not KINDS[field].accepts(value)]


# What these configurations store under the name is another field's value, whatever is given.
DERIVED = {("bart", "num_hidden_layers"), ("whisper", "num_hidden_layers")}
# Given, not kept.
ARGUMENTS = {"gemma3_text": {"sliding_window_pattern"}}


def cases() -> Iterator[Any]:
    for kind in CONFIGS:
        own = set(vars(kind())) | ARGUMENTS.get(kind.model_type, set())
        for field in sorted(own & KINDS.keys()):
            if (kind.model_type, field) not in DERIVED:
                yield pytest.param(kind, field, id=f"{kind.__name__}-{field}")


@pytest.mark.parametrize(("kind", "field"), list(cases()))
def test_an_absurd_value_is_refused_by_its_name(kind: Any, field: str) -> None:
    for value in absurd(field):
        with pytest.raises(UnsupportedConfig, match=r"config field .* is .*; accepted: ") as error:
            kind.from_dict({field: value}).check_supported()
        assert error.value.field == field, value


@pytest.mark.parametrize("field", sorted(KINDS))
def test_every_kind_refuses_most_absurd_values(field: str) -> None:
    refused = absurd(field)
    assert "x" in refused
    assert True in refused
    assert any(value == 2**70 for value in refused)
    assert any(value == -4 for value in refused) or field == "logit_scale_init_value"
    assert any(isinstance(value, float) and math.isnan(value) for value in refused)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_defaults_of_every_configuration_are_accepted(kind: Any) -> None:
    kind().check_supported()


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.parents[1].name)
def test_what_real_checkpoints_have_is_accepted_and_unchanged(path: Path) -> None:
    config = AutoConfig.from_pretrained(path.parent)
    before = config.to_dict()
    config.check_supported()
    stored = json.loads(path.read_text())
    assert config.to_dict() == before
    assert all(getattr(config, name) == stored[name] for name in stored.keys() & KINDS.keys()
               if name in before and isinstance(stored[name], int))  # fmt: skip


@pytest.mark.parametrize("count", [1, MAX_COUNT])
def test_counts_are_accepted_up_to_the_limit(count: int) -> None:
    GPT2Config(n_layer=count).check_supported()


def test_one_layer_more_than_the_limit_is_refused_before_it_is_counted() -> None:
    with pytest.raises(UnsupportedConfig, match=r"'num_hidden_layers' is 1099511627776; accepted"):
        Qwen2Config(num_hidden_layers=2**40)


@pytest.mark.parametrize(
    "fields", [{"num_hidden_layers": 0}, {"num_attention_heads": 0}, {"num_key_value_heads": 0},
               {"head_dim": 0}, {"num_key_value_heads": 3}, {"vocab_size": 0},
               {"pad_token_id": 32000}, {"pad_token_id": [1]}, {"hidden_size": 1.5},
               {"initializer_range": 0}, {"rms_norm_eps": None}, {"eos_token_id": [1, "x"]}],
)  # fmt: skip
def test_what_a_decoder_cannot_be_built_of_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedConfig, match=f"'{next(iter(fields))}' is .*; accepted"):
        LlamaConfig(**fields).check_supported()


@pytest.mark.parametrize("field", ["bos_token_id", "eos_token_id"])
def test_a_token_may_be_absent_or_one_of_several(field: str) -> None:
    for value in (None, -1, 5, [5, 6]):
        LlamaConfig(**{field: value}).check_supported()


def test_a_padding_token_without_an_embedding_of_its_own_may_be_any() -> None:
    GPT2Config(pad_token_id=50257).check_supported()
    T5Config(vocab_size=10, pad_token_id=10).check_supported()


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
@pytest.mark.parametrize("kind", [CLIPConfig, SiglipConfig])
def test_a_half_s_absurd_value_is_refused_by_the_half_and_its_field(kind: Any, part: str) -> None:
    config = kind(**{part: {"num_hidden_layers": 2**70}})
    with pytest.raises(UnsupportedConfig, match="accepted: an integer, 1 to 4096$") as error:
        config.check_supported()
    assert error.value.field == f"{part}.num_hidden_layers"
    with pytest.raises(ValueError, match=f"{part} is 'x'; accepted: a mapping of fields"):
        kind(**{part: "x"})


def test_images_have_two_sides_where_they_need_not_be_square() -> None:
    ViTConfig(image_size=[32, 48], patch_size=(8, 16)).check_supported()
    for sides in ([32], [32, 0], [32, 32, 32]):
        with pytest.raises(UnsupportedConfig, match="image_size"):
            ViTConfig(image_size=sides).check_supported()
    with pytest.raises(UnsupportedConfig, match="image_size"):
        CLIPVisionConfig(image_size=[32, 32]).check_supported()


@pytest.mark.parametrize("field", ["conv_kernel", "conv_stride"])
def test_lists_of_convolutions_are_as_long_as_one_another(field: str) -> None:
    with pytest.raises(UnsupportedConfig, match=f"'{field}' is .*accepted: 7 integers"):
        Wav2Vec2Config(**{field: [2, 2]})


@pytest.mark.parametrize("value", [None, 5, ["relu"], {}, "relu2d", "gated-"])
def test_a_feed_forward_layer_of_t5_is_named(value: Any) -> None:
    with pytest.raises(UnsupportedConfig, match="'feed_forward_proj' is .*; accepted: with or"):
        T5Config(feed_forward_proj=value).check_supported()


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (T5Config(relative_attention_num_buckets=3), "relative_attention_num_buckets"),
        (T5Config(relative_attention_max_distance=16), "relative_attention_max_distance"),
        (RobertaConfig(pad_token_id=None), "pad_token_id"),
        (RobertaConfig(pad_token_id=-1), "pad_token_id"),
        (RobertaConfig(pad_token_id=1, max_position_embeddings=2), "max_position_embeddings"),
        (WhisperConfig(d_model=2), "d_model"),
        (WhisperConfig(d_model=7), "d_model"),
    ],
)
def test_what_leaves_no_room_for_positions_is_refused(config: Any, field: str) -> None:
    with pytest.raises(UnsupportedConfig, match=f"'{field}' is .*; accepted: an? "):
        config.check_supported()


@pytest.mark.parametrize("count", ["x", 1.5, True, [2], math.nan])
def test_a_number_of_labels_is_an_integer(count: Any) -> None:
    with pytest.raises(ValueError, match="num_labels is .*; accepted: 0 to"):
        PretrainedConfig(num_labels=count)


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16}  # fmt: skip
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4,
        "original_max_position_embeddings": 16}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0}
ROPES = [{"rope_type": "linear", "factor": 2.0}, {"type": "dynamic", "factor": 2}, YARN,
         {"rope_type": "yarn", "original_max_position_embeddings": 16}, LONG, LLAMA3, {}, None,
         {"rope_type": "default"}]  # fmt: skip


def rope(spelling: str, value: Any, **fields: Any) -> None:
    made = LlamaConfig(hidden_size=32, num_attention_heads=4, **{spelling: value}, **fields)
    made.check_supported()


@pytest.mark.parametrize("spelling", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("scaling", ROPES)
def test_a_whole_rope_is_accepted(scaling: Any, spelling: str) -> None:
    rope(spelling, scaling)


@pytest.mark.parametrize("scaling", [LONG, LLAMA3, *ROPES[:2], YARN, ROPES[3]])
def test_a_rope_needs_each_option_of_its_kind(scaling: dict[str, Any]) -> None:
    for name in scaling.keys() - {"rope_type", "type"}:
        with pytest.raises(UnsupportedConfig, match="rope_scaling"):
            rope("rope_scaling", {key: scaling[key] for key in scaling if key != name})
        for value in (*BAD, 0, [math.nan] * 4, [-1.0] * 4, [1.0] * 3):
            with pytest.raises(UnsupportedConfig, match=f"rope_scaling.{name}"):
                rope("rope_scaling", {**scaling, name: value})


@pytest.mark.parametrize("spelling", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(
    "value", ["x", 5, [1], True, {"rope_type": ["yarn"]}, {"type": 7}, {"rope_type": {}}]
)
def test_a_rope_is_a_mapping_of_a_known_kind(value: Any, spelling: str) -> None:
    with pytest.raises(UnsupportedConfig, match=r"'rope_\w+' is "):
        rope(spelling, value)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", ["rope_theta", "partial_rotary_factor"])
def test_a_rope_s_own_numbers_are_checked_too(name: str, value: Any) -> None:
    with pytest.raises(UnsupportedConfig, match=name):
        rope("rope_parameters", {"rope_type": "default", name: value})


@pytest.mark.parametrize("name", ["attention_factor", "beta_fast", "mscale", "mscale_all_dim"])
def test_further_options_of_yarn_are_numbers(name: str) -> None:
    rope("rope_scaling", {**YARN, name: None})
    for value in BAD:
        with pytest.raises(UnsupportedConfig, match=f"rope_scaling.{name}"):
            rope("rope_scaling", {**YARN, name: value})


@pytest.mark.parametrize(
    ("fields", "scaling", "name"),
    [
        ({"rope_theta": 1.0}, YARN, "rope_theta"),
        ({"head_dim": 7}, None, "head_dim"),
        ({"head_dim": 2}, ROPES[1], "head_dim"),
        ({"partial_rotary_factor": 0.01}, None, "head_dim"),
        ({}, {**LLAMA3, "high_freq_factor": 1.0}, "low_freq_factor"),
    ],
)
def test_what_cannot_be_computed_is_refused(fields: Any, scaling: Any, name: str) -> None:
    with pytest.raises(UnsupportedConfig, match=name):
        rope("rope_scaling", scaling, **fields)


@pytest.mark.parametrize("value", ["x", 5, {SLIDING: 5}, {SLIDING: {"rope_type": "linear"}}])
def test_the_rope_of_one_type_of_layer_is_checked(value: Any) -> None:
    with pytest.raises(UnsupportedConfig, match=r"rope_\w+"):
        Gemma3TextConfig(num_hidden_layers=1, rope_parameters=value).check_supported()
