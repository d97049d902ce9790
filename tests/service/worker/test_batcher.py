from typing import Any

import numpy as np
import pytest

from service.core.work import SequenceWork, TensorWork, Want
from service.worker.batcher import Batcher


def text(length: int) -> SequenceWork:
    return SequenceWork(np.zeros(length, np.int32), Want.EMBEDDING)


def taken(batcher: Batcher) -> list[tuple[int, int]]:
    """Request and sequence of each place in the next batch."""
    return [(ticket.request_id, ticket.index) for ticket in batcher.next_batch()]


def test_nothing_waiting_gives_an_empty_batch() -> None:
    batcher = Batcher(100)
    assert batcher.next_batch() == []
    assert taken(batcher) == []


def test_requests_take_turns_one_sequence_each() -> None:
    batcher = Batcher(100)
    batcher.add(1, 0.0, [text(10)] * 3)
    batcher.add(2, 0.0, [text(10)])
    batcher.add(3, 0.0, [text(10)] * 2)
    assert taken(batcher) == [(1, 0), (2, 0), (3, 0), (1, 1), (3, 1), (1, 2)]


def test_a_short_request_does_not_wait_for_a_huge_one() -> None:
    batcher = Batcher(100)
    batcher.add(1, 0.0, [text(10)] * 1000)
    taken(batcher)
    batcher.add(2, 0.0, [text(10)])
    assert (2, 0) in taken(batcher)


def test_a_request_that_stood_at_the_limit_goes_first_in_the_next_batch() -> None:
    batcher = Batcher(100)
    batcher.add(1, 0.0, [text(60)])
    batcher.add(2, 0.0, [text(60)])
    batcher.add(3, 0.0, [text(10)])
    assert taken(batcher) == [(1, 0)]
    assert taken(batcher) == [(2, 0), (3, 0)]


@pytest.mark.parametrize("arriving", [1, 100])
def test_no_length_is_starved_by_a_stream_of_another(arriving: int) -> None:
    batcher = Batcher(100)
    waiting = 101 - arriving
    batcher.add(0, 0.0, [text(waiting)])
    for number in range(1, 4):
        batcher.add(number, 0.0, [text(arriving)] * 100)
    seen = []
    for number in range(4, 8):
        seen += taken(batcher)
        batcher.add(number, 0.0, [text(arriving)] * 100)
    assert (0, 0) in seen[:1]


@pytest.mark.parametrize("budget", [1, 17, 64, 1000])
def test_a_batch_keeps_to_its_budget_and_nothing_is_lost(budget: int) -> None:
    batcher = Batcher(budget)
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 64, (20, 7))
    for request, row in enumerate(lengths):
        batcher.add(request, 0.0, [text(n) for n in row])
    seen = []
    while batch := batcher.next_batch():
        tokens = sum(ticket.work.num_tokens for ticket in batch)
        assert tokens <= budget or len(batch) == 1
        seen += [(ticket.request_id, ticket.index) for ticket in batch]
    assert sorted(seen) == [(r, i) for r in range(20) for i in range(7)]


def test_a_sequence_over_the_budget_goes_alone() -> None:
    batcher = Batcher(10)
    batcher.add(1, 0.0, [text(1)])
    batcher.add(2, 0.0, [text(50)])
    batcher.add(3, 0.0, [text(1)])
    assert [taken(batcher) for _ in range(3)] == [[(1, 0)], [(2, 0)], [(3, 0)]]


def test_raw_tensors_go_alone_in_their_turn() -> None:
    batcher = Batcher(100)
    batcher.add(1, 0.0, [text(1)] * 2)
    batcher.add(2, 0.0, [TensorWork({}, 1)])
    batcher.add(3, 0.0, [text(1)])
    assert [taken(batcher) for _ in range(3)] == [[(1, 0)], [(2, 0)], [(3, 0), (1, 1)]]


def test_a_cancelled_request_leaves_and_the_others_stay_in_order() -> None:
    batcher = Batcher(100)
    for request in (1, 2, 3):
        batcher.add(request, 0.0, [text(1)] * 2)
    batcher.cancel(2)
    assert taken(batcher) == [(1, 0), (3, 0), (1, 1), (3, 1)]


