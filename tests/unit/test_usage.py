"""What waits to be saved: added up, bounded, lost by nobody's failure."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

from realtime.limits import Limits
from realtime.principal import Principal
from realtime.usage import Holder, Line, Sums, metered

ADA, BOB = Holder(1, "k3f9xa7q"), Holder(2, "")
MONDAY = date(2026, 11, 30)


class Calendar:
    def __init__(self) -> None:
        self.day = MONDAY

    def __call__(self) -> date:
        return self.day


def test_what_one_uses_on_a_day_is_one_line() -> None:
    sums = Sums(day=lambda: MONDAY)
    sums.add(ADA, connections=1)
    sums.add(ADA, messages=3, bytes=700, commands=2)
    sums.add(BOB, requests=1)
    sums.add(ADA, bytes=1)
    assert sums.take() == [Line(ADA, MONDAY, (1, 3, 2, 701, 0)), Line(BOB, MONDAY, (0, 0, 0, 0, 1))]


def test_another_day_is_another_line() -> None:
    calendar = Calendar()
    sums = Sums(day=calendar)
    sums.add(ADA, bytes=1)
    calendar.day += timedelta(days=1)
    sums.add(ADA, bytes=2)
    assert [(line.day, line.amounts[3]) for line in sums.take()] == [(MONDAY, 1), (calendar.day, 2)]


def test_what_could_not_be_saved_is_added_to_what_came_since() -> None:
    sums = Sums(day=lambda: MONDAY)
    sums.add(ADA, bytes=5)
    taken = sums.take()
    sums.add(ADA, bytes=6)
    sums.add(BOB, requests=1)
    sums.put_back(taken)
    assert sorted(sums.take()) == [Line(ADA, MONDAY, (0, 0, 0, 11, 0)), Line(BOB, MONDAY, (0, 0, 0, 0, 1))]


def test_only_so_many_lines_wait_and_what_was_taken_always_finds_room_again() -> None:
    sums = Sums(most=2, day=lambda: MONDAY)
    sums.add(ADA, bytes=1)
    taken = sums.take()
    sums.add(BOB, bytes=1)
    sums.add(Holder(3, ""), bytes=1)
    sums.put_back(taken)
    sums.add(ADA, bytes=1)
    assert (len(sums), sums.lost) == (2, 1)
    assert sorted(line.amounts[3] for line in sums.take()) == [1, 2]


def test_they_are_given_out_a_few_at_a_time() -> None:
    sums = Sums(day=lambda: MONDAY)
    for number in range(5):
        sums.add(Holder(number, ""), bytes=1)
    first = sums.take(3)
    assert ([line.holder.user_id for line in first], len(sums)) == ([0, 1, 2], 5)
    sums.done(first)
    assert (len(sums), len(sums.take(3)), sums.take(3)) == (2, 2, [])


def test_threads_lose_nothing() -> None:
    sums = Sums(day=lambda: MONDAY)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(lambda: [sums.add(ADA, requests=1) for _ in range(2000)])
    assert sums.take()[0].amounts[4] == 16_000


def test_visitors_are_not_metered() -> None:
    limits = Limits(1, 1, None, 1, 1, frozenset())
    assert metered(None) is None
    assert metered(Principal(None, None, "anonymous", limits)) is None
    assert metered(Principal(1, "ada", "free", limits)) == Holder(1, "")
    assert metered(Principal(1, "ada", "free", limits, key_prefix="k3f9xa7q")) == ADA
