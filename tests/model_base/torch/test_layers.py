"""Mathematics that architectures share: what their outputs alone would not show."""

import pytest
import torch
from torch import nn

from model_base.torch import layers


def test_spans_lie_within_each_row_s_length() -> None:
    spans = layers.random_spans([20, 6, 2], 20, 0.5, 3, 2)
    assert spans.dtype == torch.bool
    assert spans.shape == (3, 20)
    assert 3 <= int(spans[0].sum()) <= 12
    assert int(spans[1, :6].sum()) >= 3
    assert not spans[1, 6:].any()
    assert not spans[2].any()


def test_a_grid_of_its_own_size_is_unchanged_and_a_flat_one_stays_flat() -> None:
    table = torch.randn(6, 5)
    torch.testing.assert_close(layers.resized_grid(table, (2, 3), (2, 3)), table)
    resized = layers.resized_grid(torch.ones(6, 5), (2, 3), (4, 2))
    torch.testing.assert_close(resized, torch.ones(8, 5))


def test_float16_stays_finite_and_float32_is_left_alone() -> None:
    huge = torch.tensor([torch.inf, -torch.inf, 1.0])
    assert layers.finite(huge) is huge
    assert layers.finite(huge.half()).isfinite().all()


class Doubling(nn.Module):
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return 2 * hidden


@pytest.mark.parametrize(("skip_p", "factor"), [(0.0, 8), (1.0, 1)])
def test_layers_are_skipped_with_the_given_probability(skip_p: float, factor: int) -> None:
    blocks, hidden = [Doubling(), Doubling(), Doubling()], torch.ones(2)
    states = layers.run_layers(blocks, hidden, recompute=False, skip_p=skip_p)
    assert len(states) == 4
    assert torch.equal(states[-1], factor * hidden)


def test_ids_are_not_shifted_without_a_start() -> None:
    with pytest.raises(ValueError, match="decoder_start_token_id"):
        layers.shift_right(torch.tensor([[1, 2]]), None, 0)


def test_labels_for_next_tokens_are_refused_of_packed_tokens() -> None:
    logits_TN, labels_T = torch.zeros(5, 7), torch.zeros(5, dtype=torch.long)
    with pytest.raises(ValueError, match="labels given with a packed layout"):
        layers.next_token_loss(logits_TN, labels_T)
    with pytest.raises(ValueError, match="labels given with a packed layout"):
        layers.shift_right(labels_T, 0, 0)
    assert layers.next_token_loss(logits_TN, None) is None


def test_labels_that_are_none_are_read_as_padding() -> None:
    labels = torch.tensor([[5, -100, 6, -100], [-100, 7, 8, 9]])
    assert layers.shift_right(labels, 2, 0).tolist() == [[2, 5, 0, 6], [2, 0, 7, 8]]
    assert labels[0, 1] == -100
