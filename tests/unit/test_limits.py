"""Token bucket and limits."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from marketdata.topics import DataType
from realtime.limits import Limits, TokenBucket
from realtime.principal import Principal
from realtime.trials import trials

LIMITS = Limits(
    topics=10,
    connections=2,
    max_rate=5.0,
    commands_per_second=5,
    command_burst=20,
    data_types=frozenset({DataType.QUOTE}),
)
PRINCIPAL = Principal(1, "ada", "mine", LIMITS)


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


def test_a_type_outside_the_plan_is_objected_to() -> None:
    assert PRINCIPAL.objection(DataType.DEPTH) == "your plan does not include depth"
    assert PRINCIPAL.objection(DataType.QUOTE) is None


@pytest.mark.parametrize(("symbol", "covered"), [("AAPL", True), ("BTC-USDT", True), ("BTC-EUR", False), ("AAPL.X", False)])
def test_symbols_are_named_or_fit_a_pattern(symbol: str, covered: bool) -> None:
    limits = replace(LIMITS, symbols=("AAPL", "*-USDT"))
    assert limits.covers(symbol) is covered
    assert (replace(PRINCIPAL, limits=limits).objection(DataType.QUOTE, symbol) is None) is covered


def test_a_plan_that_names_no_symbols_covers_all() -> None:
    assert LIMITS.covers("ANYTHING")


def test_a_limit_on_trial_refuses_nothing_and_is_counted() -> None:
    trials.forget()
    tried = replace(PRINCIPAL, limits=replace(LIMITS, dry_run=frozenset({"data_types"})))
    assert tried.objection(DataType.DEPTH) is None
    assert trials.counts() == {"mine.data_types": 1}


def test_a_rate_on_trial_slows_nobody() -> None:
    assert replace(LIMITS, dry_run=frozenset({"max_rate"})).rate(None) is None


def test_what_is_different_for_a_user_replaces_what_the_plan_says() -> None:
    changed = LIMITS.overridden(
        {"topics_per_connection": 3, "max_rate": None, "symbols": ["A*"], "connection_policy": "take_over"}
    )
    assert changed == replace(LIMITS, topics=3, max_rate=None, symbols=("A*",), takes_over=True)


@pytest.mark.parametrize(("asked", "served"), [(None, 5.0), (1.0, 1.0), (50.0, 5.0)])
def test_the_rate_is_the_slower_of_asked_and_allowed(asked: float | None, served: float) -> None:
    assert LIMITS.rate(asked) == served


def test_a_plan_without_a_rate_serves_every_update() -> None:
    unlimited = Limits(10, 2, None, 5, 20, frozenset())
    assert unlimited.rate(None) is None
    assert unlimited.rate(3.0) == 3.0
