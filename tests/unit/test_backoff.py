"""Trying again: pauses, bounds, and what is said of an outage."""

from __future__ import annotations

import logging

import pytest

from marketdata import backoff
from marketdata.backoff import Backoff

log = logging.getLogger("marketdata.tests")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now[0])
    return now


def waits(tried: Backoff, times: int) -> list[float]:
    found = []
    for _ in range(times):
        tried.failed("away")
        found.append(tried.wait_s)
    return found


def test_pauses_lie_under_a_bound_that_doubles_up_to_the_longest() -> None:
    runs = [waits(Backoff("x", log, first_s=1, longest_s=8), 6) for _ in range(500)]
    for attempt, bound in enumerate([1, 2, 4, 8, 8, 8]):
        pauses = [run[attempt] for run in runs]
        assert max(pauses) <= bound
        assert min(pauses) < bound * 0.1  # full jitter: from nothing …
        assert max(pauses) > bound * 0.9  # … to the bound


def test_who_tries_for_ever_still_waits_no_longer_than_the_longest() -> None:
    assert max(waits(Backoff("x", log, first_s=0.1, longest_s=5), 5000)) <= 5


def test_before_a_failure_there_is_no_pause() -> None:
    assert Backoff("x", log).wait_s == 0


def test_after_a_success_pauses_are_short_again() -> None:
    tried = Backoff("x", log, first_s=1, longest_s=1024)
    waits(tried, 10)
    tried.over()
    assert waits(tried, 1)[0] <= 1


def test_a_success_that_did_not_last_is_no_recovery(clock: list[float]) -> None:
    bounds = []
    for lasted in (59.0, 60.0):
        tried = Backoff("x", log, first_s=1, longest_s=1024, healthy_s=60)
        tried._wait = lambda state: float(state.attempt_number)  # type: ignore[assignment]
        waits(tried, 10)
        tried.over()
        clock[0] += lasted
        tried.over()  # said as often as one likes: it began with the first
        bounds.append(waits(tried, 1)[0])
    assert bounds == [11, 1]


def test_an_outage_is_logged_once_and_once_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tried = Backoff("asking", log)
    waits(tried, 3)
    tried.over()
    tried.over()
    assert [record.getMessage() for record in caplog.records] == ["asking: away", "asking: works again after 3 failures"]


class Flaky:
    """Fails some times, then returns how often it was called."""

    def __init__(self, failures: int, error: type[Exception] = OSError) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error("away")
        return self.calls


async def test_until_done_tries_until_it_succeeds() -> None:
    tried = Backoff("x", log, first_s=0, longest_s=0)
    assert await tried.until_done(Flaky(7), OSError, ValueError) == 8
    assert (tried.outage.failures, tried.outage.ongoing) == (7, False)


async def test_what_returns_an_awaitable_is_awaited() -> None:
    flaky = Flaky(1)
    assert await Backoff("x", log, first_s=0, longest_s=0).until_done(lambda: flaky(), OSError) == 2


def test_those_who_fail_with_the_same_thing_log_it_once(caplog: pytest.LogCaptureFixture) -> None:
    one = Backoff("x", log)
    other = Backoff("y", log, outage=one.outage)
    one.failed("away")
    other.failed("away")
    assert [record.getMessage() for record in caplog.records] == ["x: away"]


async def test_bounded_attempts_end_with_the_last_error() -> None:
    tried, flaky = Backoff("x", log, first_s=0, longest_s=0, attempts=3), Flaky(7)
    with pytest.raises(OSError, match="away"):
        await tried.until_done(flaky, OSError)
    assert (flaky.calls, tried.exhausted, tried.outage.failures) == (3, True, 3)


async def test_what_nobody_expected_is_not_tried_again() -> None:
    flaky = Flaky(7, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        await Backoff("x", log, first_s=0, longest_s=0).until_done(flaky, OSError)
    assert flaky.calls == 1


async def test_between_two_attempts_is_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, pauses = Backoff("x", log, first_s=1, longest_s=8), []

    async def pause() -> None:
        pauses.append(tried.wait_s)

    monkeypatch.setattr(tried, "pause", pause)
    await tried.until_done(Flaky(3), OSError)
    assert len(pauses) == 3
    assert min(pauses) > 0
