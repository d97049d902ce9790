"""T5: the buckets of distances, key minus query, worked out by hand.

With 32 buckets up to a distance of 128 an encoder has 16 for each direction: 8 of one distance
each, then ``8 + floor(2 log2(d / 8))``. A decoder has 32 for what came before: 16 of one distance
each, then ``16 + floor(16 / 3 log2(d / 16))``.
"""

from typing import Any

import pytest
import torch
from torch import nn

from model_base import T5Config, T5ForConditionalGeneration, T5Model
from model_base.torch.models.t5 import T5PreTrainedModel, distance_bucket
from tests.model_base.torch.models.small import SMALL

ENCODER = {
    0: 0, -1: 1, -7: 7, -8: 8, -11: 8, -12: 9, -15: 9, -20: 10, -24: 11, -100: 15, -127: 15,
    -128: 15, -10_000: 15,
    1: 17, 7: 23, 8: 24, 11: 24, 12: 25, 20: 26, 24: 27, 100: 31, 127: 31, 10_000: 31,
}  # fmt: skip
DECODER = {
    0: 0, -1: 1, -8: 8, -15: 15, -16: 16, -17: 16, -20: 17, -40: 23, -100: 30, -127: 31,
    -10_000: 31,
    1: 0, 7: 0, 128: 0, 10_000: 0,
}  # fmt: skip


@pytest.mark.parametrize(("is_decoder", "wanted"), [(False, ENCODER), (True, DECODER)])
def test_distances_fall_into_their_buckets(is_decoder: bool, wanted: dict[int, int]) -> None:
    buckets = distance_bucket(torch.tensor(list(wanted)), is_decoder, 32, 128)
    assert buckets.dtype == torch.int64
    assert dict(zip(wanted, buckets.tolist(), strict=True)) == wanted


def test_a_model_with_a_head_is_no_trunk_and_the_shared_words_are_drawn_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[nn.Module] = []
    initialise = T5PreTrainedModel._init_weights

    def counted(self: Any, module: nn.Module) -> None:
        drawn.append(module)
        initialise(self, module)

    monkeypatch.setattr(T5PreTrainedModel, "_init_weights", counted)
    model = T5ForConditionalGeneration(SMALL[T5Config]())
    assert not isinstance(model, T5Model)
    assert drawn.count(model.shared) == 1
    assert model.shared is model.encoder.embed_tokens is model.decoder.embed_tokens
    assert len(drawn) == len(set(drawn))
