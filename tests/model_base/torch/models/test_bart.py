"""BART: the scores' bias, the end of a text, files that hold the embeddings once."""

from pathlib import Path

import pytest
import torch

from model_base import (
    BartConfig,
    BartForCausalLM,
    BartForConditionalGeneration,
    BartForSequenceClassification,
    BartModel,
)
from tests.model_base.torch.models.small import SMALL


@pytest.mark.parametrize("rows", [70, 50])
def test_the_scores_bias_follows_the_vocabulary(rows: int) -> None:
    model = BartForConditionalGeneration(SMALL[BartConfig]())
    model.final_logits_bias[:] = 1.0
    model.resize_token_embeddings(rows)
    wanted = torch.cat([torch.ones(1, min(rows, 61)), torch.zeros(1, max(rows - 61, 0))], 1)
    assert torch.equal(model.final_logits_bias, wanted)
    assert model(torch.tensor([[5, 2]])).logits.shape[-1] == rows


def test_without_ids_the_decoder_reads_the_text_shifted() -> None:
    model, ids = BartModel(SMALL[BartConfig]()).eval(), torch.tensor([[5, 6, 2], [7, 2, 1]])
    with torch.no_grad():
        first = model(ids).last_hidden_state
        second = model(ids, decoder_input_ids=torch.tensor([[2, 5, 6], [2, 7, 2]]))
    torch.testing.assert_close(first, second.last_hidden_state)


def test_a_text_is_classified_at_its_last_end_token() -> None:
    model = BartForSequenceClassification(SMALL[BartConfig]()).eval()
    ids = torch.tensor([[5, 2, 6, 2, 1], [7, 8, 9, 3, 2]])
    with torch.no_grad():
        hidden = model.model(ids).last_hidden_state
        logits = model(ids).logits
        torch.testing.assert_close(logits, model.classification_head(hidden[[0, 1], [3, 4]]))


def test_a_decoder_finds_its_embeddings_in_a_whole_model_s_file(tmp_path: Path) -> None:
    whole = BartForConditionalGeneration(SMALL[BartConfig]())
    whole.save_pretrained(tmp_path)
    decoder, info = BartForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"] == []
    assert torch.equal(decoder.get_input_embeddings().weight, whole.model.shared.weight)
    assert decoder.lm_head.weight is decoder.get_input_embeddings().weight


def test_a_config_of_three_labels_keeps_the_names_it_was_given() -> None:
    assert BartConfig().num_labels == 3
    assert BartConfig(id2label={0: "no", 1: "yes"}).num_labels == 2
