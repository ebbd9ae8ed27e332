"""Priming: the first day of the demo is a whole one, and a pause leaves no flat bars."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest

from marketdata.barbook import state_key
from marketdata.feeds import FeedSettings, FeedWithPast, make
from marketdata.feeds.market import DAY_US
from marketdata.feeds.past import day_trades, past_bar
from marketdata.feeds.simulated import sources
from marketdata.klines import Bars
from marketdata.memory_store import MemoryStore
from marketdata.priming import STALE_US, prime
from marketdata.store import State
from marketdata.topics import Interval
from tests.unit.ingest_parts import FixedInstruments, instrument

MINUTE_US = 60_000_000
DAY = 1_795_305_600_000_000
NOW_US = DAY + 10 * 3600 * 1_000_000 + 7 * MINUTE_US + 31_000_000
SOURCES = {source.listing.symbol: source for source in sources(FeedSettings())}


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def feed():
    return make("demo", FeedSettings(symbols=["AAPL"]))


def prime_at(store, feed, now_us=NOW_US) -> int:
    return prime(store, feed, feed.listings(), FixedInstruments(instrument("AAPL")), now_us)


def primed(store) -> Bars:
    return Bars.load(store.load([state_key("AAPL")])[0].value)


def test_the_demo_knows_its_past(feed):
    assert isinstance(feed, FeedWithPast)
    assert isinstance(make("demo-cn", FeedSettings()), FeedWithPast)


def test_the_first_day_is_a_whole_one(store, feed):
    assert prime_at(store, feed) == 1
    day = primed(store).day
    yesterday = past_bar(SOURCES["AAPL"], Interval.D1, DAY - DAY_US)
    assert day.open_time == DAY
    assert float(day.open) == pytest.approx(float(yesterday.close), rel=0.001)
    assert float(day.volume) == pytest.approx(float(yesterday.volume) * 10 / 24, rel=0.5)
    assert store.messages == []


def test_live_trades_continue_the_bars_without_flat_ones(store, feed):
    prime_at(store, feed)
    klines = primed(store).apply(SOURCES["AAPL"].trades(NOW_US, NOW_US + 2 * MINUTE_US))
    assert klines
    assert all(kline.trades and Decimal(kline.volume) for kline in klines)


def test_the_minute_in_progress_has_its_own_trades(store, feed):
    prime_at(store, feed)
    minute = NOW_US // MINUTE_US * MINUTE_US
    trades = SOURCES["AAPL"].trades(minute - 1, minute + MINUTE_US - 1)
    klines = primed(store).apply(trades)
    [kline] = [each for each in klines if each.interval is Interval.M1 and each.open_time == minute]
    assert kline.trades == len(trades)
    assert Decimal(kline.volume) == sum(Decimal(trade.size) for trade in trades)


def test_bars_that_live_are_left_alone(store, feed):
    prime_at(store, feed)
    assert prime_at(store, feed, NOW_US + STALE_US // 2) == 0


def test_bars_that_stood_still_are_begun_again(store, feed):
    prime_at(store, feed)
    assert prime_at(store, feed, NOW_US + 3600_000_000) == 1
    assert primed(store).newest_us > NOW_US + 3599_000_000


def test_bars_of_another_version_are_begun_again(store, feed):
    store.publish([], [State(state_key("AAPL"), 0, b"old")])
    assert prime_at(store, feed) == 1


def test_who_was_quicker_wins(store, feed, monkeypatch):
    past = type(feed).past

    def slow(self, *place):
        store.publish([], [State(state_key("AAPL"), 0, b"quicker")])
        return past(self, *place)

    monkeypatch.setattr(type(feed), "past", slow)
    assert prime_at(store, feed) == 0
    assert store.load([state_key("AAPL")])[0].value == b"quicker"


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_trades_of_a_day_are_in_order_and_add_up(source):
    trades = day_trades(source, DAY, DAY + 15 * MINUTE_US)
    assert all(before.ts <= after.ts for before, after in pairwise(trades))
    assert len({trade.id for trade in trades}) == len(trades)
    bar = past_bar(source, Interval.M15, DAY)
    quarter = [trade for trade in trades if trade.ts < DAY + 15 * MINUTE_US]
    assert sum(Decimal(trade.size) for trade in quarter) == Decimal(bar.volume)
    prices = [Decimal(trade.price) for trade in quarter]
    assert [str(price) for price in (prices[0], max(prices), min(prices), prices[-1])] == [bar.open, bar.high, bar.low, bar.close]
