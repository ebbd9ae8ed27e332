"""The pulse of a feed: silence is measured against its own cadence, and only while its market is open."""

from __future__ import annotations

import random

import pytest

from marketdata.pulse import FIRST_S, LEAST_S, MOST_S, TIMES, Pulse


class Watched:
    """A pulse that is looked at every second."""

    def __init__(self) -> None:
        self.pulse, self.now = Pulse(), 5000.0
        self.pulse.connected()
        self.pulse.watch(self.now, is_open=True)

    def silent(self, seconds: float, *, is_open: bool = True) -> bool:
        """Whether it is mute after so much more silence."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 1, until)
            self.pulse.watch(self.now, is_open=is_open)
        return self.pulse.is_mute

    def speaks(self, *pauses: float) -> bool:
        """Whether it was mute at any time while it spoke at these pauses."""
        mute = False
        for pause in pauses:
            mute |= self.silent(pause)
            self.pulse.beat(self.now)
        return mute


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_quick_feed_is_mute_after_a_few_seconds(watched: Watched) -> None:
    watched.speaks(*[0.1] * 300)
    assert not watched.silent(LEAST_S)
    assert watched.silent(1)


def test_a_slow_feed_may_be_silent_for_several_of_its_pauses(watched: Watched) -> None:
    watched.speaks(*[20] * 20)
    assert not watched.silent(TIMES * 20)
    assert watched.silent(1)


def test_a_feed_that_speaks_in_bursts_is_not_mute_between_them(watched: Watched) -> None:
    burst = [*[0.01] * 100, 25]
    watched.speaks(*burst * 10)
    assert not watched.speaks(*burst * 20)


def test_pauses_that_vary_raise_no_alarm(watched: Watched) -> None:
    chance = random.Random(7)
    pauses = [chance.expovariate(1 / 3) for _ in range(500)]
    watched.speaks(*pauses[:100])
    assert not watched.speaks(*pauses[100:])


def test_a_few_stalls_do_not_make_it_patient(watched: Watched) -> None:
    watched.speaks(*[1] * 60, 600, 600, *[1] * 20)
    assert watched.silent(TIMES + 1)


def test_no_silence_is_too_long_to_alarm(watched: Watched) -> None:
    watched.speaks(*[600] * 20)
    assert watched.silent(MOST_S + 1)


def test_a_new_feed_has_time_to_speak(watched: Watched) -> None:
    assert not watched.silent(FIRST_S)
    assert watched.silent(1)


def test_a_new_connection_has_time_to_speak_however_quick_the_feed_was(watched: Watched) -> None:
    watched.speaks(*[0.1] * 300)
    watched.pulse.connected()
    assert not watched.silent(FIRST_S)
    assert watched.silent(1)


def test_a_closed_market_is_silent_without_alarm(watched: Watched) -> None:
    watched.speaks(*[1] * 60)
    assert not watched.silent(16 * 3600, is_open=False)
    assert not watched.silent(LEAST_S)
    assert watched.silent(1)


def test_the_night_is_no_pause_of_the_feed(watched: Watched) -> None:
    for _ in range(20):
        watched.speaks(*[1] * 3)
        watched.silent(3600, is_open=False)
    assert watched.pulse.allowance_s == LEAST_S


def test_a_process_that_slept_blames_nobody(watched: Watched) -> None:
    watched.speaks(*[1] * 60)
    watched.now += 3600
    watched.pulse.watch(watched.now, is_open=True)
    assert not watched.pulse.is_mute


def test_a_word_ends_the_silence(watched: Watched) -> None:
    watched.speaks(*[1] * 60)
    assert watched.silent(60)
    watched.speaks(1)
    assert not watched.pulse.is_mute
