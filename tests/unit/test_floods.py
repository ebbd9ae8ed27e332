"""Floods: the first of each kind pass, the rest is counted, and every count is told once."""

from __future__ import annotations

import os
import threading
from collections import Counter

import pytest

from monitoring.floods import OTHERS, Floods, Rest, template


@pytest.fixture
def floods() -> Floods:
    return Floods(most=3, window_s=10.0, kinds=4)


def flood(floods: Floods, kind: str, lines: int, at: float = 0.0) -> int:
    """How many passed."""
    return sum(floods.admit(kind, at) for _ in range(lines))


def test_the_first_of_a_kind_pass(floods: Floods) -> None:
    assert flood(floods, "a", 1203) == 3


def test_kinds_do_not_use_up_each_others_share(floods: Floods) -> None:
    assert [flood(floods, kind, 5) for kind in "ab"] == [3, 3]


def test_the_rest_is_told_once_when_the_window_is_over(floods: Floods) -> None:
    flood(floods, "a", 10)
    assert floods.over(9.9) == []
    assert floods.over(10.0) == [Rest("a", 7, 10.0)]
    assert floods.over(20.0) == []


def test_what_stayed_below_is_not_told_of(floods: Floods) -> None:
    flood(floods, "a", 3)
    assert floods.over(10.0) == []
    assert not floods.pending


def test_a_new_window_begins_with_the_next_line(floods: Floods) -> None:
    flood(floods, "a", 10)
    assert flood(floods, "a", 10, at=10.0) == 3
    assert floods.over(10.0) == [Rest("a", 7, 10.0)]


def test_at_the_end_all_is_told_at_once(floods: Floods) -> None:
    flood(floods, "a", 4)
    flood(floods, "b", 5)
    assert [(rest.kind, rest.lines) for rest in floods.over(1.0, at_once=True)] == [("a", 1), ("b", 2)]


def test_the_oldest_kind_makes_room_and_its_count_is_told(floods: Floods) -> None:
    for number in range(5):
        flood(floods, str(number), 5, at=float(number))
    assert floods.over(4.5) == [Rest("0", 2, 4.0)]


def test_counts_that_nobody_asks_for_take_bounded_memory_and_add_up(floods: Floods) -> None:
    for number in range(1000):
        flood(floods, str(number), 5)
    told = floods.over(0.0, at_once=True)
    assert len(told) <= 5
    assert sum(rest.lines for rest in told) == 2000
    assert told[-1].kind is OTHERS


def test_zero_lets_everything_pass() -> None:
    assert flood(Floods(most=0), "a", 100) == 100


def test_many_threads_lose_no_line() -> None:
    floods, passed = Floods(most=10, window_s=1e9), Counter[int]()

    def log(number: int) -> None:
        passed[number] = flood(floods, "a", 5000)

    threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed.values()) == 10
    assert floods.over(0.0, at_once=True)[0].lines == 4 * 5000 - 10


def test_lines_that_differ_by_numbers_have_one_template() -> None:
    assert template("socket 17 of 0x7f00 failed") == template("socket 4 of 0xab12 failed") == "socket # of # failed"


def test_a_forked_child_tells_nothing_of_its_parents(floods: Floods) -> None:
    flood(floods, "a", 5)
    child = os.fork()
    if child == 0:
        os._exit(1 if floods.pending else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(floods.over(0.0, at_once=True)) == 1
