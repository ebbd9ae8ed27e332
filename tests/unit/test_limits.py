"""Token bucket and limits."""

from __future__ import annotations

import pytest

from marketdata.topics import DataType
from realtime.codes import Code
from realtime.limits import Limits, TokenBucket

LIMITS = Limits(
    topics=10,
    connections=2,
    max_rate=5.0,
    commands_per_second=5,
    command_burst=20,
    data_types=frozenset({DataType.QUOTE}),
)


def test_a_full_bucket_lets_its_burst_pass_at_once() -> None:
    bucket = TokenBucket(rate=2, burst=3, now=100.0)
    assert [bucket.take(100.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_an_empty_bucket_says_how_long_to_wait() -> None:
    bucket = TokenBucket(rate=2, burst=1, now=0.0)
    bucket.take(0.0)
    assert bucket.take(0.1) == pytest.approx(0.4)


def test_after_the_wait_the_token_is_there() -> None:
    bucket = TokenBucket(rate=3, burst=1, now=0.0)
    bucket.take(0.0)
    assert bucket.take(bucket.take(0.0) + 1e-9) == 0.0


def test_refused_things_cost_nothing() -> None:
    bucket = TokenBucket(rate=1, burst=1, now=0.0)
    bucket.take(0.0)
    for _ in range(100):
        bucket.take(0.5)
    assert bucket.take(1.0) == 0.0


def test_a_pause_saves_up_no_more_than_the_burst() -> None:
    bucket = TokenBucket(rate=10, burst=2, now=0.0)
    assert [bucket.take(1000.0) > 0 for _ in range(3)] == [False, False, True]


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    bucket = TokenBucket(rate=1, burst=1, now=10.0)
    bucket.take(10.0)
    assert bucket.take(5.0) == pytest.approx(1.0)


def test_a_type_outside_the_plan_is_insufficient_plan() -> None:
    assert LIMITS.check_type(DataType.DEPTH) is Code.INSUFFICIENT_PLAN
    assert LIMITS.check_type(DataType.QUOTE) is None


def test_one_topic_more_than_the_plan_allows_is_too_many() -> None:
    assert LIMITS.check_topics(10) is None
    assert LIMITS.check_topics(11) is Code.TOPIC_LIMIT_EXCEEDED


def test_one_connection_more_than_the_plan_allows_is_too_many() -> None:
    assert LIMITS.check_connections(2) is None
    assert LIMITS.check_connections(3) is Code.CONNECTION_LIMIT_EXCEEDED


@pytest.mark.parametrize(("asked", "served"), [(None, 5.0), (1.0, 1.0), (50.0, 5.0)])
def test_the_rate_is_the_slower_of_asked_and_allowed(asked: float | None, served: float) -> None:
    assert LIMITS.rate(asked) == served


def test_a_plan_without_a_rate_serves_every_update() -> None:
    unlimited = Limits(10, 2, None, 5, 20, frozenset())
    assert unlimited.rate(None) is None
    assert unlimited.rate(3.0) == 3.0
