import asyncio
import contextlib

import pytest

from service.core.errors import Overloaded
from service.engine.admission import Admission


@pytest.fixture
def admission() -> Admission:
    return Admission(max_requests=2, max_tokens=100)


def test_a_request_holds_its_place_only_while_it_runs(admission: Admission) -> None:
    with admission.admit(30):
        assert (admission.num_requests, admission.num_tokens) == (1, 30)
    assert (admission.num_requests, admission.num_tokens) == (0, 0)


def test_a_place_is_given_back_whatever_ends_the_request(admission: Admission) -> None:
    with contextlib.suppress(ZeroDivisionError), admission.admit(30):
        raise ZeroDivisionError
    assert (admission.num_requests, admission.num_tokens) == (0, 0)


def test_one_request_too_many_is_refused_with_the_number(admission: Admission) -> None:
    with admission.admit(1), admission.admit(1):
        with pytest.raises(Overloaded, match="2 requests are waiting") as refused:
            admission.admit(1).__enter__()
        assert refused.value.retry_after_s == 1.0
        assert admission.num_requests == 2


def test_tokens_over_the_limit_are_refused_and_the_rest_goes_on(admission: Admission) -> None:
    with admission.admit(60):
        with pytest.raises(Overloaded, match=r"60 tokens .* about 41; the limit is 100"):
            admission.admit(41).__enter__()
        with admission.admit(40):
            assert admission.num_tokens == 100


def test_a_request_larger_than_the_limit_is_taken_when_nothing_else_waits(
    admission: Admission,
) -> None:
    with admission.admit(1000), pytest.raises(Overloaded):
        admission.admit(1).__enter__()


def test_one_text_and_many_are_counted_alike() -> None:
    single, batched = Admission(1000, 100), Admission(1000, 100)
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(single.admit(10))
        stack.enter_context(batched.admit(100))
        for admission in (single, batched):
            with pytest.raises(Overloaded):
                admission.admit(1).__enter__()


def test_the_count_replaces_the_estimate(admission: Admission) -> None:
    with admission.admit(90) as ticket:
        admission.correct(ticket, 10)
        assert admission.num_tokens == 10
        with admission.admit(90):
            pass
    assert admission.num_tokens == 0


@pytest.mark.parametrize(
    ("speed", "expected_s"), [(0, 1.0), (1_000_000, 1.0), (100, 5.0), (1, 60.0)]
)
def test_the_wait_is_told_from_the_speed_within_1_and_60_seconds(
    speed: int, expected_s: float
) -> None:
    admission = Admission(1, 10_000)
    if speed:
        admission.note_batch(speed, 1.0)
    with admission.admit(1000), pytest.raises(Overloaded) as refused:
        admission.admit(1).__enter__()
    assert refused.value.retry_after_s == expected_s


def test_the_speed_follows_slowly_and_ignores_a_batch_of_no_time(admission: Admission) -> None:
    admission.note_batch(100, 1.0)
    admission.note_batch(200, 1.0)
    admission.note_batch(200, 0.0)
    assert admission.tokens_per_s == pytest.approx(110)


def test_waiting_until_empty_ends_with_the_last_request(admission: Admission) -> None:
    async def drain() -> None:
        await admission.wait_until_empty(60)
        with admission.admit(1):
            waiting = asyncio.create_task(admission.wait_until_empty(60))
            done, _ = await asyncio.wait({waiting}, timeout=0)
            assert not done
        await asyncio.wait_for(waiting, 10)

    asyncio.run(drain())


def test_waiting_until_empty_ends_with_the_patience(admission: Admission) -> None:
    async def drain() -> None:
        with admission.admit(1):
            await asyncio.wait_for(admission.wait_until_empty(0.01), 10)
            assert admission.num_requests == 1

    asyncio.run(drain())
