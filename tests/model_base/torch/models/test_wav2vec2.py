"""Wav2Vec2: frames of samples, spellings of a weight, masks, the loss."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from model_base import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2Model
from tests.model_base.torch.models.small import SMALL

STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}


def test_as_many_frames_are_counted_as_are_made() -> None:
    model = Wav2Vec2Model(SMALL[Wav2Vec2Config]()).eval()
    for samples in range(16, 30):
        with torch.no_grad():
            made = model(torch.randn(1, samples)).last_hidden_state.shape[1]
        assert int(model.frame_lengths(torch.tensor(samples))) == made


def test_masked_samples_change_nothing() -> None:
    model = Wav2Vec2Model(SMALL[Wav2Vec2Config](**STABLE)).eval()
    samples, mask = torch.randn(1, 60), (torch.arange(60) < 40)[None].long()
    with torch.no_grad():
        short = model(samples[:, :40]).last_hidden_state
        long = model(samples, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(long[:, : short.shape[1]], short, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("new", [True, False])
def test_the_positional_convolution_is_read_by_both_of_its_spellings(
    new: bool, tmp_path: Path
) -> None:
    model = Wav2Vec2Model(SMALL[Wav2Vec2Config]())
    conv = torch.nn.Conv1d(32, 32, 4, padding=2, groups=2)
    state = dict(model.state_dict())
    name = "encoder.pos_conv_embed.conv"
    if new:
        conv = torch.nn.utils.parametrizations.weight_norm(conv, dim=2)
        with torch.no_grad():
            conv.parametrizations.weight.original0.mul_(3)
    for each in ("weight_g", "weight_v", "bias"):
        state.pop(f"{name}.{each}")
    stored = conv.state_dict()
    if not new:
        direction = stored.pop("weight")
        length = direction.square().sum((0, 1), keepdim=True).sqrt()
        stored |= {"weight_g": length, "weight_v": direction}
    state |= {f"{name}.{each}": tensor for each, tensor in stored.items()}
    again, info = Wav2Vec2Model.from_pretrained(
        None, config=model.config, state_dict=state, output_loading_info=True
    )
    assert not any(info.values())
    hidden = torch.randn(2, 32, 9)
    ours: Any = again.encoder.pos_conv_embed.conv
    torch.testing.assert_close(ours(hidden), conv(hidden)[..., :9], rtol=1e-4, atol=1e-5)


def test_the_loss_counts_each_recording_s_own_frames_and_labels() -> None:
    config = SMALL[Wav2Vec2Config](ctc_loss_reduction="sum", **STABLE)
    model, samples = Wav2Vec2ForCTC(config).eval(), torch.randn(2, 60)
    mask = (torch.arange(60) < torch.tensor([[60], [40]])).long()
    labels = torch.tensor([[3, 4, 5], [6, 7, -100]])
    with torch.no_grad():
        output = model(samples, mask, labels=labels)
    logs = output.logits.log_softmax(-1)
    wanted = sum(
        F.ctc_loss(logs[row, :frames], labels[row, :count], [frames], [count], reduction="sum")
        for row, frames, count in ((0, 9, 3), (1, 6, 2))
    )
    torch.testing.assert_close(output.loss, wanted)
    with pytest.raises(ValueError, match="accepted: below 61"):
        model(samples, labels=labels + 100)


def test_spans_are_masked_in_training_only() -> None:
    fields = {"mask_time_prob": 0.5, "mask_time_length": 2, "layerdrop": 0.0}
    rates = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
    model = Wav2Vec2Model(SMALL[Wav2Vec2Config](**fields, **dict.fromkeys(rates, 0.0)))
    samples = torch.randn(1, 60)
    with torch.no_grad():
        plain = model.eval()(samples).last_hidden_state
        assert torch.equal(model(samples).last_hidden_state, plain)
        assert not torch.equal(model.train()(samples).last_hidden_state, plain)


def test_a_mask_of_another_shape_is_refused_with_both_shapes() -> None:
    model = Wav2Vec2Model(SMALL[Wav2Vec2Config]()).eval()
    with pytest.raises(ValueError, match=r"attention_mask is \[1, 39\].*\[1, 60\]"):
        model(torch.randn(1, 60), torch.ones(1, 39))
