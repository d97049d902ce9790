"""Layouts: padded, packed and paged give the same numbers through one model file."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from model_base import (
    BertConfig,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertLMHeadModel,
    BertModel,
)
from model_base.torch.attention import Scoring, attend, distance_scores
from model_base.torch.layouts import PackedLayout
from tests.model_base.torch import paged

Small = Callable[..., BertConfig]
POSITIONS = ("absolute", "relative_key", "relative_key_query")
HEADS = (
    BertModel, BertForPreTraining, BertForMaskedLM, BertForNextSentencePrediction,
    BertForSequenceClassification, BertForTokenClassification, BertForQuestionAnswering,
)  # fmt: skip
LENGTHS = ([5, 1, 17, 2], [1], [1, 1, 1], [30, 3])


@pytest.fixture
def small(small: Small) -> Small:
    """Large weights, so that it shows who attends to whom."""
    return lambda **fields: small(initializer_range=0.3, **fields)


def texts(lengths: Sequence[int]) -> list[Tensor]:
    return [torch.randint(1, 61, (length,)) for length in lengths]


def padded(sequences: list[Tensor]) -> dict[str, Tensor]:
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]) * 1}


def unpadded(values_BL: Tensor, lengths: Sequence[int]) -> Tensor:
    return torch.cat([row[:length] for row, length in zip(values_BL, lengths, strict=True)])


def assert_same(packed: Any, dense: Any, lengths: Sequence[int]) -> None:
    """The packed output is the padded one without its padding."""
    assert list(packed) == list(dense)
    for name, value in dense.items():
        wanted = value if name in dense.per_sequence else unpadded(value, lengths)
        torch.testing.assert_close(packed[name], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.__name__)
def test_packed_equals_padded(head: Any, positions: str, lengths: list[int], small: Small) -> None:
    model = head(small(position_embedding_type=positions)).eval()
    sequences = texts(lengths)
    with torch.no_grad():
        dense = model(**padded(sequences))
        packed = model(torch.cat(sequences), layout=PackedLayout(lengths))
    assert_same(packed, dense, lengths)


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("positions", POSITIONS)
def test_a_packed_decoder_equals_a_padded_one(
    positions: str, lengths: list[int], small: Small
) -> None:
    model = BertLMHeadModel(small(is_decoder=True, position_embedding_type=positions)).eval()
    sequences = texts(lengths)
    with torch.no_grad():
        dense = model(**padded(sequences), use_cache=False)
        packed = model(torch.cat(sequences), layout=PackedLayout(lengths, causal=True))
    assert_same(packed, dense, lengths)


def test_packed_takes_embeddings_and_token_types(small: Small) -> None:
    model, lengths = BertModel(small()).eval(), [4, 7]
    sequences = texts(lengths)
    kinds = [torch.arange(length) % 2 for length in lengths]
    with torch.no_grad():
        dense = model(**padded(sequences), token_type_ids=padded(kinds)["input_ids"])
        embeds = model.get_input_embeddings()(torch.cat(sequences))
        packed = model(inputs_embeds=embeds, token_type_ids=torch.cat(kinds),
                       layout=PackedLayout(lengths))  # fmt: skip
    assert_same(packed, dense, lengths)


def test_each_text_alone_gives_what_it_gives_in_a_batch(small: Small) -> None:
    model, lengths = BertModel(small()).eval(), [3, 9]
    sequences = texts(lengths)
    with torch.no_grad():
        packed = model(torch.cat(sequences), layout=PackedLayout(lengths))
        alone = [model(sequence[None]).last_hidden_state[0] for sequence in sequences]
    torch.testing.assert_close(packed.last_hidden_state, torch.cat(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
def test_filler_behind_the_sequences_changes_nothing(positions: str, small: Small) -> None:
    model, lengths = BertModel(small(position_embedding_type=positions)).eval(), [3, 9]
    ids = torch.cat(texts(lengths))
    filler = torch.full((4,), int(ids[0]))
    with torch.no_grad():
        plain = model(ids, layout=PackedLayout(lengths))
        filled = model(torch.cat([ids, filler]), layout=PackedLayout(lengths, num_filler=4))
    assert filled.last_hidden_state.isfinite().all()
    torch.testing.assert_close(filled.last_hidden_state[:-4], plain.last_hidden_state)
    torch.testing.assert_close(filled.pooler_output, plain.pooler_output)


def test_a_packed_forward_can_be_trained(small: Small) -> None:
    model = BertModel(small(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).train()
    sequences = texts([3, 5])
    gradients = []
    for inputs in ({"input_ids": torch.cat(sequences), "layout": PackedLayout([3, 5])},
                   padded(sequences)):  # fmt: skip
        model.zero_grad()
        model(**inputs).pooler_output.square().sum().backward()
        gradients.append(model.embeddings.word_embeddings.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", ["padded", "packed", "weights"])
def test_attention_weights_are_dropped_in_training_only(way: str, small: Small) -> None:
    model = BertModel(small(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.5))
    sequences = texts([9, 9])

    def forward() -> Tensor:
        if way == "packed":
            inputs: dict[str, Any] = {"input_ids": torch.cat(sequences)}
            return model(**inputs, layout=PackedLayout([9, 9])).last_hidden_state
        return model(**padded(sequences), output_attentions=way == "weights").last_hidden_state

    with torch.no_grad():
        model.train()
        assert not torch.allclose(forward(), forward(), atol=1e-3)
        model.eval()
        torch.testing.assert_close(forward(), forward())


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_decoder_over_scattered_blocks_gives_the_dense_result(
    positions: str, small: Small
) -> None:
    config = small(is_decoder=True, position_embedding_type=positions)
    model = BertModel(config, add_pooling_layer=False).eval()
    sequences = texts(paged.LENGTHS)
    with torch.no_grad():
        states = paged.decode(model, sequences)
        dense = [model(ids[None]).last_hidden_state[0] for ids in sequences]
    for state, wanted in zip(states, dense, strict=True):
        torch.testing.assert_close(state, wanted, rtol=1e-5, atol=1e-5)


# ---- the documented arguments


@pytest.mark.parametrize("with_keys", [False, True])
def test_relative_positions_score_each_pair_by_its_distance(with_keys: bool) -> None:
    table = torch.nn.Embedding(2 * 10 - 1, 4)
    query, key = torch.randn(2, 3, 2, 4), torch.randn(2, 3, 5, 4)
    queries, keys = torch.tensor([3, 4]), torch.arange(5)
    scores = distance_scores(table, query, key, queries, keys, with_keys=with_keys)
    for i, j in itertools.product(range(2), range(5)):
        row = table.weight[queries[i] - keys[j] + 9]
        wanted = query[:, :, i] @ row + (key[:, :, j] @ row if with_keys else 0)
        torch.testing.assert_close(scores[:, :, i, j], wanted / 2)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_cache_gives_what_the_whole_sequence_gives(positions: str, small: Small) -> None:
    model = BertLMHeadModel(small(is_decoder=True, position_embedding_type=positions)).eval()
    ids = torch.randint(1, 61, (2, 9))
    with torch.no_grad():
        whole = model(ids).logits
        first = model(ids[:, :4])
        rest = model(ids[:, 4:], past_key_values=first.past_key_values)
    torch.testing.assert_close(torch.cat([first.logits, rest.logits], 1), whole)
    assert rest.past_key_values[0][0].shape == (2, 4, 9, 8)


def test_weights_at_hand_and_the_fused_kernel_agree(small: Small) -> None:
    model = BertModel(small()).eval()
    inputs = padded(texts([5, 9]))
    with torch.no_grad():
        fused = model(**inputs)
        eager = model(**inputs, output_attentions=True)
    torch.testing.assert_close(eager.last_hidden_state, fused.last_hidden_state)
    assert [tuple(weights.shape) for weights in eager.attentions] == [(2, 4, 9, 9)] * 2
    torch.testing.assert_close(eager.attentions[0].sum(-1), torch.ones(2, 4, 9))
    assert eager.attentions[0][0, :, :, 5:].abs().sum() == 0


def test_a_head_that_is_masked_is_silent(small: Small) -> None:
    model = BertModel(small()).eval()
    ids = torch.randint(1, 61, (1, 6))
    mask = torch.ones(2, 4)
    mask[0, 1] = 0
    with torch.no_grad():
        out = model(ids, head_mask=mask, output_attentions=True)
    assert out.attentions[0][:, 1].abs().sum() == 0
    assert out.attentions[1][:, 1].abs().sum() > 0


def test_cross_attention_sees_what_its_mask_keeps(small: Small) -> None:
    config = small(is_decoder=True, add_cross_attention=True)
    model = BertModel(config).eval()
    ids, states = torch.randint(1, 61, (2, 4)), torch.randn(2, 7, 32)
    mask = torch.tensor([[1] * 7, [1] * 3 + [0] * 4])
    with torch.no_grad():
        out = model(ids, encoder_hidden_states=states, encoder_attention_mask=mask,
                    output_attentions=True)  # fmt: skip
        states[1, 3:] = 100
        again = model(ids, encoder_hidden_states=states, encoder_attention_mask=mask)
    assert out.cross_attentions[0].shape == (2, 4, 4, 7)
    torch.testing.assert_close(out.last_hidden_state, again.last_hidden_state)


def test_encoder_states_without_cross_attention_are_refused(small: Small) -> None:
    with pytest.raises(ValueError, match="add_cross_attention=True"):
        BertModel(small())(torch.ones(1, 2, dtype=torch.long),
                           encoder_hidden_states=torch.ones(1, 2, 32))  # fmt: skip


def test_keys_count_alike_if_padding_is_all_that_a_window_shows() -> None:
    query, key, value = (torch.randn(1, 1, 6, 4) for _ in range(3))
    mask = torch.tensor([[0.0, 0.0, 0.0, -1e4, -1e4, -1e4]])
    scoring = Scoring(0.5, window=1)
    _, weights = attend(query, key, value, scoring, mask=mask, causal=True, keep_weights=True)
    assert weights is not None
    torch.testing.assert_close(weights[0, 0, 5], torch.full((6,), 1 / 6))
    assert weights[0, 0, 2].nonzero().flatten().tolist() == [1, 2]


def test_a_mask_for_each_query_hides_for_that_query_only(small: Small) -> None:
    model = BertModel(small()).eval()
    ids = torch.randint(1, 61, (1, 5))
    mask = torch.ones(1, 5, 5).tril()
    with torch.no_grad():
        out = model(ids, attention_mask=mask)
        short = model(ids[:, :3], attention_mask=mask[:, :3, :3])
    torch.testing.assert_close(out.last_hidden_state[:, :3], short.last_hidden_state)


@pytest.mark.parametrize(
    "argument",
    [
        {"attention_mask": torch.ones(1, 3)},
        {"position_ids": torch.zeros(1, 3, dtype=torch.long)},
        {"head_mask": torch.ones(4)},
        {"output_attentions": True},
    ],
    ids=lambda argument: next(iter(argument)),
)
def test_an_argument_that_the_layout_replaces_is_refused_by_name(argument) -> None:
    model = BertModel(BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1,
                                 num_attention_heads=4, intermediate_size=8))  # fmt: skip
    with pytest.raises(ValueError, match=next(iter(argument))):
        model(torch.tensor([1, 2, 3]), layout=PackedLayout([3]), **argument)
