"""The backlog: order, bounds, and who goes first when there is no room."""

from __future__ import annotations

import random

import msgspec

from marketdata.backlog import Backlog
from marketdata.ticks import Kline, Tick, Trade, body
from marketdata.topics import Interval
from tests.unit.ingest_parts import MINUTE, NOW, depth, quote, trade


def bar(at: int, *, closed: bool = False, interval: Interval = Interval.M1) -> Kline:
    return Kline("X", NOW + at, interval, NOW, NOW + MINUTE, "1", "1", "1", "1", "1", "1", 1, closed)


def kept(backlog: Backlog) -> list[Tick]:
    return backlog.take(10**9)


def test_ticks_come_out_as_they_went_in() -> None:
    backlog, ticks = Backlog(), [quote(1), trade(2), quote(3), depth(), trade(4)]
    backlog.put(ticks[:2])
    backlog.put(ticks[2:])
    assert (len(backlog), backlog.bytes) == (5, sum(len(body(tick)) for tick in ticks))
    assert [backlog.take(2), backlog.take(2), backlog.take(2), backlog.take(2)] == [ticks[:2], ticks[2:4], ticks[4:], []]
    assert (len(backlog), backlog.bytes) == (0, 0)


def test_within_the_bound_nothing_is_left_out() -> None:
    backlog = Backlog(100)
    backlog.put([quote(at) for at in range(100)])
    assert kept(backlog) == [quote(at) for at in range(100)]
    assert not backlog.conflated
    assert not backlog.dropped


def test_first_go_values_that_a_newer_one_replaced_the_oldest_first() -> None:
    backlog = Backlog(4)
    backlog.put([trade(0), quote(1), quote(1, symbol="Y"), quote(2), quote(2, symbol="Y"), quote(3)])
    assert kept(backlog) == [trade(0), quote(2), quote(2, symbol="Y"), quote(3)]
    assert (backlog.conflated, backlog.dropped) == ({"quote": 2}, {})


def test_then_the_newest_values_of_latest_topics_the_oldest_first() -> None:
    backlog = Backlog(3)
    backlog.put([trade(0), depth(), quote(1), trade(1), quote(2, symbol="Y")])
    assert kept(backlog) == [trade(0), trade(1), quote(2, symbol="Y")]
    assert (backlog.conflated, backlog.dropped) == ({}, {"depth": 1, "quote": 1})


def test_at_last_the_oldest_of_those_that_each_matter() -> None:
    backlog = Backlog(2)
    backlog.put([trade(0), bar(1, closed=True), trade(2), trade(3)])
    assert kept(backlog) == [trade(2), trade(3)]
    assert (backlog.conflated, backlog.dropped) == ({}, {"trade": 1, "kline": 1})


def test_an_open_bar_may_be_replaced_and_a_closed_one_may_not() -> None:
    backlog = Backlog(3)
    backlog.put([bar(1), bar(2, closed=True), bar(3), bar(4, interval=Interval.M5)])
    assert kept(backlog) == [bar(2, closed=True), bar(3), bar(4, interval=Interval.M5)]
    assert backlog.conflated == {"kline": 1}


def test_bytes_are_bounded_like_updates() -> None:
    size = len(body(quote(1)))
    backlog = Backlog(most_bytes=3 * size)
    backlog.put([quote(at) for at in range(1, 10)])
    assert kept(backlog) == [quote(7), quote(8), quote(9)]
    assert backlog.conflated == {"quote": 6}


def test_what_is_larger_than_the_bound_is_dropped_itself() -> None:
    backlog = Backlog(most_bytes=10)
    backlog.put([trade(1)])
    assert (len(backlog), backlog.bytes, backlog.dropped) == (0, 0, {"trade": 1})


def test_what_was_taken_is_replaced_no_more() -> None:
    backlog = Backlog(2)
    backlog.put([quote(1)])
    backlog.take(1)
    backlog.put([quote(2), trade(2), trade(3)])
    assert kept(backlog) == [trade(2), trade(3)]
    assert (backlog.conflated, backlog.dropped) == ({}, {"quote": 1})


def test_whatever_happens_order_and_counts_are_right() -> None:
    chance = random.Random(7)  # the same every time
    backlog, put, taken, newest = Backlog(20, 2500), 0, [], {}
    for at in range(5000):
        symbol = chance.choice("XYZ")
        made = chance.choice([quote(at, symbol=symbol), trade(at, symbol=symbol), msgspec.structs.replace(depth(), ts=NOW + at)])
        backlog.put([made])
        put += 1
        newest[type(made), made.symbol] = made
        assert len(backlog) <= 20
        assert backlog.bytes <= 2500
        if chance.random() < 0.05:
            taken += backlog.take(chance.randrange(15))
    taken += kept(backlog)
    assert put == len(taken) + backlog.conflated.total() + backlog.dropped.total()
    for kind, symbol in newest:
        times = [tick.ts for tick in taken if (type(tick), tick.symbol) == (kind, symbol)]
        assert times == sorted(times)
    assert not any((backlog._waiting, backlog._replaced, backlog._newest, backlog._every, backlog.bytes))
    assert newest[Trade, "X"] in taken


def test_what_nobody_would_believe_waits_too_and_hurts_nobody() -> None:
    backlog, odd = Backlog(), Trade(["X"], NOW, object(), "1", "1")  # type: ignore[arg-type]
    odd_quote = msgspec.structs.replace(quote(1), symbol=["X"])
    backlog.put([trade(1), odd, odd_quote, odd_quote, trade(2)])
    assert kept(backlog) == [trade(1), odd, odd_quote, odd_quote, trade(2)]
