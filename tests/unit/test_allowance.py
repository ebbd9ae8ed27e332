"""The bucket of bytes, to the byte and second."""

from __future__ import annotations

from realtime.allowance import Allowance
from realtime.slow import PORTION_BYTES

RATE = 100_000


def test_at_first_there_is_a_whole_second() -> None:
    assert Allowance(RATE, 7_000_000, 0.0).room == RATE


def test_of_a_small_rate_a_whole_portion_is_saved_up() -> None:
    allowance = Allowance(1024, 0, 0.0)
    assert allowance.room == PORTION_BYTES
    allowance.look(PORTION_BYTES, 0, 0.0)
    allowance.look(PORTION_BYTES, 0, 1.0)
    assert allowance.room == 1024
    allowance.look(PORTION_BYTES, 0, 1000.0)
    assert allowance.room == PORTION_BYTES


def test_what_is_sent_is_taken_once() -> None:
    allowance = Allowance(RATE, 500, 0.0)
    allowance.spend(30_500)
    allowance.spend(30_500)
    allowance.look(30_500, 0, 0.0)
    assert allowance.left == RATE - 30_000


def test_what_was_sent_too_much_is_owed() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    allowance.look(3 * RATE, 0, 0.0)
    assert (allowance.left, allowance.room) == (-2 * RATE, 0)
    allowance.look(3 * RATE, 0, 2.0)
    assert allowance.room == 0
    allowance.look(3 * RATE, 0, 2.5)
    assert allowance.room == RATE / 2


def test_a_new_rate_counts_from_the_next_look_on() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    allowance.look(RATE, 0, 0.0)
    allowance.rate = 2 * RATE
    allowance.look(RATE, 0, 1.0)
    assert allowance.room == 2 * RATE
    allowance.rate = RATE // 2
    allowance.look(RATE, 0, 1.0)
    assert allowance.room == RATE / 2


def test_a_clock_that_stands_still_gives_nothing() -> None:
    allowance = Allowance(RATE, 0, 5.0)
    allowance.look(RATE, 0, 4.0)
    assert allowance.room == 0


def test_it_is_calm_when_the_others_would_have_left_a_whole_bucket() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    allowance.look(0, 50 * RATE, 0.0)  # of which this one was sent nothing
    assert not allowance.calm
    for second in range(1, 5):
        allowance.look(0, RATE, second)  # as much as it gains
    assert not allowance.calm
    allowance.look(0, RATE // 2, 5.0)
    allowance.look(0, RATE // 2, 6.0)
    assert allowance.calm


def test_on_trial_there_is_room_for_everything() -> None:
    allowance = Allowance(RATE, 0, 0.0)
    allowance.on_trial = True
    allowance.look(10 * RATE, 10 * RATE, 0.0)
    assert allowance.room > 1e12
    assert allowance.calm
