"""ViT: images of other sizes, masked patches."""

import pytest
import torch

from model_base import ViTConfig, ViTForMaskedImageModeling, ViTModel
from tests.model_base.torch.models.small import SMALL


def test_images_of_another_size_need_interpolation() -> None:
    model = ViTModel(SMALL[ViTConfig]()).eval()
    pixels = torch.randn(1, 3, 16, 8)
    with pytest.raises(ValueError, match="interpolate_pos_encoding"):
        model(pixels)
    with torch.no_grad():
        output = model(pixels, interpolate_pos_encoding=True)
    assert output.last_hidden_state.shape == (1, 1 + 4 * 2, 32)


def test_height_and_width_may_differ() -> None:
    model = ViTModel(SMALL[ViTConfig](image_size=[8, 16], patch_size=[4, 2])).eval()
    with torch.no_grad():
        assert model(torch.randn(1, 3, 8, 16)).last_hidden_state.shape == (1, 1 + 2 * 8, 32)


def test_the_loss_counts_masked_patches_only() -> None:
    model = ViTForMaskedImageModeling(SMALL[ViTConfig]()).eval()
    pixels, masked = torch.randn(2, 3, 12, 12), torch.zeros(2, 9)
    masked[:, 4] = 1
    with torch.no_grad():
        output = model(pixels, masked)
        plain = model(pixels)
    error = (output.logits - pixels).abs()[:, :, 4:8, 4:8].mean()
    torch.testing.assert_close(output.loss, error)
    assert "loss" not in plain
    assert not torch.equal(plain.logits, output.logits)
