"""What a feed sends is garbage when nearly all of it was refused lately."""

from __future__ import annotations

from marketdata.refusals import LEAST, WINDOW_S, Refusals


def test_a_few_refusals_say_nothing() -> None:
    refusals = Refusals()
    refusals.count(0, 0, LEAST - 1)
    assert not refusals.is_garbage


def test_nearly_everything_refused_is_garbage() -> None:
    refusals = Refusals()
    refusals.count(0, 10, 90)
    assert refusals.is_garbage


def test_some_refused_is_not() -> None:
    refusals = Refusals()
    refusals.count(0, 20, 80)
    assert not refusals.is_garbage


def test_the_verdict_does_not_tremble() -> None:
    refusals = Refusals()
    refusals.count(0, 10, 90)
    refusals.count(0, 20, 0)
    assert refusals.is_garbage
    refusals.count(0, 60, 0)
    assert not refusals.is_garbage


def test_one_bad_batch_of_a_busy_feed_is_not() -> None:
    refusals = Refusals()
    for second in range(60):
        refusals.count(second, 1000, 0)
    refusals.count(60, 0, 500)
    assert not refusals.is_garbage


def test_a_slow_feed_is_judged_by_its_last_words() -> None:
    refusals = Refusals()
    for minute in range(LEAST + 1):
        refusals.count(60 * minute, 0, 1)
    assert refusals.is_garbage


def test_who_mends_is_believed_again() -> None:
    refusals = Refusals()
    refusals.count(0, 0, 1000)
    refusals.count(WINDOW_S, LEAST, 0)
    assert (refusals.is_garbage, refusals.good, refusals.refused) == (False, LEAST, 0)
