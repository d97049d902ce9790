"""CLIP: configurations of three versions, halves of a whole, the end of a text."""

from pathlib import Path
from typing import Any

import pytest
import torch

import model_base
from model_base import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPVisionConfig
from tests.model_base.torch.models.small import SMALL

IDS = torch.tensor([[5, 9, 1, 0, 0], [7, 3, 4, 8, 1]])


def test_what_4_19_wrote_twice_is_read_where_4_19_reads_it() -> None:
    config = CLIPConfig(text_config={"hidden_size": 8}, text_config_dict={"hidden_size": 16})
    assert config.text_config.hidden_size == 16
    assert "text_config_dict" not in config.to_dict()


def test_halves_make_a_whole_configuration() -> None:
    text, vision = CLIPTextConfig(hidden_size=8), CLIPVisionConfig(hidden_size=16)
    config = CLIPConfig.from_text_vision_configs(text, vision, projection_dim=4)
    assert (config.text_config, config.vision_config, config.projection_dim) == (text, vision, 4)


def test_a_scale_that_is_written_as_an_integer_is_a_scale() -> None:
    assert CLIPModel(SMALL[CLIPConfig](logit_scale_init_value=2)).logit_scale.item() == 2.0


def test_a_half_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted: a mapping of fields"):
        CLIPConfig(text_config=[1])


def test_a_half_s_configuration_is_read_from_the_whole_s_file(tmp_path: Path) -> None:
    SMALL[CLIPConfig]().save_pretrained(tmp_path)
    assert CLIPTextConfig.from_pretrained(tmp_path).hidden_size == 32
    assert CLIPVisionConfig.from_pretrained(tmp_path).image_size == 12


@pytest.mark.parametrize("half", ["text", "vision"])
def test_a_half_with_its_projection_gives_the_whole_s_features(half: str, tmp_path: Path) -> None:
    config = SMALL[CLIPConfig]()
    config.text_config.projection_dim = config.vision_config.projection_dim = 20
    whole = CLIPModel(config).eval()
    whole.save_pretrained(tmp_path)
    name = {"text": "CLIPTextModelWithProjection", "vision": "CLIPVisionModelWithProjection"}[half]
    model, info = getattr(model_base, name).from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == []
    pixels = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        if half == "text":
            torch.testing.assert_close(model(IDS).text_embeds, whole.get_text_features(IDS))
        else:
            features = whole.get_image_features(pixels)
            torch.testing.assert_close(model(pixels).image_embeds, features)


@pytest.mark.parametrize(("end", "places"), [(1, [2, 4]), (2, [1, 3])])
def test_a_text_is_read_at_its_end_token_or_if_that_is_2_at_its_largest_id(
    end: int, places: list[int]
) -> None:
    model = CLIPTextModel(SMALL[CLIPTextConfig](eos_token_id=end)).eval()
    with torch.no_grad():
        output: Any = model(IDS)
    assert torch.equal(output.pooler_output, output.last_hidden_state[torch.arange(2), places])


def test_the_loss_asks_for_each_text_s_own_image() -> None:
    model = CLIPModel(SMALL[CLIPConfig]()).eval()
    with torch.no_grad():
        output = model(IDS, torch.randn(2, 3, 12, 12), return_loss=True)
    own = torch.arange(2)
    rows = torch.nn.functional.cross_entropy(output.logits_per_text, own)
    columns = torch.nn.functional.cross_entropy(output.logits_per_image, own)
    torch.testing.assert_close(output.loss, (rows + columns) / 2)


def test_images_of_another_size_are_refused() -> None:
    model = CLIPModel(SMALL[CLIPConfig]())
    with pytest.raises(ValueError, match="accepted: 12"):
        model.get_image_features(torch.randn(1, 3, 16, 12))


def test_tokens_are_added_to_the_text_half() -> None:
    model = CLIPModel(SMALL[CLIPConfig]())
    model.resize_token_embeddings(70)
    assert model.config.text_config.vocab_size == 70
