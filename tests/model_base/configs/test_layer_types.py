"""Types of layers, and the windows that they mean."""

from typing import Any

import pytest

from model_base import Gemma2Config, Gemma3TextConfig, GPTNeoXConfig, Qwen2Config, Qwen3Config
from model_base.configs.layer_types import FULL, SLIDING, window_of
from model_base.configs.rotary import rope_of
from model_base.errors import UnsupportedConfig


@pytest.mark.parametrize("kind", [Qwen2Config, Qwen3Config])
def test_layers_have_windows_from_max_window_layers_on(kind: Any) -> None:
    fields = {"num_hidden_layers": 3, "sliding_window": 8, "max_window_layers": 1}
    config = kind(use_sliding_window=True, **fields)
    assert [window_of(config, layer) for layer in range(3)] == [None, 7, 7]
    off = kind(**fields)
    assert [window_of(off, layer) for layer in range(3)] == [None, None, None]


def test_every_second_layer_of_gemma_2_and_every_sixth_of_gemma_3_sees_all() -> None:
    assert Gemma2Config(num_hidden_layers=4).layer_types == [SLIDING, FULL] * 2
    assert Gemma3TextConfig(num_hidden_layers=6).layer_types == [SLIDING] * 5 + [FULL]
    config = Gemma3TextConfig(num_hidden_layers=2, sliding_window_pattern=2)
    assert config.layer_types == [SLIDING, FULL]


@pytest.mark.parametrize("types", [[FULL], [FULL, "chunked_attention"]])
def test_unknown_types_and_too_few_are_refused(types: list[str]) -> None:
    with pytest.raises(UnsupportedConfig, match="layer_types"):
        Qwen2Config(num_hidden_layers=2, layer_types=types).check_supported()


def test_each_type_of_layer_has_its_rope_in_both_spellings() -> None:
    scaling = {"rope_type": "linear", "factor": 8.0}
    old = Gemma3TextConfig(rope_theta=1e6, rope_local_base_freq=1e4, rope_scaling=scaling)
    new = Gemma3TextConfig(
        rope_parameters={
            FULL: {**scaling, "rope_theta": 1e6},
            SLIDING: {"rope_type": "default", "rope_theta": 1e4},
        }
    )
    for kind in (FULL, SLIDING):
        assert old.rope(kind) == new.rope(kind)
    assert (old.rope(FULL).kind, old.rope(SLIDING).kind) == ("linear", "default")
    assert (old.rope(FULL).theta, old.rope(SLIDING).theta) == (1e6, 1e4)


@pytest.mark.parametrize(
    "fields",
    [
        {"rotary_pct": 0.5, "rotary_emb_base": 500},
        {"partial_rotary_factor": 0.5, "rope_theta": 500},
        {"rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 500}},
    ],
)
def test_a_part_of_each_head_is_rotated_under_every_name(fields: dict[str, Any]) -> None:
    rope = rope_of(GPTNeoXConfig(hidden_size=64, num_attention_heads=4, **fields))
    assert (rope.size, rope.theta) == (8, 500.0)
