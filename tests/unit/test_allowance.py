"""The bucket of bytes, to the byte and second."""

from __future__ import annotations

from realtime.allowance import Allowance
from realtime.cohorts import Cohort
from realtime.frames import encoding
from realtime.slow import PORTION_BYTES

RATE = 100_000
OTHERS = Cohort(encoding(), {})  # who are sent nothing


def test_at_first_there_is_a_whole_second() -> None:
    assert Allowance(RATE, 7_000_000, 0.0).room == RATE


def test_of_a_small_rate_a_whole_portion_is_saved_up() -> None:
    allowance = Allowance(1024, 0, 0.0)
    assert allowance.room == PORTION_BYTES
    allowance.look(PORTION_BYTES, OTHERS, 0.0)
    allowance.look(PORTION_BYTES, OTHERS, 1.0)
    assert allowance.room == 1024
    allowance.look(PORTION_BYTES, OTHERS, 1000.0)
    assert allowance.room == PORTION_BYTES


def test_what_is_sent_is_taken_once() -> None:
    allowance = Allowance(RATE, 500, 0.0)
    allowance.spend(30_500)
    allowance.spend(30_500)
    allowance.look(30_500, OTHERS, 0.0)
    assert allowance.left == RATE - 30_000


def test_what_was_sent_too_much_is_owed() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    allowance.look(3 * RATE, OTHERS, 0.0)
    assert (allowance.left, allowance.room) == (-2 * RATE, 0)
    allowance.look(3 * RATE, OTHERS, 2.0)
    assert allowance.room == 0
    allowance.look(3 * RATE, OTHERS, 2.5)
    assert allowance.room == RATE / 2


def test_a_new_rate_counts_from_the_next_look_on() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    allowance.look(RATE, OTHERS, 0.0)
    allowance.rate = 2 * RATE
    allowance.look(RATE, OTHERS, 1.0)
    assert allowance.room == 2 * RATE
    allowance.rate = RATE // 2
    allowance.look(RATE, OTHERS, 1.0)
    assert allowance.room == RATE / 2


def test_a_clock_that_stands_still_gives_nothing() -> None:
    allowance = Allowance(RATE, 0, 5.0)
    allowance.look(RATE, OTHERS, 4.0)
    assert allowance.room == 0


def test_a_flow_below_the_rate_never_empties_it_however_seldom_it_is_looked_at() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    for number in range(1, 20):
        allowance.look(number * 9 * RATE // 10, OTHERS, float(number))
        assert allowance.room == RATE


def test_a_flood_behind_a_long_silence_is_owed() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    allowance.look(3 * RATE + 500, OTHERS, 60.0, lately=3 * RATE)
    assert allowance.left == -2 * RATE


def test_the_less_is_left_the_sooner_is_the_next_look() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    assert allowance.unwatched == RATE / 4
    allowance.spend(RATE // 2)
    assert allowance.unwatched == RATE / 8
    allowance.spend(RATE)
    assert allowance.unwatched == RATE / 16


def test_it_is_calm_when_the_others_would_have_left_a_whole_bucket() -> None:
    allowance, cohort = Allowance(RATE, 0, 0.0), Cohort(encoding(), {})

    def others_get(count: int, until: float) -> bool:
        cohort.sent_bytes += count
        allowance.look(0, cohort, until)
        return allowance.calm

    others_get(0, 0.0)
    assert not others_get(50 * RATE, 0.0)  # of which this one was sent nothing
    assert not any(others_get(RATE, float(second)) for second in range(1, 5))  # as much as it gains
    assert not others_get(RATE // 2, 5.0)
    assert others_get(RATE // 2, 6.0)


def test_who_owes_something_is_not_calm() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    allowance.look(2 * RATE, OTHERS, 0.0)
    assert not allowance.calm


def test_what_other_others_were_sent_does_not_matter() -> None:
    allowance, cohort = Allowance(RATE, 0, 0.0), Cohort(encoding(), {})
    cohort.sent_bytes = 50 * RATE
    allowance.look(0, cohort, 0.0)
    assert allowance.calm
