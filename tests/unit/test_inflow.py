"""The inflow: a flood is bounded, the newest value survives it, and what does not is counted."""

from __future__ import annotations

from typing import Any

import pytest

from marketdata.inflow import CALM_S, MOST_AT_ONCE, READ_TIMES, Inflow, is_tick
from marketdata.ticks import Quote, Tick, Trade
from tests.unit.ingest_parts import bar, day_ticker, depth, quote, trade


class Second:
    """An inflow and its clock."""

    def __init__(self, most_per_s: int) -> None:
        self.inflow, self.now = Inflow(most_per_s), 100.0

    def put(self, *ticks: Tick) -> float:
        return self.inflow.put(ticks, self.now)

    def out(self, seconds: float = 0.0) -> list[Tick]:
        """Everything that leaves in so many seconds."""
        found = self.all()
        for _ in range(round(seconds * 8)):
            self.now += 0.125  # exact in binary
            found += self.all()
        return found

    def all(self) -> list[Tick]:
        found = []
        while ticks := self.inflow.take(self.now):
            assert len(ticks) <= MOST_AT_ONCE
            found += ticks
        return found


def test_within_the_bound_everything_passes_in_order() -> None:
    second = Second(100)
    ticks = [quote(1), trade(1), quote(2), depth(), trade(2)]
    second.put(*ticks)
    assert second.out() == ticks
    assert (second.inflow.conflated, second.inflow.shed, second.inflow.wait_s()) == (0, 0, None)


def test_no_more_than_the_bound_leaves_in_a_second() -> None:
    second = Second(100)
    second.put(*(trade(n) for n in range(100)))
    assert len(second.out()) == 100
    second.put(*(trade(n) for n in range(100, 200)))
    assert len(second.out(0.5)) == 50
    assert second.inflow.wait_s() == 0.5
    assert len(second.out(0.5)) == 50


def test_in_a_flood_the_newest_quote_of_each_symbol_survives_and_no_trade_is_lost() -> None:
    second = Second(100)
    trades = [trade(n) for n in range(50)]
    second.put(*(quote(n, symbol=symbol) for n in range(1000) for symbol in "XY"), *trades, quote(1000))
    left = second.out()
    assert [tick for tick in left if isinstance(tick, Trade)] == trades
    assert [tick for tick in left if isinstance(tick, Quote)] == [quote(999, symbol="Y"), quote(1000)]
    assert (second.inflow.conflated, second.inflow.shed) == (1999, 0)


def test_beyond_that_the_oldest_trades_are_shed_and_counted() -> None:
    second = Second(100)
    second.put(quote(1), *(trade(n) for n in range(500)))
    left = second.out()
    assert left == [quote(1), *(trade(n) for n in range(401, 500))]
    assert second.inflow.shed == 401


def test_topics_without_number_are_shed_too() -> None:
    second = Second(100)
    second.put(*(quote(symbol=f"S{n}") for n in range(1000)))
    assert (len(second.inflow), second.inflow.shed) == (100, 900)


def test_closed_bars_are_not_conflated() -> None:
    second = Second(10)
    bars = [bar(revision=n) for n in range(5)]
    second.put(*bars, *[bar(closed=False)] * 20)
    assert second.out() == [*bars, bar(closed=False)]


def test_memory_is_bounded_however_long_the_flood() -> None:
    second = Second(100)
    for n in range(10_000):
        second.put(trade(n))
        assert len(second.inflow) <= 120
    left = second.out(1)
    assert left[-1] == trade(9999)
    assert second.inflow.shed + len(left) == 10_000


def test_far_too_much_is_not_read_at_all_for_a_while() -> None:
    second = Second(100)
    assert second.put(*(trade(n) for n in range(READ_TIMES * 100))) == 0
    second.now += 0.25
    assert second.put(trade(1)) == 0.75
    second.now += 0.75
    assert second.put(trade(2)) == 0


def test_who_can_wait_is_told_when_it_is_full_and_loses_nothing() -> None:
    second, said, left = Second(7), 0, []
    for _ in range(200):
        while not second.inflow.is_full:
            second.put(*(trade(n) for n in range(said, said + second.inflow.portion)))
            said += second.inflow.portion
        left += second.out(0.125)
    assert left == [trade(n) for n in range(len(left))]
    assert second.inflow.shed == 0


def test_a_flood_is_over_when_it_was_calm_for_a_while() -> None:
    second = Second(10)
    assert not second.inflow.is_flooded(second.now)
    second.put(*(trade(n) for n in range(20)))
    assert second.inflow.is_flooded(second.now + CALM_S - 1)
    assert not second.inflow.is_flooded(second.now + CALM_S)


@pytest.mark.parametrize("tick", [quote(), trade(), depth(), bar(), day_ticker()])
def test_a_tick_is_a_tick(tick: Tick) -> None:
    assert is_tick(tick)


@pytest.mark.parametrize(
    "thing",
    [
        None, 7, "trade", {"symbol": "X", "ts": 1}, quote, Quote,
        quote(symbol=["X"]), quote(ts="now"), quote(ts=1.5), trade(id=["t"]), bar(interval="1m"), bar(interval=[]), bar(closed=1),
        bar(open_time={}), bar(revision=None),
    ],
)  # fmt: skip
def test_rubbish_is_none(thing: Any) -> None:
    assert not is_tick(thing)
