"""Rotary position embeddings: the angles of every kind, both spellings, the rotation itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model_base import LlamaConfig, UnsupportedConfig
from model_base.configs.rotary import rope_of
from model_base.torch.layouts import PaddedLayout
from model_base.torch.rotary import angles, rotate

ROWS = json.loads((Path(__file__).parents[2] / "data" / "rotary_reference.json").read_text())


def config(**fields: Any) -> LlamaConfig:
    return LlamaConfig(hidden_size=32, num_attention_heads=4, max_position_embeddings=64, **fields)


def at(positions: list[int]) -> PaddedLayout:
    """One sequence with tokens at these positions."""
    return PaddedLayout(torch.tensor(positions))


@pytest.mark.parametrize("spelling", ["rope_parameters", "rope_scaling"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['name']}-{row['length']}")
def test_angles_are_those_of_transformers(row: dict[str, Any], spelling: str) -> None:
    made = config(**{spelling: dict(row["rope"])})
    cos, sin = angles(rope_of(made), at(row["positions"]), torch.float32)
    torch.testing.assert_close(cos[:, 0], torch.tensor(row["cos"]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sin[:, 0], torch.tensor(row["sin"]), rtol=1e-5, atol=1e-5)


def test_scores_depend_on_the_distance_only() -> None:
    query, key = torch.randn(2, 1, 8)
    rope = rope_of(config())
    scores = []
    for start in (0, 9):
        first, second = (angles(rope, at([p]), torch.float32) for p in (start, start + 5))
        turned = rotate(query[None], first), rotate(key[None], second)
        scores.append((turned[0] * turned[1]).sum())
    torch.testing.assert_close(scores[0], scores[1])


def test_what_is_not_rotated_stays() -> None:
    heads = torch.randn(3, 2, 8)
    rope = rope_of(config(partial_rotary_factor=0.5))
    turned = rotate(heads, angles(rope, at([0, 1, 2]), torch.float32))
    assert rope.size == 4
    assert torch.equal(turned[..., 4:], heads[..., 4:])
    assert torch.equal(turned[0], heads[0])
    assert not torch.equal(turned[1, :, :4], heads[1, :, :4])


def test_each_type_of_layer_can_have_its_own() -> None:
    parameters = {"sliding": {"rope_theta": 10.0}, "full": {"rope_theta": 20.0}}
    made = config(rope_parameters=parameters)
    assert [rope_of(made, kind).theta for kind in ("sliding", "full")] == [10.0, 20.0]


def test_what_version_5_wrote_is_saved_as_every_version_reads_it() -> None:
    parameters = {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}
    read = LlamaConfig.from_dict({"rope_parameters": parameters})
    stored = read.to_diff_dict()
    assert (stored["rope_theta"], "rope_parameters" in stored) == (500.0, False)
    assert stored["rope_scaling"] == {"rope_type": "linear", "factor": 2.0}
    plain = LlamaConfig.from_dict({"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}})
    assert (plain.rope_theta, plain.rope_scaling) == (7.0, None)


@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_an_unknown_kind_is_refused_by_name(key: str) -> None:
    with pytest.raises(UnsupportedConfig, match="'spiral'; accepted: default, linear"):
        config(rope_scaling={key: "spiral", "factor": 2.0}).check_supported()


def test_a_pair_turns_from_its_first_value_towards_its_second() -> None:
    rope = rope_of(config(partial_rotary_factor=0.5, rope_theta=10_000.0))
    heads = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])[None]
    turned = rotate(heads, angles(rope, at([1]), torch.float32))
    wanted = torch.tensor(
        [
            [0.540302, 0, 0.841471, 0],  # by 1 radian: cos 1, sin 1
            [-0.841471, 0, 0.540302, 0],
            [0, 0.999950, 0, 0.009999833],  # by 1 / 10000 ** (2 / 4) radians
            [0, -0.009999833, 0, 0.999950],
        ]
    )
    torch.testing.assert_close(turned[0], wanted, rtol=0, atol=1e-6)
