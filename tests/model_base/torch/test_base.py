"""PreTrainedModel: construction, initialisation, recomputing activations."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from model_base import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    PretrainedConfig,
    PreTrainedModel,
    no_init_weights,
)
from model_base.errors import UnsupportedConfig

Small = Callable[..., BertConfig]
IDS = torch.arange(1, 21).view(2, 10)


class Bare(PreTrainedModel):
    """As little of a model as there can be."""

    config_class = BertConfig

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.dense = nn.Linear(2, 2)


def test_another_thing_than_a_config_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Bare\(config\) got a dict; .*Bare\.from_pretrained"):
        Bare({})


def test_unsupported_mathematics_is_refused() -> None:
    with pytest.raises(UnsupportedConfig, match="quantization_config"):
        Bare(BertConfig(quantization_config={"bits": 4}))


def test_a_bare_model_says_what_it_does_not_have(small: Small) -> None:
    model = Bare(small())
    for call in (
        model.get_input_embeddings,
        lambda: model.set_input_embeddings(nn.Embedding(2, 2)),
        lambda: model.set_output_embeddings(nn.Linear(2, 2)),
        lambda: model.resize_position_embeddings(3),
        model.get_position_embeddings,
        lambda: Bare(PretrainedConfig())._init_weights(model.dense),
        lambda: model.prune_heads({0: [1]}),
    ):
        with pytest.raises(NotImplementedError, match="Bare"):
            call()
    assert model.get_output_embeddings() is None
    assert model.base_model is model
    with pytest.raises(ValueError, match="Bare does not support gradient checkpointing"):
        model.gradient_checkpointing_enable()
    model.gradient_checkpointing_disable()


def test_what_every_model_has(small: Small) -> None:
    model = BertForMaskedLM(small())
    assert (model.framework, model.main_input_name, model.name_or_path) == ("pt", "input_ids", "")
    assert model.dummy_inputs["input_ids"].shape == (3, 5)
    assert model.base_model is model.bert
    assert model.warnings_issued == {}
    model.eval()(**model.dummy_inputs)


def test_weights_start_as_the_architecture_says(small: Small) -> None:
    model = BertModel(small(initializer_range=0.5, pad_token_id=3))
    assert 0.45 < model.embeddings.word_embeddings.weight.std() < 0.55
    assert model.embeddings.word_embeddings.weight[3].abs().sum() == 0
    assert model.pooler.dense.bias.abs().sum() == 0
    assert model.embeddings.LayerNorm.weight.unique().tolist() == [1]


def test_weights_start_as_the_initializer_range_says_without_more_words(small: Small) -> None:
    model = Bare(small(initializer_range=1e-9))
    model.init_weights()
    assert 0 < model.dense.weight.abs().max() < 1e-7
    assert model.dense.bias.abs().sum() == 0


def test_initialisation_can_be_switched_off_and_comes_back(small: Small) -> None:
    with no_init_weights():
        with no_init_weights():
            pass
        raw = BertModel(small(initializer_range=9.0))
    assert raw.pooler.dense.weight.std() < 1
    with no_init_weights(_enable=False):
        assert BertModel(small(initializer_range=9.0)).pooler.dense.weight.std() > 5
    with pytest.raises(ZeroDivisionError), no_init_weights():
        raise ZeroDivisionError
    assert BertModel(small(initializer_range=9.0)).pooler.dense.weight.std() > 5


def test_a_model_is_made_in_the_dtype_asked_for(small: Small) -> None:
    assert BertModel._from_config(small(), torch_dtype=torch.bfloat16).dtype is torch.bfloat16
    assert BertModel._from_config(small()).dtype is torch.float32
    with pytest.raises(ValueError, match="cannot make BertModel in dtype torch.int32"):
        BertModel._from_config(small(), torch_dtype=torch.int32)


# ---- recomputing activations


def trained(model: BertModel) -> tuple[int, dict[str, torch.Tensor]]:
    """How many tensors a forward keeps for the backward, and the gradients."""
    kept: list[torch.Tensor] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    model.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(IDS).pooler_output.square().sum()
    count = len(kept)
    loss.backward()
    return count, {name: p.grad.clone() for name, p in model.named_parameters()}


def test_recomputing_keeps_fewer_tensors_and_gives_the_same_gradients(small: Small) -> None:
    model = BertModel(small(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).train()
    plain_count, plain = trained(model)
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    count, gradients = trained(model)
    assert count < plain_count / 2
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[name], msg=name)
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    assert trained(model)[0] == plain_count


def test_recomputing_keeps_what_was_dropped(small: Small) -> None:
    model = BertModel(small(hidden_dropout_prob=0.5)).train()
    gradients = []
    for switch in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        switch()
        torch.manual_seed(7)
        gradients.append(trained(model)[1])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_recomputing_gives_the_same_outputs_as_keeping(small: Small) -> None:
    model: Any = BertModel(small(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).train()
    plain = model(IDS, output_hidden_states=True, output_attentions=True)
    model.gradient_checkpointing_enable()
    again = model(IDS, output_hidden_states=True, output_attentions=True)
    assert list(plain) == list(again)
    torch.testing.assert_close(again.to_tuple(), plain.to_tuple())


def test_an_old_config_switches_it_on(small: Small) -> None:
    config = small(gradient_checkpointing=True)
    assert BertForMaskedLM(config).is_gradient_checkpointing
    assert not hasattr(config, "gradient_checkpointing")
