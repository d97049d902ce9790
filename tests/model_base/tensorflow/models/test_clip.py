"""CLIP in TensorFlow, beside PyTorch's on one checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

import model_base
from model_base import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from tests.model_base.tensorflow.models.parity import TEXT, assert_same, check_parity, only
from tests.model_base.torch.models.small import SMALL

TEXTS = only(TEXT, "input_ids", "attention_mask")
IMAGES = {"pixel_values": np.random.default_rng(0).normal(size=(2, 3, 12, 12)).astype(np.float32)}

CASES: dict[str, Any] = {
    "CLIPTextModel": (CLIPTextConfig, TEXTS),
    "CLIPVisionModel": (CLIPVisionConfig, IMAGES),
    "CLIPModel": (CLIPConfig, TEXTS | IMAGES),
}


@pytest.mark.parametrize("name", CASES)
def test_each_model_computes_what_pytorch_does(name: str, tmp_path: Path) -> None:
    config_class, inputs = CASES[name]
    check_parity(tmp_path, name, SMALL[config_class](), inputs)


def test_the_loss_is_pytorchs(tmp_path: Path) -> None:
    check_parity(tmp_path, "CLIPModel", SMALL[CLIPConfig](), TEXTS | IMAGES, return_loss=True)


@pytest.mark.parametrize("end", [1, 2])
def test_the_end_of_a_text_is_where_pytorch_finds_it(end: int, tmp_path: Path) -> None:
    ids = np.array([[5, 9, 1, 0, 1], [7, 3, 4, 8, 1]])
    config = SMALL[CLIPTextConfig](eos_token_id=end)
    check_parity(tmp_path, "CLIPTextModel", config, TEXTS | {"input_ids": ids})


def test_features_and_positions_are_pytorchs(tmp_path: Path) -> None:
    whole: Any = model_base.CLIPModel(SMALL[CLIPConfig]()).eval()
    whole.save_pretrained(tmp_path)
    model = model_base.TFCLIPModel.from_pretrained(tmp_path)
    texts = TEXTS | {"position_ids": np.array([[4, 3, 2, 1, 0]])}
    with torch.no_grad():
        text = whole.get_text_features(**{k: torch.tensor(v) for k, v in texts.items()})
        image = whole.get_image_features(torch.tensor(IMAGES["pixel_values"]))
    assert_same(model.get_text_features(**texts), text)
    assert_same(model.get_image_features(**IMAGES), image)


@pytest.mark.parametrize("half", ["Text", "Vision"])
def test_a_half_is_read_from_the_whole_s_file(half: str, tmp_path: Path) -> None:
    whole = model_base.TFCLIPModel(SMALL[CLIPConfig]())
    whole.save_pretrained(tmp_path)
    part, info = getattr(model_base, f"TFCLIP{half}Model").from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert info["missing_keys"] == []
    inputs = TEXTS if half == "Text" else IMAGES
    wanted = whole(TEXTS | IMAGES)[f"{half.lower()}_model_output"].pooler_output
    assert_same(part(inputs).pooler_output, wanted)


def test_images_of_another_size_are_refused() -> None:
    model = model_base.TFCLIPVisionModel(SMALL[CLIPVisionConfig]())
    with pytest.raises(ValueError, match=r"16\*12 pixels; accepted: 12\*12"):
        model(tf.zeros((1, 3, 16, 12)))


def test_tokens_are_added_to_the_text_half() -> None:
    model = model_base.TFCLIPModel(SMALL[CLIPConfig]())
    before = model.get_input_embeddings().weight.numpy()
    assert model.resize_token_embeddings(70).shape == (70, 32)
    assert model.config.text_config.vocab_size == 70
    assert np.array_equal(model.get_input_embeddings().weight.numpy()[:61], before)
    with pytest.raises(NotImplementedError, match="no tokens"):
        model_base.TFCLIPVisionModel(SMALL[CLIPVisionConfig]()).resize_token_embeddings(3)


def test_a_new_model_has_the_configuration_s_scale() -> None:
    model = model_base.TFCLIPModel(SMALL[CLIPConfig](logit_scale_init_value=2))
    assert model.clip.logit_scale.numpy().tolist() == [2.0]
