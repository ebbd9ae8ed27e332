"""The demo's tickers: what the 1d bar says, against the close before it."""

from __future__ import annotations

import pytest

from marketdata.feeds import PolledFeed
from marketdata.feeds.day_tickers import DayTickers
from marketdata.feeds.metronome import TEST
from tests.unit.demo_parts import day_bar

SINCE_US = 5


@pytest.fixture
def days():
    return {"TEST": day_bar("TEST", close="11")}


@pytest.fixture
def closes():
    return {"TEST": "10"}


@pytest.fixture
def asked():
    return []


@pytest.fixture
def feed(days, closes, asked):
    def previous_close(symbol, open_time):
        asked.append((symbol, open_time))
        return closes.get(symbol)

    return DayTickers([TEST], lambda symbols, since_us: [days[symbol] for symbol in symbols if symbol in days], previous_close)


def test_it_is_a_polled_feed(feed):
    assert isinstance(feed, PolledFeed)


def test_a_ticker_says_what_the_day_bar_says(feed, days):
    [ticker] = feed.poll(10, SINCE_US)
    bar = days["TEST"]
    assert (ticker.last, ticker.open, ticker.high, ticker.low) == (bar.close, bar.open, bar.high, bar.low)
    assert (ticker.volume, ticker.turnover, ticker.ts) == (bar.volume, bar.turnover, bar.ts)
    assert (ticker.prev_close, ticker.change, ticker.change_percent) == ("10", "1", "10.00")


def test_an_instrument_without_a_new_bar_has_no_new_ticker(feed, days):
    days.clear()
    assert feed.poll(10, SINCE_US) == []


def test_the_close_before_is_read_once_a_day(feed, days, asked):
    feed.poll(10, SINCE_US)
    feed.poll(11, 10)
    assert len(asked) == 1
    days["TEST"] = day_bar("TEST", close="12", days=1)
    feed.poll(12, 11)
    assert len(asked) == 2


def test_an_unknown_close_is_asked_for_again(feed, closes):
    del closes["TEST"]
    assert feed.poll(10, SINCE_US)[0].change is None
    closes["TEST"] = "10"
    assert feed.poll(11, 10)[0].change == "1"
