"""Whisper: positions of the encoder, the length of a spectrogram, labels."""

import math

import pytest
import torch

from model_base import WhisperConfig, WhisperForConditionalGeneration, WhisperModel
from tests.model_base.torch.models.small import SMALL


def test_the_encoder_s_positions_are_sinusoids_that_are_not_trained() -> None:
    table = WhisperModel(SMALL[WhisperConfig]()).encoder.embed_positions.weight
    assert not table.requires_grad
    assert float(table[3, 0]) == pytest.approx(math.sin(3), abs=1e-6)
    assert float(table[3, 31]) == pytest.approx(math.cos(3 / 10000), abs=1e-6)


def test_a_spectrogram_of_another_length_is_refused() -> None:
    model = WhisperModel(SMALL[WhisperConfig]())
    with pytest.raises(ValueError, match="length 18; accepted: 20"):
        model(torch.zeros(1, 8, 18), decoder_input_ids=torch.tensor([[1]]))


def test_labels_make_the_decoder_s_ids() -> None:
    model = WhisperForConditionalGeneration(SMALL[WhisperConfig]()).eval()
    features = torch.randn(1, 8, 20)
    with torch.no_grad():
        made = model(features, labels=torch.tensor([[5, 6, -100]]))
        given = model(features, decoder_input_ids=torch.tensor([[1, 5, 6]]))
    torch.testing.assert_close(made.logits, given.logits)
    wanted = torch.nn.functional.cross_entropy(given.logits[0, :2], torch.tensor([5, 6]))
    torch.testing.assert_close(made.loss, wanted)
