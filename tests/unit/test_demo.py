"""The demo's past: real bars as they were, simulated ones that join the live market."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from marketdata import demo
from marketdata.feeds import FeedSettings
from marketdata.feeds.market import DAY_US, GENESIS_US
from marketdata.feeds.metronome import Metronome
from marketdata.feeds.past import past_bar
from marketdata.feeds.simulated import STREAMED, sources
from marketdata.klines import Bars
from marketdata.ticks import Trade, body, from_body
from marketdata.topics import DataType, Interval

NOW_US = 1_795_386_560_000_000
SOURCES = {source.listing.symbol: source for source in sources(FeedSettings())}


@pytest.fixture(scope="module")
def real():
    return demo.real_bars()


def test_real_bars_are_those_of_the_package_with_their_true_dates(real):
    first = next(bar for bar in real if bar.symbol == "FB")
    assert (first.open_time, first.open, first.high, first.low, first.close, first.volume) == (
        1_337_299_200_000_000,  # 2012-05-18
        "42.05",
        "45.0",
        "38.0",
        "38.2318",
        "573576400",
    )
    assert {bar.symbol for bar in real} == set(demo.REAL)
    assert max(bar.close_time for bar in real) == GENESIS_US
    assert all(bar.closed and bar.close_time - bar.open_time == DAY_US for bar in real)


def test_the_simulator_begins_at_the_last_real_close(real):
    closes = {bar.symbol: bar.close for bar in real}
    assert {profile.listing.symbol: profile.anchor for profile in STREAMED[:5]} == {
        symbol: float(close) for symbol, close in closes.items()
    }
    first = past_bar(SOURCES["AAPL"], Interval.D1, GENESIS_US)
    assert float(first.open) == pytest.approx(float(closes["AAPL"]), rel=0.001)


@pytest.mark.parametrize("interval", Interval)
@pytest.mark.parametrize("symbol", ["AAPL", "DOGE-USDT", "600519.SH", "TEST"])
def test_simulated_bars_are_whole(symbol, interval):
    for open_time in demo.past_opens(symbol, interval, NOW_US)[-20:]:
        bar = past_bar(SOURCES[symbol], interval, open_time)
        assert from_body(DataType.KLINE, body(bar)) == bar
        assert bar.closed
        assert bar.open_time <= bar.ts < bar.close_time
        low, high = Decimal(bar.low), Decimal(bar.high)
        assert all(low <= Decimal(price) <= high for price in (bar.open, bar.close))
        assert bar.trades > 0 < Decimal(bar.volume)
        assert low * Decimal(bar.volume) <= Decimal(bar.turnover) * Decimal("1.0001")
        assert Decimal(bar.turnover) <= high * Decimal(bar.volume) * Decimal("1.0001")


@pytest.mark.parametrize("interval", [Interval.M1, Interval.D1])
def test_each_bar_opens_where_the_last_one_closed(interval):
    bars = [past_bar(SOURCES["AAPL"], interval, each) for each in demo.past_opens("AAPL", interval, NOW_US)[-50:]]
    assert all(before.close == after.open for before, after in itertools.pairwise(bars))


def test_the_live_market_continues_the_last_bar():
    for source in SOURCES.values():
        last = demo.past_opens(source.listing.symbol, Interval.D1, NOW_US)[-1]
        bar = past_bar(source, Interval.D1, last)
        trade = next(tick for tick in source.events(last + DAY_US, last + DAY_US + 5_000_000) if isinstance(tick, Trade))
        assert float(trade.price) == pytest.approx(float(bar.close), rel=0.011 if source.listing.symbol == "TEST" else 0.003)


@pytest.mark.parametrize("interval", [Interval.M1, Interval.M5, Interval.M15])
def test_bars_of_test_are_what_its_trades_add_up_to(interval):
    start = NOW_US // interval.length_us * interval.length_us
    trades = [tick for tick in Metronome().events(start - 1, start + interval.length_us) if isinstance(tick, Trade)]
    bars = Bars("TEST")
    made = [*bars.apply(trades), *bars.advance(start + 2 * interval.length_us)]
    [kline] = [each for each in made if each.closed and each.interval is interval and each.open_time == start]
    past = past_bar(Metronome(), interval, start)
    assert (past.open, past.high, past.low, past.close) == (kline.open, kline.high, kline.low, kline.close)
    assert (past.ts, past.trades) == (kline.ts, kline.trades)
    assert Decimal(past.volume) == Decimal(kline.volume)
    assert Decimal(past.turnover) == Decimal(kline.turnover)


def test_a_volume_is_near_what_ticks_would_have_made():
    source, start = SOURCES["BTC-USDT"], NOW_US // 60_000_000 * 60_000_000
    traded = sum(float(tick.size) for tick in source.events(start, start + 120_000_000) if isinstance(tick, Trade))
    past = sum(float(past_bar(source, Interval.M1, start + minute).volume) for minute in (0, 60_000_000))
    assert 0.3 < past / traded < 3


def test_daily_bars_of_the_stocks_reach_back_to_the_real_ones():
    assert demo.past_opens("AAPL", Interval.D1, NOW_US)[0] == GENESIS_US
    assert len(demo.past_opens("BTC-USDT", Interval.D1, NOW_US)) == demo.BARS


def test_the_past_ends_with_the_last_closed_bar_and_the_minute_in_progress():
    assert demo.past_opens("AAPL", Interval.H1, NOW_US)[-1] + Interval.H1.length_us <= NOW_US
    minute = demo.past_opens("AAPL", Interval.M1, NOW_US)[-1]
    assert minute <= NOW_US < minute + Interval.M1.length_us
