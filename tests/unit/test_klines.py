"""Bars from trades: event time, late trades, gap bars, exchange days, dumps, tickers."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from marketdata import klines
from marketdata.klines import Bars, bucket, ticker
from marketdata.ticks import Kline, Trade, body, from_body
from marketdata.topics import DataType, Interval

MINUTE = 60_000_000
T0 = 1_700_006_400_000_000  # 2023-11-15 00:00 UTC


def trade(at: float, price: str = "10", size: str = "1", id: str | None = None, symbol: str = "X") -> Trade:
    """A trade `at` seconds after T0."""
    return Trade(symbol=symbol, ts=T0 + round(at * 1e6), id=id or f"t{at}", price=price, size=size)


def only(found: list[Kline], interval: Interval = Interval.M1) -> list[Kline]:
    return [kline for kline in found if kline.interval is interval]


def test_one_trade_makes_an_open_bar_of_every_interval() -> None:
    found = Bars("X").apply([trade(61, "10.50", "2")])
    assert [kline.interval for kline in found] == list(Interval)
    first = found[0]
    assert (first.open_time, first.close_time) == (T0 + MINUTE, T0 + 2 * MINUTE)
    assert (first.open, first.high, first.low, first.close) == ("10.50",) * 4
    assert (first.volume, first.turnover, first.trades, first.closed, first.revision) == ("2", "21", 1, False, 0)
    assert first.ts == T0 + 61_000_000


def test_a_batch_updates_each_open_bar_once() -> None:
    found = Bars("X").apply([trade(1, "10"), trade(2, "12"), trade(3, "9"), trade(4, "11")])
    assert len(found) == len(Interval)
    assert (found[0].open, found[0].high, found[0].low, found[0].close) == ("10", "12", "9", "11")


def test_open_and_close_follow_event_time_and_not_arrival() -> None:
    (bar,) = only(Bars("X").apply([trade(30, "3"), trade(50, "5"), trade(10, "1")]))
    assert (bar.open, bar.close) == ("1", "5")


@pytest.mark.parametrize(("earlier", "later"), [("9", "10"), ("t-99", "t-100"), ("a", "b")])
def test_trades_of_the_same_instant_are_ordered_by_id(earlier: str, later: str) -> None:
    (bar,) = only(Bars("X").apply([trade(1, "2", id=later), trade(1, "1", id=earlier)]))
    assert (bar.open, bar.close) == ("1", "2")


def test_a_trade_of_the_next_minute_closes_the_bar() -> None:
    bars = Bars("X")
    bars.apply([trade(1)])
    closed, opened = only(bars.apply([trade(60)]))
    assert (closed.closed, closed.open_time, closed.revision) == (True, T0, 0)
    assert (opened.closed, opened.open_time) == (False, T0 + MINUTE)


def test_advance_closes_what_is_over_and_nothing_else() -> None:
    bars = Bars("X")
    bars.apply([trade(1)])
    assert bars.advance(T0 + MINUTE - 1) == []
    assert [(kline.interval, kline.closed) for kline in bars.advance(T0 + MINUTE)] == [(Interval.M1, True)]
    assert bars.advance(T0 + 2 * MINUTE) == []


def test_next_close_is_that_of_the_first_open_bar() -> None:
    bars = Bars("X")
    assert bars.next_close_us == klines.NEVER_US
    bars.apply([trade(1)])
    assert bars.next_close_us == T0 + MINUTE
    bars.advance(T0 + MINUTE)
    assert bars.next_close_us == T0 + 5 * MINUTE


def test_a_late_trade_revises_its_closed_bars() -> None:
    bars = Bars("X")
    bars.apply([trade(1, "10"), trade(301, "11")])
    found = bars.apply([trade(2, "15", "3")])
    minute, five = only(found)[0], only(found, Interval.M5)[0]
    assert (minute.open_time, minute.closed, minute.revision) == (T0, True, 1)
    assert (minute.high, minute.close, minute.volume, minute.trades) == ("15", "15", "4", 2)
    assert (five.closed, five.revision) == (True, 1)
    assert [kline.closed for kline in only(found, Interval.M15)] == [False]


def test_a_trade_after_the_clock_closed_its_bar_revises_it() -> None:
    bars = Bars("X")
    bars.apply([trade(1)])
    bars.advance(T0 + MINUTE)
    (bar,) = only(bars.apply([trade(59)]))
    assert (bar.closed, bar.revision) == (True, 1)


def test_duplicates_are_ignored() -> None:
    bars = Bars("X")
    (bar,) = only(bars.apply([trade(1), trade(1)]))
    assert bar.trades == 1
    assert bars.apply([trade(1)]) == []


def test_a_trade_older_than_the_window_is_too_late() -> None:
    bars = Bars("X")
    bars.apply([trade(3600, id="now")])
    late, in_time = trade(3600 - 601), trade(3600 - 600)
    sifted = bars.sift([late, in_time, trade(3600, id="now")])
    assert (sifted.too_late, sifted.fresh, sifted.duplicates) == ([0], [in_time], [2])
    assert bars.apply([late]) == []


def test_a_trade_older_than_the_remembered_ids_is_too_late() -> None:
    bars = Bars("X")
    bars.apply([trade(at / 1000) for at in range(klines.IDS + 10)])
    sifted = bars.sift([trade(0.009), trade(0.0095, id="a"), trade(0.0085, id="b"), trade(0.010)])
    assert (sifted.too_late, [each.id for each in sifted.fresh], sifted.duplicates) == ([0, 2], ["a"], [3])


def test_empty_intervals_between_two_trades_get_flat_bars() -> None:
    bars = Bars("X")
    bars.apply([trade(1, "10"), trade(2, "12.5")])
    closed, *flat, opened = only(bars.apply([trade(181, "13")]))
    assert (closed.closed, opened.closed) == (True, False)
    assert [bar.open_time for bar in flat] == [T0 + MINUTE, T0 + 2 * MINUTE]
    for bar in flat:
        assert (bar.open, bar.high, bar.low, bar.close) == ("12.5",) * 4
        assert (bar.volume, bar.turnover, bar.trades, bar.closed, bar.revision) == ("0", "0", 0, True, 0)
        assert bar.ts == bar.close_time


def test_silence_alone_makes_no_flat_bars() -> None:
    bars = Bars("X")
    bars.apply([trade(1)])
    assert len(only(bars.advance(T0 + 10 * MINUTE))) == 1


@pytest.mark.parametrize(("minutes", "bars_between"), [(1440, 1440), (1441, 0)])
def test_a_hole_longer_than_the_bound_stays(minutes: int, bars_between: int) -> None:
    bars = Bars("X")
    bars.apply([trade(1)])
    found = only(bars.apply([trade(60 * (minutes + 1))]))
    assert len([bar for bar in found if not bar.trades]) == bars_between


def test_instruments_with_sessions_get_no_flat_bars() -> None:
    bars = Bars("X", "us")
    bars.apply([trade(1)])
    assert all(bar.trades for bar in bars.apply([trade(600)]))


def test_a_late_trade_takes_the_place_of_a_flat_bar_and_moves_those_after_it() -> None:
    bars = Bars("X")
    bars.apply([trade(1, "10"), trade(241, "20")])
    first, second, third = only(bars.apply([trade(61, "12")]))
    assert (first.open_time, first.trades, first.revision, first.volume) == (T0 + MINUTE, 1, 1, "1")
    assert [(bar.close, bar.trades, bar.revision, bar.closed) for bar in (second, third)] == [("12", 0, 1, True)] * 2


def test_a_late_first_trade_opens_a_closed_bar_and_fills_up_to_the_next() -> None:
    bars = Bars("X")
    bars.apply([trade(121, "10")])
    first, flat = only(bars.apply([trade(1, "9")]))
    assert (first.open_time, first.closed, first.revision) == (T0, True, 0)
    assert (flat.open_time, flat.close, flat.trades) == (T0 + MINUTE, "9", 0)


def test_buckets_are_aligned_to_utc() -> None:
    assert bucket(T0 + 5 * 3_600_000_000, Interval.H4) == (T0 + 4 * 3_600_000_000, T0 + 8 * 3_600_000_000)
    assert bucket(T0 + 1, Interval.D1) == (T0, T0 + 24 * 3_600_000_000)
    assert bucket(T0 + 5 * 3_600_000_000, Interval.H4, "us") == bucket(T0 + 5 * 3_600_000_000, Interval.H4)


@pytest.mark.parametrize(
    ("session", "zone", "day", "hours"),
    [
        ("us", "America/New_York", (2024, 3, 10), 23),
        ("us", "America/New_York", (2024, 11, 3), 25),
        ("us", "America/New_York", (2024, 7, 1), 24),
        ("cn", "Asia/Shanghai", (2019, 2, 1), 24),
    ],
)
def test_the_day_of_an_exchange_is_its_calendar_day(session: str, zone: str, day: tuple[int, int, int], hours: int) -> None:
    midnight = int(datetime(*day, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000
    end = midnight + hours * 3_600_000_000
    assert bucket(midnight, Interval.D1, session) == (midnight, end)
    assert bucket(end - 1, Interval.D1, session) == (midnight, end)
    assert bucket(end, Interval.D1, session)[0] == end


def test_sums_are_exact_and_plain() -> None:
    (bar,) = only(Bars("X").apply([trade(1, "0.00000001", "3.000"), trade(2, "123456789012.5", "0.1"), trade(3, "1", "2")]))
    assert bar.volume == "5.1"
    assert bar.turnover == "12345678903.25000003"
    assert bar.low == "0.00000001"


def test_a_kline_is_a_valid_body_however_many_decimals_a_venue_has() -> None:
    fine = "0." + "0" * 22 + "15"
    (bar,) = only(Bars("X").apply([trade(1, fine, fine), trade(2, "9" * 18, "3")]))
    assert from_body(DataType.KLINE, body(bar)) == bar
    assert Decimal(bar.turnover) == 3 * (10**18 - 1)


def test_the_open_bar_continues_after_a_restart() -> None:
    bars = Bars("X")
    bars.apply([trade(1, "10"), trade(2, "12")])
    bars = Bars.load(bars.dump())
    assert bars.apply([trade(2, "12")]) == []
    (bar,) = only(bars.apply([trade(3, "11")]))
    assert (bar.open, bar.high, bar.close, bar.trades, bar.closed) == ("10", "12", "11", 3, False)


def test_a_closed_bar_is_not_closed_again_after_a_restart() -> None:
    bars = Bars("X", "cn")
    bars.apply([trade(1), trade(61)])
    again = Bars.load(bars.dump())
    assert (again.session, again.symbol, again.next_close_us) == ("cn", "X", bars.next_close_us)
    assert [bar.open_time for bar in only(again.advance(T0 + 2 * MINUTE))] == [T0 + MINUTE]


def test_a_dump_stays_small_and_forgotten_ids_count_as_too_late() -> None:
    bars = Bars("BTC-USDT")
    bars.apply([trade(at / 10, "61837.63000000", "3.78826000", str(3_700_000_000 + at)) for at in range(10_000)])
    data = bars.dump()
    assert len(data) < 6 * 1024
    resent = [trade(at / 10, id=str(3_700_000_000 + at)) for at in range(9_000, 10_000)]
    assert Bars.load(data).sift(resent).fresh == []


@pytest.mark.parametrize("data", [b"", b"\x93\x01\x02\x03", b"nonsense"])
def test_a_foreign_dump_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        Bars.load(data)


def test_a_dump_of_another_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Bars("X").dump()
    monkeypatch.setattr(klines, "_FORMAT", 99)
    with pytest.raises(ValueError, match="format 1, expected 99"):
        Bars.load(data)


def test_a_ticker_tells_the_day_and_its_change() -> None:
    bars = Bars("X")
    bars.apply([trade(1, "10.00", "1")])
    bars.apply([trade(86_401, "11.00", "2"), trade(86_402, "10.50", "1")])
    assert bars.day is not None
    told = ticker("X", bars.day, bars.previous_close)
    assert (told.open, told.high, told.low, told.last, told.volume, told.turnover) == (
        "11.00",
        "11.00",
        "10.50",
        "10.50",
        "3",
        "32.5",
    )
    assert (told.prev_close, told.change, told.change_percent, told.ts) == ("10.00", "0.50", "5.00", T0 + 86_402_000_000)


def test_a_ticker_of_the_first_day_knows_no_change() -> None:
    bars = Bars("X")
    assert (bars.day, bars.previous_close) == (None, None)
    bars.apply([trade(1)])
    assert bars.day is not None
    told = ticker("X", bars.day, bars.previous_close)
    assert (told.prev_close, told.change, told.change_percent) == (None, None, None)


def test_a_falling_price_has_a_negative_change() -> None:
    bars = Bars("X")
    bars.apply([trade(1, "3.00"), trade(86_401, "2.00")])
    assert bars.day is not None
    told = ticker("X", bars.day, bars.previous_close)
    assert (told.change, told.change_percent) == ("-1.00", "-33.33")
