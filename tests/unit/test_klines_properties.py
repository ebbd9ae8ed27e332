"""Whatever the order of arrival, the cuts between batches and the repeats: the same closed bars."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.klines import Bars
from marketdata.ticks import Kline, Trade
from marketdata.topics import Interval

MIDNIGHT = 1_700_006_400_000_000
START, SPAN_S = MIDNIGHT - 240_000_000, 540  # across a boundary of every interval, and within the window for late trades

number = st.sampled_from(["0.1", "1", "1.0", "1.00", "2.5", "7", "0.30000000", "1234567.891"])
trade = st.builds(
    lambda at, id, price, size: Trade(symbol="X", ts=START + at * 1_000_000, id=id, price=price, size=size),
    st.integers(0, SPAN_S),
    st.integers(1, 10**12).map(str) | st.text("ab-9", min_size=1, max_size=4),
    number,
    number,
)
trades = st.lists(trade, min_size=1, max_size=40, unique_by=lambda each: each.id)
Closed = dict[tuple[Interval, int], Kline]


class Reader:
    """What somebody who follows the kline topics knows: the newest version of each bar."""

    def __init__(self) -> None:
        self.newest: Closed = {}

    def read(self, klines: list[Kline]) -> None:
        for kline in klines:
            before = self.newest.get((kline.interval, kline.open_time))
            if before is not None and before.closed:
                assert kline.closed, "a closed bar was opened again"
                assert kline.revision == before.revision + 1
            else:
                assert kline.revision == 0
            self.newest[kline.interval, kline.open_time] = kline

    def closed(self) -> dict[tuple[Interval, int], tuple[object, ...]]:
        return {
            key: (bar.ts, bar.close_time, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover, bar.trades)
            for key, bar in self.newest.items()
            if bar.closed
        }


def in_order(found: list[Trade], session: str) -> Reader:
    reader, bars = Reader(), Bars("X", session)
    for each in sorted(found, key=lambda each: each.ts):
        reader.read(bars.apply([each]))
    reader.read(bars.advance(MIDNIGHT + 2 * 86_400_000_000))
    return reader


@settings(max_examples=300, deadline=None)
@given(trades, st.sampled_from(["always", "us", "cn"]), st.data())
def test_shuffled_repeated_and_cut_trades_make_the_same_closed_bars(
    found: list[Trade], session: str, data: st.DataObject
) -> None:
    repeats = data.draw(st.lists(st.sampled_from(found), max_size=10))
    arrival = data.draw(st.permutations(found + repeats))
    reader, bars = Reader(), Bars("X", session)
    while arrival:
        size = data.draw(st.integers(1, len(arrival)))
        reader.read(bars.apply(arrival[:size]))
        arrival = arrival[size:]
        if data.draw(st.booleans()):
            bars = Bars.load(bars.dump())
        if data.draw(st.booleans()):
            reader.read(bars.advance(START + data.draw(st.integers(0, SPAN_S)) * 1_000_000))
    reader.read(bars.advance(MIDNIGHT + 2 * 86_400_000_000))
    assert reader.closed() == in_order(found, session).closed()


@settings(max_examples=100, deadline=None)
@given(trades)
def test_every_interval_adds_up_to_the_same_volume_and_leaves_no_hole(found: list[Trade]) -> None:
    reader = in_order(found, "always")
    for interval in Interval:
        bars = [bar for (each, _), bar in sorted(reader.newest.items()) if each is interval]
        assert sum(bar.trades for bar in bars) == len(found)
        assert all(one.close_time == two.open_time for one, two in pairwise(bars))
        assert all(bar.open == bar.close == before.close for before, bar in pairwise(bars) if not bar.trades)
