"""ViT in TensorFlow, beside PyTorch's on one checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

import model_base
from model_base import ViTConfig
from tests.model_base.tensorflow.models.parity import TEXT_LABELS, check_parity
from tests.model_base.torch.models.small import SMALL

IMAGES = {"pixel_values": np.random.default_rng(0).normal(size=(2, 3, 12, 12)).astype(np.float32)}

HEADS: dict[str, Any] = {
    "ViTModel": (IMAGES, None),
    "ViTForImageClassification": (IMAGES, TEXT_LABELS),
}


def model_of(name: str, **fields: Any) -> Any:
    return getattr(model_base, name)(SMALL[ViTConfig](**fields))


@pytest.mark.parametrize("name", HEADS)
def test_each_head_computes_what_pytorch_does(name: str, tmp_path: Path) -> None:
    check_parity(tmp_path, name, SMALL[ViTConfig](), *HEADS[name])


def test_sides_may_differ(tmp_path: Path) -> None:
    config = SMALL[ViTConfig](image_size=[12, 16], patch_size=[4, 8], pooler_output_size=20)
    images = {"pixel_values": np.tile(IMAGES["pixel_values"], (1, 1, 1, 2))[..., :16]}
    check_parity(tmp_path, "ViTModel", config, images)


def test_a_number_has_the_squared_error(tmp_path: Path) -> None:
    config = SMALL[ViTConfig](num_labels=1)
    labels = {"labels": np.array([0.5, -1.0], np.float32)}
    check_parity(tmp_path, "ViTForImageClassification", config, IMAGES, labels)


def test_heads_are_masked_as_pytorchs(tmp_path: Path) -> None:
    masks = {"head_mask": np.array([[1, 0, 1, 1], [0, 1, 1, 0.5]], np.float32)}
    check_parity(tmp_path, "ViTModel", SMALL[ViTConfig](), IMAGES | masks)


@pytest.mark.parametrize("size", [(8, 20), (16, 24), (12, 12), (13, 30)])
def test_positions_are_interpolated_as_pytorchs(size: tuple[int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).normal(size=(2, 3, *size)).astype(np.float32)
    config = SMALL[ViTConfig]()
    model = check_parity(tmp_path / "same", "ViTModel", config, IMAGES)
    torch_model = model_base.ViTModel.from_pretrained(tmp_path / "same" / "safetensors")
    with torch.no_grad():
        wanted = torch_model(torch.tensor(pixels), interpolate_pos_encoding=True)
    found = model(pixels, interpolate_pos_encoding=True)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4, atol=1e-4)
    graph = tf.function(
        lambda images: model(images, interpolate_pos_encoding=True)[0],
        input_signature=[tf.TensorSpec([None] * 4, tf.float32)],
    )
    np.testing.assert_allclose(graph(pixels), wanted[0], rtol=1e-4, atol=1e-4)


def test_images_of_another_size_are_refused_and_told_how_they_are_accepted() -> None:
    model = model_of("TFViTModel")
    with pytest.raises(ValueError, match=r"16\*12 pixels; accepted: 12\*12, others with interp"):
        model(tf.zeros((1, 3, 16, 12)))
    with pytest.raises(tf.errors.InvalidArgumentError):
        model.serving({"pixel_values": tf.zeros((1, 3, 16, 12))})
    with pytest.raises(ValueError, match="pixel_values is missing"):
        model(head_mask=tf.ones(4))


def test_images_have_no_vocabulary() -> None:
    with pytest.raises(NotImplementedError, match="no tokens"):
        model_of("TFViTModel").resize_token_embeddings(70)


def test_without_labels_the_first_token_is_what_a_classifier_gives() -> None:
    model = model_of("TFViTForImageClassification", num_labels=0)
    assert model(IMAGES["pixel_values"]).logits.shape == (2, 32)


def test_a_pooler_can_be_left_out() -> None:
    config = SMALL[ViTConfig]()
    model: Any = model_base.TFViTModel(config, add_pooling_layer=False)
    assert "pooler_output" not in model(model.dummy_inputs)


def test_dropout_is_for_training() -> None:
    model = model_of("TFViTModel", hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    pixels = IMAGES["pixel_values"]
    plain = model(pixels)[0]
    assert np.array_equal(model(pixels)[0], plain)
    assert not np.allclose(model(pixels, training=True)[0], plain)
