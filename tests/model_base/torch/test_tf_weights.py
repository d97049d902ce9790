"""load_tf_weights: a TensorFlow 1 checkpoint into a model that is there already."""

from pathlib import Path

import pytest
import torch

from model_base import BertConfig, BertForPreTraining
from model_base.errors import CheckpointMismatch, CheckpointUnreadable

CHECKPOINT = Path(__file__).parents[2] / "fixtures/tf1_bertforpretraining/ckpt/model.ckpt"


@pytest.fixture
def config() -> BertConfig:
    return BertConfig.from_pretrained(CHECKPOINT.parent)


def test_the_weights_are_copied_into_the_model_s_own_parameters(config: BertConfig) -> None:
    model = BertForPreTraining(config).half()
    parameter = model.bert.pooler.dense.weight
    assert BertForPreTraining.load_tf_weights(model, config, CHECKPOINT) is model
    assert model.bert.pooler.dense.weight is parameter
    loaded = BertForPreTraining.from_pretrained(CHECKPOINT, from_tf=True)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor.half()), name


def test_a_checkpoint_that_is_not_there_is_named(config: BertConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnreadable, match="absent.ckpt"):
        BertForPreTraining.load_tf_weights(None, config, tmp_path / "absent.ckpt")


def test_other_shapes_are_refused_and_nothing_is_copied(config: BertConfig) -> None:
    config.intermediate_size += 4
    model = BertForPreTraining(config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointMismatch, match="intermediate"):
        model.load_tf_weights(model, config, CHECKPOINT)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
