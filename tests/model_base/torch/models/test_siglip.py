"""SigLIP: the pooling head, the loss, images of other sizes."""

import pytest
import torch
import torch.nn.functional as F

from model_base import SiglipConfig, SiglipModel, SiglipVisionConfig, SiglipVisionModel
from model_base.torch.models.siglip import SiglipPoolingAttention
from tests.model_base.torch.models.small import SMALL


def test_pooling_attention_is_torch_s_own_with_one_matrix() -> None:
    config = SMALL[SiglipVisionConfig]()
    ours, theirs = (
        SiglipPoolingAttention(config),
        torch.nn.MultiheadAttention(32, 4, batch_first=True),
    )
    ours.load_state_dict(theirs.state_dict())
    query, states = torch.randn(2, 1, 32), torch.randn(2, 9, 32)
    torch.testing.assert_close(ours(query, states), theirs(query, states, states)[0])


def test_the_loss_is_a_yes_for_a_text_s_own_image_and_a_no_for_every_other() -> None:
    model = SiglipModel(SMALL[SiglipConfig]()).eval()
    with torch.no_grad():
        output = model(torch.randint(61, (3, 7)), torch.randn(3, 3, 12, 12), return_loss=True)
    wanted = F.binary_cross_entropy_with_logits(
        output.logits_per_text, torch.eye(3), reduction="none"
    )
    torch.testing.assert_close(output.loss, wanted.sum(-1).mean())


def test_images_of_another_size_need_interpolation() -> None:
    model = SiglipVisionModel(SMALL[SiglipVisionConfig]()).eval()
    pixels = torch.randn(1, 3, 16, 12)
    with pytest.raises(ValueError, match="interpolate_pos_encoding"):
        model(pixels)
    with torch.no_grad():
        output = model(pixels, interpolate_pos_encoding=True)
    assert output.last_hidden_state.shape == (1, 12, 32)
