"""The end of an open socket's credential, on a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from realtime import expiry as module
from realtime.auth import Principal
from realtime.commands import NO_LIMITS
from realtime.connection import Connection
from realtime.expiry import Expiry
from realtime.frames import encoding


class Clock:
    """The time of day, and an event loop's timers by it."""

    def __init__(self) -> None:
        self.us = 1_000_000_000_000
        self.timers: list[tuple[int, Callable[..., None], tuple[Any, ...], Clock.Timer]] = []

    class Timer:
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True

    def call_later(self, wait_s: float, do: Callable[..., None], *arguments: Any) -> Timer:
        timer = Clock.Timer()
        self.timers.append((self.us + round(wait_s * 1e6), do, arguments, timer))
        return timer

    def pass_s(self, seconds: float) -> None:
        until = self.us + round(seconds * 1e6)
        while due := [each for each in self.timers if each[0] <= until and not each[3].cancelled]:
            first = min(due, key=lambda each: each[0])
            self.timers.remove(first)
            self.us = max(self.us, first[0])
            first[1](*first[2])
        self.us = until


class Paper:
    """A sink that keeps what was said."""

    framed = deflates = full = False
    on_pause = on_resume = None

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.closed: int | None = None

    def write(self, payload: Any) -> bool:
        self.said += [json.loads(message) for message in payload]
        return True

    def close(self, code: int, reason: str) -> None:
        self.closed = code

    def release(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "now_us", lambda: clock.us)
    monkeypatch.setattr(module.asyncio, "get_running_loop", lambda: clock)
    return clock


def connect(ends_us: int | None) -> tuple[Connection, Paper]:
    paper = Paper()
    principal = Principal(1, "ada", "free", NO_LIMITS, expires_at_us=ends_us)
    return Connection("s", principal, paper, encoding("json", framed=False), opened_us=0), paper


def kinds(paper: Paper) -> list[str]:
    return [message["kind"] for message in paper.said]


def test_a_credential_without_an_end_has_no_timer(clock: Clock) -> None:
    assert Expiry.of(connect(None)[0], 25) is None
    assert clock.timers == []


def test_a_notice_comes_at_four_fifths_and_the_close_a_grace_after_the_end(clock: Clock) -> None:
    connection, paper = connect(clock.us + 60_000_000)
    assert Expiry.of(connection, 25) is not None
    clock.pass_s(47.9)
    assert paper.said == []
    clock.pass_s(0.2)
    assert kinds(paper) == ["token_expiring"]
    clock.pass_s(36.8)
    assert paper.closed is None
    clock.pass_s(0.2)
    assert (paper.closed, paper.said[-1]["code"]) == (4004, 4004)


def test_a_renewed_credential_is_neither_announced_nor_closed_by_the_old_end(clock: Clock) -> None:
    connection, paper = connect(clock.us + 60_000_000)
    minded = Expiry.of(connection, 25)
    assert minded is not None
    minded.stop()
    clock.pass_s(100)
    assert (paper.said, paper.closed) == ([], None)


def test_a_credential_that_is_all_but_over_is_not_announced_again(clock: Clock) -> None:
    connection, paper = connect(clock.us + 900_000)
    Expiry.of(connection, 25)
    clock.pass_s(25)
    assert paper.said == []
    clock.pass_s(1)
    assert paper.closed == 4004


def test_an_end_far_away_costs_a_timer_a_day(clock: Clock) -> None:
    connection, paper = connect(clock.us + 100 * 86_400_000_000)
    Expiry.of(connection, 25)
    for _ in range(79):
        clock.pass_s(86_400)
        assert len([each for each in clock.timers if not each[3].cancelled]) == 1
    assert paper.said == []
    clock.pass_s(2 * 86_400)
    assert kinds(paper) == ["token_expiring"]


def test_a_clock_that_is_set_back_puts_the_end_off(clock: Clock) -> None:
    connection, paper = connect(clock.us + 60_000_000)
    Expiry.of(connection, 25)
    _, do, arguments, _ = clock.timers.pop()
    clock.us -= 3_600_000_000
    do(*arguments)
    assert (paper.said, len(clock.timers)) == ([], 1)
