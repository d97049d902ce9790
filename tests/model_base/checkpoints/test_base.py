"""What checkpoint formats share: giving the pages of a mapped tensor back."""

import mmap
from pathlib import Path

import numpy as np
import psutil
import pytest

from model_base.checkpoints.base import Array, forget_pages

PAGE = mmap.PAGESIZE
pytestmark = pytest.mark.skipif(
    not hasattr(mmap, "MADV_DONTNEED"), reason="this system cannot be told to forget pages"
)


def mapped(path: Path, size: int) -> Array:
    """A private map of a file of ones."""
    np.ones(size, np.uint8).tofile(path)
    return np.memmap(path, np.uint8, mode="c")


def resident() -> int:
    """Bytes of this process that are in memory."""
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize(
    ("start", "end"),
    [(PAGE // 2, 2 * PAGE + PAGE // 2), (1, 4 * PAGE - 1), (PAGE, 3 * PAGE), (100, 200)],
)
def test_what_is_written_beside_a_tensor_survives(tmp_path: Path, start: int, end: int) -> None:
    data = mapped(tmp_path / "w", 4 * PAGE)
    data[:start], data[end:] = 7, 7
    forget_pages(data[start:end])
    assert (data[:start] == 7).all()
    assert (data[end:] == 7).all()
    assert (data[start:end] == 1).all()


def test_memory_falls_and_the_values_come_back(tmp_path: Path) -> None:
    size = 64 * 2**20
    data = mapped(tmp_path / "w", size)
    assert data.sum() == size
    full = resident()
    forget_pages(data)
    assert full - resident() > size // 2
    assert data.sum() == size