def test_cancelling_between_two_batches_takes_out_the_rest() -> None:
    batcher = Batcher(1)
    batcher.add(1, 0.0, [text(1)] * 5)
    assert taken(batcher) == [(1, 0)]
    batcher.cancel(1)
    assert batcher.next_batch() == []


def test_cancelling_what_is_answered_or_unknown_is_no_error() -> None:
    batcher = Batcher(1)
    batcher.add(1, 0.0, [text(1)])
    taken(batcher)
    batcher.cancel(1)
    batcher.cancel(99)
    assert taken(batcher) == []


def test_sequences_of_which_something_else_is_wanted_wait_for_a_batch_of_their_own() -> None:
    batcher = Batcher(100)
    ids = np.zeros(3, np.int32)
    batcher.add(1, 0.0, [SequenceWork(ids, Want.EMBEDDING)])
    batcher.add(2, 0.0, [SequenceWork(ids, Want.LOGITS)])
    batcher.add(3, 0.0, [SequenceWork(ids, Want.LOGITS)])
    batches = [batcher.next_batch() for _ in range(3)]
    assert [[ticket.request_id for ticket in batch] for batch in batches] == [[1], [2, 3], []]


@pytest.mark.parametrize(
    ("lengths", "num_lanes", "count"),
    [([10] * 4, 1, 4), ([10] * 4, 2, 2), ([10] * 6, 3, 2), ([1] * 3, 2, 2), ([90] * 4, 3, 1)],
)
def test_what_waits_is_shared_out_among_the_lanes(
    lengths: list[int], num_lanes: int, count: int
) -> None:
    batcher = Batcher(100, num_lanes)
    batcher.add(1, 0.0, [text(length) for length in lengths])
    assert len(batcher.next_batch()) == count


def test_what_was_cancelled_is_not_shared_out() -> None:
    batcher = Batcher(100, num_lanes=2)
    for request in (1, 2):
        batcher.add(request, 0.0, [text(10)] * 4)
    batcher.cancel(1)
    assert len(batcher.next_batch()) == 2


def test_what_was_taken_is_not_shared_out() -> None:
    batcher = Batcher(40, num_lanes=2)
    batcher.add(1, 0.0, [text(10)] * 9)
    assert [len(batcher.next_batch()) for _ in range(5)] == [4, 2, 1, 1, 1]
    batcher.add(2, 0.0, [text(10)] * 2)
    assert len(batcher.next_batch()) == 1


def test_it_says_whether_one_sequence_waits() -> None:
    batcher = Batcher(100)
    said = [batcher.has_one]
    for request in (1, 2):
        batcher.add(request, 0.0, [text(1)])
        said.append(batcher.has_one)
    batcher.cancel(1)
    assert [*said, batcher.has_one] == [False, True, False, True]


def rows(shape: tuple[int, ...], signature: str = "s", dtype: str = "int32", **fields: Any) -> Any:
    arrays = {"x": np.zeros(shape, dtype)}
    return TensorWork(arrays, shape[0], signature, **{"joins": True} | fields)


@pytest.mark.parametrize(
    ("other", "join"),
    [
        (rows((5, 3)), True),
        (rows((2, 4)), False),
        (rows((2, 3, 1)), False),
        (rows((2, 3), dtype="int64"), False),
        (rows((2, 3), signature="t"), False),
        (rows((2, 3), joins=False), False),
        (TensorWork({"y": np.zeros((2, 3), "int32")}, 2, "s", joins=True), False),
        (text(3), False),
    ],
)
def test_raw_tensors_join_only_those_that_are_like_them_in_all_but_rows(
    other: Any, join: bool
) -> None:
    for first, second in ((rows((2, 3)), other), (other, rows((2, 3)))):
        batcher = Batcher(100)
        batcher.add(1, 0.0, [first])
        batcher.add(2, 0.0, [second])
        assert len(taken(batcher)) == (2 if join else 1)
