"""EmbeddingsMixin: tying and resizing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from model_base import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from model_base.torch.embeddings import tie_encoder_to_decoder

Small = Callable[..., BertConfig]
IDS = torch.arange(1, 11).view(2, 5)


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", [50, 61, 75])
def test_resizing_keeps_what_is_known_and_the_head_follows(
    size: int, tied: bool, small: Small
) -> None:
    model = BertForMaskedLM(small(tie_word_embeddings=tied))
    nn.init.normal_(model.cls.predictions.bias)
    old_rows, old_logits = model.get_input_embeddings().weight.clone(), logits(model)
    embeddings = model.resize_token_embeddings(size)
    known = min(size, 61)
    assert embeddings is model.get_input_embeddings()
    assert embeddings.weight.shape == (size, 32)
    assert torch.equal(embeddings.weight[:known], old_rows[:known])
    assert model.config.vocab_size == model.vocab_size == size
    torch.testing.assert_close(logits(model)[..., :known], old_logits[..., :known])
    head: Any = model.get_output_embeddings()
    assert (head.out_features, tuple(head.bias.shape)) == (size, (size,))
    assert model.cls.predictions.bias is head.bias
    assert (head.weight is embeddings.weight) is tied
    assert head.bias[61:].abs().sum() == 0


def test_the_same_size_and_none_change_nothing(small: Small) -> None:
    model = BertForSequenceClassification(small())
    embeddings = model.get_input_embeddings()
    assert model.resize_token_embeddings() is embeddings
    assert model.resize_token_embeddings(61) is embeddings


@pytest.mark.parametrize(("size", "padding"), [(75, 3), (4, 3), (3, None)])
def test_the_padding_row_stays_if_it_is_still_there(
    size: int, padding: int | None, small: Small
) -> None:
    model: Any = BertModel(small(pad_token_id=3))
    assert model.resize_token_embeddings(size).padding_idx == padding


def test_resizing_keeps_the_dtype(small: Small) -> None:
    model = BertForMaskedLM(small(tie_word_embeddings=False)).to(torch.bfloat16)
    model.resize_token_embeddings(70)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_a_resized_model_is_loaded_as_it_was_saved(small: Small, tmp_path: Any) -> None:
    model = BertForMaskedLM(small())
    model.resize_token_embeddings(70)
    model.save_pretrained(tmp_path)
    torch.testing.assert_close(logits(BertForMaskedLM.from_pretrained(tmp_path)), logits(model))


def test_other_modules_are_refused_by_their_type(small: Small) -> None:
    model = BertForMaskedLM(small(tie_word_embeddings=False))
    model.set_output_embeddings(nn.Bilinear(2, 2, 2))
    with pytest.raises(TypeError, match="output embeddings are a Bilinear; accepted: nn.Linear"):
        model.resize_token_embeddings(70)
    model.set_input_embeddings(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="embeddings are a Linear; accepted: nn.Embedding"):
        model.resize_token_embeddings(80)


def test_under_torchscript_the_head_has_a_copy(small: Small) -> None:
    model = BertForMaskedLM(small(torchscript=True))
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    assert head.weight is not embeddings.weight
    assert torch.equal(head.weight, embeddings.weight)


def test_a_submodule_may_tie_weights_of_its_own(small: Small) -> None:
    class Tying(nn.Module):
        calls = 0

        def _tie_weights(self) -> None:
            self.calls += 1

    model = BertModel(small())
    model.extra = Tying()
    model.tie_weights()
    assert model.extra.calls == 1


def stack(*layers: nn.Module) -> nn.Module:
    module = nn.Module()
    module.layer = nn.ModuleList(layers)
    return module


def named(name: str) -> nn.Module:
    return nn.ModuleDict({name: nn.Linear(2, 2)})


def test_an_encoder_is_tied_to_those_of_more_layers_that_are_of_the_same_kind() -> None:
    encoder: Any = stack(named("own"), named("dense"), nn.LayerNorm(2))
    other = [named("own"), named("cross"), nn.Linear(2, 2), named("dense"), nn.LayerNorm(2)]
    assert tie_encoder_to_decoder(encoder, stack(*other)) == []
    pairs: Any = [(0, other[0]["own"]), (1, other[3]["dense"])]  # type: ignore[index]
    for index, decoders in pairs:
        (own,) = encoder.layer[index].values()
        assert own.weight is decoders.weight
    assert encoder.layer[2].weight is other[4].weight
