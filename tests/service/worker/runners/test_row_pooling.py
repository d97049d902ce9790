import numpy as np
import pytest

from service.worker.runners.row_pooling import POOLERS, pool_row
from tests.service.worker.runners.test_pooling import EXPECTED, ROWS


def test_every_mode_is_checked_here():
    assert set(EXPECTED) == set(POOLERS)


@pytest.mark.parametrize("mode", POOLERS)
@pytest.mark.parametrize("rows", ROWS)
def test_a_mode_pools_a_sequence_as_the_packed_one_does(mode, rows):
    hidden = np.array(rows, np.float32)
    pooled = pool_row(hidden, [mode])
    assert pooled.dtype == np.float32
    np.testing.assert_allclose(pooled, EXPECTED[mode](hidden), rtol=1e-6)


def test_several_modes_are_concatenated_in_their_order():
    hidden = np.array(ROWS[1], np.float32)
    wanted = [*hidden.max(axis=0), *hidden.mean(axis=0)]
    np.testing.assert_allclose(pool_row(hidden, ["max", "mean"]), wanted, rtol=1e-6)
