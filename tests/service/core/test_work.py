from dataclasses import replace

import numpy as np

from service.core.work import TensorWork, join_parts


def batch(rows: int, length: int) -> TensorWork:
    ids = np.arange(rows * length).reshape(rows, length)
    return TensorWork({"input_ids": ids, "attention_mask": np.ones_like(ids)}, rows * length)


def test_a_large_raw_batch_comes_apart_by_rows_and_together_again() -> None:
    parts = batch(7, 30).parts(64)
    assert [part.arrays["input_ids"].shape for part in parts] == [
        (2, 30),
        (2, 30),
        (2, 30),
        (1, 30),
    ]
    assert [part.num_tokens for part in parts] == [60, 60, 60, 30]
    joined = join_parts([{"ids": part.arrays["input_ids"]} for part in parts])
    assert np.array_equal(joined["ids"], batch(7, 30).arrays["input_ids"])


def test_parts_have_the_deadline_of_the_whole() -> None:
    whole = replace(batch(7, 30), deadline_s=5.0, signature="s", joins=True)
    parts = whole.parts(64)
    assert {(p.deadline_s, p.signature, p.joins) for p in parts} == {(5.0, "s", True)}


def test_a_row_longer_than_the_budget_is_a_part_of_its_own() -> None:
    assert [part.num_tokens for part in batch(2, 100).parts(64)] == [100, 100]


def test_what_is_not_all_rows_stays_together() -> None:
    labelled = TensorWork({**batch(7, 30).arrays, "labels": np.zeros(7)}, 210)
    assert labelled.parts(64) == [labelled]
    assert TensorWork({"input_ids": np.zeros((0, 5))}, 1).parts(64)[0].num_tokens == 1
