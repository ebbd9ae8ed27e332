"""Each flaw of a tick is found and named."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.checks import REASONS, flaw
from marketdata.errors import BadTick
from marketdata.ticks import Trade, plain
from tests.unit.ingest_parts import bar, day_ticker, depth, quote, trade


@pytest.mark.parametrize(
    "tick",
    [
        trade(),
        trade(size="0"),
        quote(),
        quote(bid="10", ask="10"),  # locked
        quote(bid="0", bid_size="0"),
        quote(ask="0", ask_size="0"),
        depth(),
        depth(bids=(), asks=()),
        depth(bids=(("11", "1"),)),  # locked
        day_ticker(),
        day_ticker(prev_close="12", change="-2", change_percent="-16.67"),
        bar(),
        bar(open="10", high="10", low="10", close="10", volume="0", turnover="0", trades=0),
    ],
)
def test_a_good_tick_has_no_flaw(tick: Any) -> None:
    assert flaw(tick) is None


@pytest.mark.parametrize(
    ("tick", "reason"),
    [
        (quote(bid="11.01"), "crossed"),
        (depth(bids=(("11.5", "1"),)), "crossed"),
        (quote(bid_size="-1"), "negative_size"),
        (trade(size="-0.1"), "negative_size"),
        (depth(asks=(("11", "-1"),)), "negative_size"),
        (bar(volume="-1"), "negative_size"),
        (day_ticker(turnover="-1"), "negative_size"),
        (trade(price="0"), "bad_price"),
        (trade(price="-37.63"), "bad_price"),
        (quote(bid="0"), "bad_price"),
        (quote(ask="-1"), "bad_price"),
        (depth(bids=(("0", "1"),)), "bad_price"),
        (day_ticker(low="0"), "bad_price"),
        (bar(low="0"), "bad_price"),
        (trade(price="1e5"), "malformed"),
        (trade(price="1,000"), "malformed"),
        (trade(price=""), "malformed"),
        (trade(price="1 2"), "malformed"),
        (trade(price="1" * 25), "malformed"),
        (trade(price=10.5), "malformed"),  # type: ignore[arg-type]
        (quote(ask_size=None), "malformed"),
        (trade(price="NaN"), "not_finite"),
        (trade(size="-inf"), "not_finite"),
        (quote(bid="Infinity"), "not_finite"),
        (trade(size="1" + "0" * 18), "too_large"),
        (trade(price="1" + "0" * 12, size="1" + "0" * 6), "too_large"),
        (depth(bids=(("8", "1"), ("9", "1"))), "unsorted_depth"),
        (depth(bids=(("9", "1"), ("9.0", "1"))), "unsorted_depth"),
        (depth(asks=(("12", "1"), ("11", "1"))), "unsorted_depth"),
        (depth(asks=(("11", "1", "1"),)), "malformed"),
        (depth(asks=None), "malformed"),
        (depth(asks=tuple((str(price), "1") for price in range(10, 31))), "malformed"),
        (bar(high="7"), "impossible_bar"),
        (bar(close="12.5"), "impossible_bar"),
        (bar(open="7.9"), "impossible_bar"),
        (bar(close_time=0), "impossible_bar"),
        (bar(interval="2m"), "malformed"),
        (bar(trades=-1), "malformed"),
        (bar(trades=2**31), "malformed"),
        (day_ticker(high="7.9"), "impossible_bar"),
        (day_ticker(change="much"), "malformed"),
        (msgspec.structs.replace(trade(), ts=1.5), "malformed"),
        (msgspec.structs.replace(trade(), ts=-1), "malformed"),
        (msgspec.structs.replace(trade(), id=""), "malformed"),
        (msgspec.structs.replace(trade(), side="short"), "malformed"),
        (msgspec.structs.replace(trade(), symbol=["X"]), "malformed"),
        (None, "malformed"),
        ({"type": "trade"}, "malformed"),
    ],
)
def test_a_bad_tick_is_named_by_its_flaw(tick: Any, reason: str) -> None:
    assert flaw(tick) == reason
    assert reason in REASONS


@pytest.mark.parametrize("value", ["1.2.3", "nan"])
def test_reasons_of_bad_numbers_elsewhere_are_known_here(value: str) -> None:
    with pytest.raises(BadTick) as caught:
        plain(value)
    assert caught.value.reason in REASONS


junk = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2) | st.binary(max_size=3)


@settings(deadline=None)
@given(st.sampled_from([trade(), quote(), depth(), day_ticker(), bar()]), st.data())
def test_no_content_of_a_tick_breaks_the_check(tick: Any, data: st.DataObject) -> None:
    fields = st.sampled_from(tick.__struct_fields__)
    changes = data.draw(st.dictionaries(fields, junk, min_size=1, max_size=3))
    assert flaw(msgspec.structs.replace(tick, **changes)) in {None, *REASONS}


@settings(deadline=None)
@given(st.text(max_size=8), st.text(max_size=8))
def test_a_trade_without_flaw_survives_the_wire(price: str, size: str) -> None:
    tick = msgspec.structs.replace(trade(), price=price, size=size)
    if flaw(tick) is None:
        assert msgspec.json.decode(msgspec.json.encode(tick), type=Trade) == tick
