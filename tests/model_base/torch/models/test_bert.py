"""BERT's heads: signatures, losses, outputs."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

import model_base
from model_base import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
)

Small = Callable[..., BertConfig]
IDS = torch.randint(1, 61, (3, 7), generator=torch.Generator().manual_seed(1))

START = "input_ids attention_mask token_type_ids position_ids head_mask inputs_embeds "
END = " output_attentions output_hidden_states return_dict layout"
ENCODER = "encoder_hidden_states encoder_attention_mask "
SIGNATURES = {
    "BertModel": START + ENCODER + "past_key_values use_cache" + END,
    "BertForPreTraining": START + "labels next_sentence_label" + END,
    "BertForMaskedLM": START + ENCODER + "labels" + END,
    "BertLMHeadModel": START + ENCODER + "labels past_key_values use_cache" + END,
    "BertForNextSentencePrediction": START + "labels" + END,
    "BertForSequenceClassification": START + "labels" + END,
    "BertForTokenClassification": START + "labels" + END,
    "BertForMultipleChoice": START + "labels" + END.removesuffix(" layout"),
    "BertForQuestionAnswering": START + "start_positions end_positions" + END,
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_are_those_of_4_19_and_the_layout(name: str) -> None:
    parameters = inspect.signature(getattr(model_base, name).forward).parameters
    assert list(parameters)[1:] == SIGNATURES[name].split()
    assert {p.default for p in list(parameters.values())[1:]} == {None}


def run(model: Any, **inputs: Any) -> Any:
    return model.eval()(IDS, **inputs)


def test_masked_tokens_are_scored_where_there_is_a_label(small: Small) -> None:
    labels = IDS.masked_fill(torch.rand(IDS.shape) < 0.5, -100)
    out = run(BertForMaskedLM(small()), labels=labels)
    kept = labels != -100
    torch.testing.assert_close(out.loss, F.cross_entropy(out.logits[kept], labels[kept]))


def test_the_next_token_is_scored_at_each_but_the_last(small: Small) -> None:
    out = run(BertLMHeadModel(small(is_decoder=True)), labels=IDS)
    scores = out.logits[:, :-1].flatten(0, 1)
    torch.testing.assert_close(out.loss, F.cross_entropy(scores, IDS[:, 1:].flatten()))
    assert out.past_key_values is None


def test_pretraining_adds_both_losses_and_needs_both_labels(small: Small) -> None:
    model, follows = BertForPreTraining(small()), torch.tensor([0, 1, 0])
    out = run(model, labels=IDS, next_sentence_label=follows)
    tokens = F.cross_entropy(out.prediction_logits.flatten(0, 1), IDS.flatten())
    wanted = tokens + F.cross_entropy(out.seq_relationship_logits, follows)
    torch.testing.assert_close(out.loss, wanted)
    assert run(model, labels=IDS).loss is None


@pytest.mark.parametrize(
    ("num_labels", "labels", "problem", "loss"),
    [
        (1, torch.tensor([0.5, 1.0, 2.0]), "regression", lambda x, y: F.mse_loss(x[:, 0], y)),
        (4, torch.tensor([0, 3, 1]), "single_label_classification", F.cross_entropy),
        (2, torch.eye(3, 2), "multi_label_classification", F.binary_cross_entropy_with_logits),
    ],
)
def test_a_sequence_is_scored_by_the_kind_of_its_labels(
    num_labels: int, labels: torch.Tensor, problem: str, loss: Any, small: Small
) -> None:
    model = BertForSequenceClassification(small(num_labels=num_labels))
    out = run(model, labels=labels)
    assert model.config.problem_type == problem
    torch.testing.assert_close(out.loss, loss(out.logits, labels))


@pytest.mark.parametrize(
    ("head", "labels"),
    [
        (BertForNextSentencePrediction, torch.tensor([0, 1, 1])),
        (BertForTokenClassification, IDS % 2),
    ],
)
def test_other_labels_are_scored_by_cross_entropy(
    head: Any, labels: torch.Tensor, small: Small
) -> None:
    out = run(head(small()), labels=labels)
    scores = out.logits.reshape(-1, out.logits.shape[-1])
    torch.testing.assert_close(out.loss, F.cross_entropy(scores, labels.flatten()))


def test_a_span_beyond_the_text_does_not_count(small: Small) -> None:
    starts, ends = torch.tensor([0, 2, 99]), torch.tensor([[3], [4], [99]])
    out = run(BertForQuestionAnswering(small()), start_positions=starts, end_positions=ends)
    first = F.cross_entropy(out.start_logits[:2], starts[:2])
    last = F.cross_entropy(out.end_logits[:2], ends[:2, 0])
    torch.testing.assert_close(out.loss, (first + last) / 2)


@pytest.mark.parametrize("as_embeddings", [False, True])
def test_a_choice_is_scored_as_each_text_alone(as_embeddings: bool, small: Small) -> None:
    model = BertForMultipleChoice(small()).eval()
    ids, labels = IDS[None].expand(2, 3, 7), torch.tensor([1, 2])
    mask = torch.ones(2, 3, 7)
    mask[1, :, 4:] = 0
    inputs = {"input_ids": ids}
    if as_embeddings:
        inputs = {"inputs_embeds": model.get_input_embeddings()(ids)}
    out = model(**inputs, attention_mask=mask, labels=labels)
    alone = torch.stack([model.classifier(model.bert(row, m).pooler_output)[:, 0]
                         for row, m in zip(ids, mask, strict=True)])  # fmt: skip
    torch.testing.assert_close(out.logits, alone)
    torch.testing.assert_close(out.loss, F.cross_entropy(alone, labels))


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_tuple_holds_what_the_mapping_holds(name: str, small: Small) -> None:
    model = getattr(model_base, name)(small()).eval()
    ids = IDS[None] if name == "BertForMultipleChoice" else IDS
    asked = {"output_hidden_states": True, "output_attentions": True}
    out = model(ids, **asked)
    assert isinstance(model(ids, **asked, return_dict=False), tuple)
    torch.testing.assert_close(model(ids, **asked, return_dict=False), out.to_tuple())
    assert (len(out.hidden_states), len(out.attentions)) == (3, 2)


def test_a_language_model_returns_its_cache_before_hidden_states(small: Small) -> None:
    model = BertLMHeadModel(small(is_decoder=True))
    out = run(model, output_hidden_states=True, output_attentions=True)
    assert list(out) == ["logits", "past_key_values", "hidden_states", "attentions"]


def test_a_masked_language_model_returns_no_cache(small: Small) -> None:
    assert list(run(BertForMaskedLM(small(is_decoder=True)))) == ["logits"]


def test_embeddings_take_the_place_of_ids(small: Small) -> None:
    model = BertModel(small()).eval()
    embeds = model.get_input_embeddings()(IDS)
    torch.testing.assert_close(model(inputs_embeds=embeds).to_tuple(), model(IDS).to_tuple())
    for both in ({}, {"input_ids": IDS, "inputs_embeds": embeds}):
        with pytest.raises(ValueError, match="exactly one of input_ids and inputs_embeds"):
            model(**both)


def test_heads_that_do_not_share_the_width_are_refused(small: Small) -> None:
    with pytest.raises(ValueError, match="hidden_size 32 is no multiple of num_attention_heads 5"):
        BertModel(small(num_attention_heads=5))


def test_the_classifier_drops_at_its_own_rate(small: Small) -> None:
    def rate(**fields: Any) -> float:
        return BertForSequenceClassification(small(**fields)).classifier.dropout.p

    assert rate(hidden_dropout_prob=0.3) == 0.3
    assert rate(hidden_dropout_prob=0.3, classifier_dropout=0.0) == 0.0


@pytest.mark.parametrize(
    "act", ["gelu", "gelu_new", "quick_gelu", "relu", "silu", "mish", "linear"]
)
def test_every_activation_runs(act: str, small: Small) -> None:
    assert bool(run(BertModel(small(hidden_act=act))).last_hidden_state.isfinite().all())


def test_a_model_can_be_pickled_and_copied(small: Small) -> None:
    import copy
    import pickle

    model = BertForMaskedLM(small(hidden_act="quick_gelu")).eval()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(twin(IDS).logits, model(IDS).logits)
        assert twin.get_output_embeddings().weight is twin.get_input_embeddings().weight
