import numpy as np
import pytest
import torch

from service.worker.runners.pooling import POOLERS, pool

LENGTHS = [1, 3, 2]
ROWS = [[[1.0, -2.0]], [[1.0, 0.0], [2.0, 4.0], [6.0, -1.0]], [[0.5, 0.5], [1.5, 2.5]]]
HIDDEN = torch.tensor([row for rows in ROWS for row in rows])

# what each mode makes of one sequence's rows, said with numpy
EXPECTED = {
    "cls": lambda rows: rows[0],
    "lasttoken": lambda rows: rows[-1],
    "max": lambda rows: rows.max(axis=0),
    "mean": lambda rows: rows.mean(axis=0),
    "mean_sqrt_len_tokens": lambda rows: rows.sum(axis=0) / np.sqrt(len(rows)),
    "weightedmean": lambda rows: np.average(rows, axis=0, weights=np.arange(1, len(rows) + 1)),
}


def test_every_mode_is_checked_here():
    assert set(EXPECTED) == set(POOLERS)


@pytest.mark.parametrize("mode", POOLERS)
def test_a_mode_pools_each_sequence_by_itself(mode):
    pooled = pool(HIDDEN, LENGTHS, [mode]).numpy()
    wanted = [EXPECTED[mode](np.array(rows)) for rows in ROWS]
    np.testing.assert_allclose(pooled, wanted, rtol=1e-6)


def test_several_modes_are_concatenated_in_their_order():
    both = pool(HIDDEN, LENGTHS, ["max", "mean"])
    assert both.shape == (3, 4)
    assert torch.equal(both[:, :2], pool(HIDDEN, LENGTHS, ["max"]))


def test_half_precision_is_pooled_in_float32():
    assert pool(HIDDEN.bfloat16(), LENGTHS, ["mean"]).dtype == torch.float32
