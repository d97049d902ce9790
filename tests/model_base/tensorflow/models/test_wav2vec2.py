"""Wav2Vec2 in TensorFlow, beside PyTorch's on one checkpoint."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

import model_base
from model_base import Wav2Vec2Config
from model_base.tensorflow.models.wav2vec2 import random_spans
from tests.model_base.tensorflow.models.parity import Inputs, as_tf, check_parity
from tests.model_base.torch.models.small import SMALL

FIXTURES = Path(__file__).parents[3] / "fixtures"
SOUND = {
    "input_values": np.random.default_rng(0).normal(size=(2, 60)).astype(np.float32),
    "attention_mask": (np.arange(60) < np.array([[60], [40]])).astype(np.int64),
}
LABELS = {"labels": np.array([[3, 4, 4], [6, 7, -100]])}
STABLE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}
NO_DROPOUT = dict.fromkeys(
    ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout",
     "final_dropout", "layerdrop"),
    0.0,
)  # fmt: skip


def model_of(name: str, **fields: Any) -> Any:
    return getattr(model_base, name)(SMALL[Wav2Vec2Config](**fields))


def served(sound: Inputs) -> Inputs:
    """The same for both stacks; ones for what the default signature alone asks for."""
    return defaultdict(lambda: np.ones((2, 60), np.int64), sound)


@pytest.mark.parametrize("fields", [{}, STABLE, {"num_conv_pos_embeddings": 5}])
@pytest.mark.parametrize("name", ["Wav2Vec2Model", "Wav2Vec2ForCTC"])
def test_each_head_computes_what_pytorch_does(
    name: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    labels = LABELS if name == "Wav2Vec2ForCTC" else None
    check_parity(tmp_path, name, SMALL[Wav2Vec2Config](**fields), served(SOUND), labels)


def test_without_a_mask_all_samples_count(tmp_path: Path) -> None:
    sound = served({"input_values": SOUND["input_values"]})
    check_parity(tmp_path, "Wav2Vec2ForCTC", SMALL[Wav2Vec2Config](), sound, LABELS)


@pytest.mark.parametrize(("kind", "reduce"), [("none", np.asarray), ("mean", np.mean)])
def test_a_mean_is_of_recordings_and_not_of_characters(kind: str, reduce: Any) -> None:
    model = model_of("TFWav2Vec2ForCTC", ctc_loss_reduction=kind)
    output = model({**SOUND, **LABELS})
    logs = torch.tensor(output.logits.numpy()).log_softmax(-1)
    wanted = [
        float(torch.nn.functional.ctc_loss(
            logs[row, :frames], torch.tensor(LABELS["labels"][row, :count]), [frames], [count],
            reduction="sum",
        ))
        for row, frames, count in ((0, 9, 3), (1, 6, 2))
    ]  # fmt: skip
    np.testing.assert_allclose(output.loss, reduce(wanted), rtol=1e-4)


def test_labels_beyond_the_vocabulary_are_refused() -> None:
    model = model_of("TFWav2Vec2ForCTC")
    labels = {"labels": LABELS["labels"] + 100}
    with pytest.raises(ValueError, match="labels hold 107; accepted: below 61"):
        model({**SOUND, **labels})
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.function(model)({k: as_tf(v) for k, v in {**SOUND, **labels}.items()})


def test_a_mask_of_another_shape_and_no_sound_are_refused() -> None:
    model = model_of("TFWav2Vec2Model")
    with pytest.raises(ValueError, match=r"attention_mask is \[2, 39\].*\[2, 60\]"):
        model(SOUND["input_values"], SOUND["attention_mask"][:, :39])
    with pytest.raises(ValueError, match="input_values is missing"):
        model(attention_mask=SOUND["attention_mask"])


def test_as_many_frames_are_counted_as_are_made() -> None:
    model = model_of("TFWav2Vec2Model")
    for samples in range(16, 30):
        made = model(tf.zeros((1, samples))).last_hidden_state.shape[1]
        assert model.wav2vec2.frame_lengths(samples) == made


@pytest.mark.parametrize("rate", ["mask_time_prob", "mask_feature_prob", "layerdrop"])
def test_spans_are_masked_and_layers_left_out_in_training_only(rate: str) -> None:
    fields = NO_DROPOUT | {"mask_time_prob": 0.0, "mask_time_length": 2, "mask_feature_length": 4}
    model = model_of("TFWav2Vec2Model", **fields | {rate: 1.0 if rate == "layerdrop" else 0.5})
    sound = as_tf(SOUND["input_values"])
    plain = model(sound)[0]
    assert np.array_equal(model(sound)[0], plain)
    assert not np.allclose(model(sound, training=True)[0], plain)
    still = model_of("TFWav2Vec2Model", **fields)
    np.testing.assert_allclose(still(sound, training=True)[0], still(sound)[0], atol=1e-6)


def test_a_row_has_as_many_spans_as_are_asked_for_if_it_has_room() -> None:
    tf.random.set_seed(0)
    spans = random_spans(50, 20, 0.5, 5, 2).numpy()
    assert spans.shape == (50, 20)
    assert spans.sum(-1).min() >= 6
    assert spans.sum(-1).max() <= 15
    assert random_spans(3, 4, 0.5, 4, 9).numpy().all()
    assert not random_spans(3, 4, 0.5, 5, 2).numpy().any()


def test_all_weights_that_a_loss_reaches_are_trained_on_a_processor() -> None:
    model = model_of("TFWav2Vec2ForCTC", **NO_DROPOUT, mask_time_prob=0.9, mask_time_length=2)
    with tf.GradientTape() as tape:
        loss = model({**SOUND, **LABELS}, training=True).loss
    assert all(grad is not None for grad in tape.gradient(loss, model.trainable_variables))


def test_the_layers_of_samples_can_be_frozen() -> None:
    model = model_of("TFWav2Vec2ForCTC")
    frozen = sum(int(np.prod(w.shape)) for w in model.wav2vec2.feature_extractor.weights)
    whole = model.num_parameters()
    with pytest.warns(FutureWarning, match="freeze_feature_encoder"):
        model.freeze_feature_extractor()
    assert model.num_parameters(only_trainable=True) == whole - frozen
    assert model.num_parameters() == whole


def test_sound_has_no_table_of_words() -> None:
    model = model_of("TFWav2Vec2Model")
    for ask in (model.get_input_embeddings, lambda: model.resize_token_embeddings(70)):
        with pytest.raises(NotImplementedError, match="reads sound"):
            ask()


def test_a_checkpoint_of_today_is_read_and_gives_its_numbers() -> None:
    folder = FIXTURES / "v457_wav2vec2forctc_st"
    model, info = model_base.TFWav2Vec2ForCTC.from_pretrained(
        folder / "ckpt", output_loading_info=True
    )
    assert not any(info.values())
    arrays = np.load(folder / "expected.npz")
    logits = model(arrays["in.input_values"]).logits
    np.testing.assert_allclose(logits, arrays["out.logits"], rtol=1e-4, atol=1e-4)
