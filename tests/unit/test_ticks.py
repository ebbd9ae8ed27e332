"""Ticks and their one encoding."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.errors import BadTick
from marketdata.ticks import Depth, Kline, Quote, Ticker, Trade, body, from_body, from_json, levels, plain, to_json
from marketdata.topics import Interval

QUOTE = Quote("AAPL", 1, "1.10", "2", "1.20", "3")
TRADE = Trade("BTC-USDT", 1, "7", "61837.63000000", "0.00000001", "buy")
DEPTH = Depth("AAPL", 1, (("1.10", "2"),), (("1.20", "3"),))
TICKER = Ticker("AAPL", 1, "1", "1", "1", "1", None, None, None, "0", "0")
KLINE = Kline("AAPL", 1, Interval.M1, 0, 60_000_000, "1", "2", "1", "2", "3", "4", 2, False)
TICKS = [QUOTE, TRADE, DEPTH, TICKER, KLINE]
FIELDS = {
    "quote": "symbol ts bid bid_size ask ask_size",
    "trade": "symbol ts id price size side",
    "depth": "symbol ts bids asks",
    "ticker": "symbol ts last open high low prev_close change change_percent volume turnover",
    "kline": "symbol ts interval open_time close_time open high low close volume turnover trades closed revision",
}


@pytest.mark.parametrize("tick", TICKS, ids=lambda tick: tick.type)
def test_a_body_has_the_fields_of_the_protocol_in_their_order(tick: Quote) -> None:
    assert " ".join(json.loads(body(tick))) == FIELDS[tick.type]


@pytest.mark.parametrize("tick", TICKS, ids=lambda tick: tick.type)
def test_bodies_and_raw_ticks_read_back(tick: Quote) -> None:
    assert from_body(tick.type, body(tick)) == tick
    assert from_json(to_json(tick)) == tick
    assert json.loads(to_json(tick))["type"] == tick.type


def test_the_venues_digits_survive() -> None:
    assert b'"price":"61837.63000000","size":"0.00000001"' in body(TRADE)


def test_a_tick_knows_its_topic() -> None:
    assert [str(tick.topic) for tick in TICKS] == [
        "quote.AAPL", "trade.BTC-USDT", "depth.AAPL", "ticker.AAPL", "kline.1m.AAPL",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"type":"rumour","symbol":"A","ts":1}',
        b'{"type":"trade","symbol":"A","ts":1,"id":"1","price":1.5,"size":"1"}',
        b'{"type":"trade","symbol":"A","ts":1,"id":"1","price":"NaN","size":"1"}',
        b'{"type":"trade","symbol":"A","ts":1,"id":"1","price":"1e5","size":"1"}',
        b'{"type":"trade","symbol":"a","ts":1,"id":"1","price":"1","size":"1"}',
        b'{"type":"trade","symbol":"A","ts":-1,"id":"1","price":"1","size":"1"}',
        b'{"type":"trade","symbol":"A","ts":1,"id":"1","price":"1","size":"1","mood":"good"}',
        b'{"type":"trade","symbol":"A","ts":1,"id":"1","price":"1","size":"1","side":"both"}',
    ],
)
def test_what_is_no_tick_is_refused(text: bytes) -> None:
    with pytest.raises(BadTick) as caught:
        from_json(text)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.10", "1.10"),
        ("1e-8", "0.00000001"),
        (1e-8, "0.00000001"),
        (0.1, "0.1"),
        (5, "5"),
        (Decimal("1E+3"), "1000"),
        ("+1", "1"),
    ],
)
def test_numbers_are_written_plainly(value: str | int | float | Decimal, text: str) -> None:
    assert plain(value) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12))
def test_writing_plainly_changes_no_value(number: Decimal) -> None:
    assert Decimal(plain(number)) == number
    assert "E" not in plain(number)


@pytest.mark.parametrize("value", ["NaN", "Infinity", float("inf"), "", "one", None])
def test_what_is_no_finite_number_is_refused(value: str) -> None:
    with pytest.raises(BadTick):
        plain(value)


def test_a_side_of_a_book_keeps_the_best_levels() -> None:
    assert levels([(n, "1") for n in range(100, 70, -1)]) == tuple((str(n), "1") for n in range(100, 80, -1))
