"""The demo's feeds: what outsiders may rely on."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from marketdata.errors import BadFeedOptions
from marketdata.feeds import FeedSettings, PolledFeed, StreamingFeed, make
from marketdata.feeds.market import Market
from marketdata.feeds.metronome import Metronome
from marketdata.feeds.simulated import BATCH_US, STREAMED, sources
from marketdata.ticks import Depth, Quote, Trade, body, from_body

NOW_US = 1_795_386_560_000_000
SECOND_US = 1_000_000
LENGTH_US = 20 * SECOND_US
ALL = sources(FeedSettings())


@pytest.fixture(scope="module", params=ALL, ids=lambda source: source.listing.symbol)
def source(request):
    return request.param


@pytest.fixture(scope="module")
def ticks(source):
    return source.events(NOW_US, NOW_US + LENGTH_US)


def test_there_are_stocks_coins_a_shares_and_test_all_marked_as_simulated():
    listings = [source.listing for source in ALL]
    symbols = {listing.symbol for listing in listings}
    assert len(symbols) == 14
    assert {"AAPL", "GOOG", "IBM", "MSFT", "FB", "BTC-USDT", "ETH-USDT", "600519.SH", "000001.SZ", "TEST"} <= symbols
    assert all(listing.simulated and listing.session == "always" for listing in listings)


def test_any_process_makes_the_same_market(source, ticks):
    again = next(each for each in sources(FeedSettings()) if each.listing == source.listing)
    assert again.events(NOW_US, NOW_US + LENGTH_US) == ticks


def test_another_seed_makes_another_market():
    other = sources(FeedSettings(symbols=["AAPL"], options={"seed": 8}))[0]
    assert other.events(NOW_US, NOW_US + SECOND_US) != Market(STREAMED[0], 7).events(NOW_US, NOW_US + SECOND_US)


def test_cutting_time_into_batches_loses_and_repeats_nothing(source, ticks):
    edges = range(NOW_US, NOW_US + LENGTH_US + 1, BATCH_US)
    assert [tick for since, now in itertools.pairwise(edges) for tick in source.events(since, now)] == ticks


def test_events_come_in_order(ticks):
    times = [tick.ts for tick in ticks]
    assert times == sorted(times)


def test_trade_ids_are_unique_and_grow(ticks):
    ids = [int(tick.id) for tick in ticks if isinstance(tick, Trade)]
    assert ids
    assert ids == sorted(set(ids))


def test_bid_is_below_ask_and_books_are_sorted_and_full(ticks):
    for tick in ticks:
        if isinstance(tick, Quote):
            assert Decimal(tick.bid) < Decimal(tick.ask)
        if isinstance(tick, Depth):
            prices = [Decimal(price) for price, _ in (*reversed(tick.bids), *tick.asks)]
            assert prices == sorted(set(prices))
            assert len(tick.bids) == len(tick.asks) == (5 if tick.symbol == "TEST" else 20)


def test_best_of_the_book_is_the_quote(ticks):
    for quote, depth in itertools.pairwise(ticks):
        if isinstance(depth, Depth) and isinstance(quote, Quote) and quote.ts == depth.ts:
            assert (depth.bids[0], depth.asks[0]) == ((quote.bid, quote.bid_size), (quote.ask, quote.ask_size))


def test_every_trade_is_at_the_bid_or_ask_of_the_newest_quote(ticks):
    quote = None
    for tick in ticks:
        if isinstance(tick, Quote):
            quote = tick
        elif isinstance(tick, Trade) and quote:
            assert tick.price == (quote.ask if tick.side == "buy" else quote.bid)
            assert Decimal(tick.size) <= Decimal(quote.ask_size if tick.side == "buy" else quote.bid_size)


def test_values_are_on_the_instruments_grid(source, ticks):
    for tick in ticks:
        assert from_body(type(tick).type, body(tick)) == tick
        if isinstance(tick, Trade):
            assert len(tick.price.partition(".")[2]) == source.listing.price_decimals
            assert len(tick.size.partition(".")[2]) == source.listing.size_decimals


def test_a_shares_trade_in_lots_of_100():
    for source in sources(FeedSettings(), streamed=False):
        for tick in source.events(NOW_US, NOW_US + 20 * SECOND_US):
            if isinstance(tick, Trade):
                assert int(tick.size) % 100 == 0


def test_buyers_prevail_when_the_price_rises():
    market = Market(STREAMED[5], 7)
    trades = [tick for tick in market.events(NOW_US, NOW_US + 120 * SECOND_US) if isinstance(tick, Trade)]
    agree = sum((market.mid(trade.ts + 100_000) > market.mid(trade.ts)) == (trade.side == "buy") for trade in trades)
    assert agree / len(trades) > 0.6


def test_about_two_hundred_ticks_a_second_over_the_day():
    day = range(NOW_US, NOW_US + 86_400 * SECOND_US, 3600 * SECOND_US)
    made = sum(len(source.events(start, start + SECOND_US)) for source in ALL for start in day)
    assert 150 <= made / len(day) <= 250


def test_metronome_keeps_to_its_formula():
    n = 1_795_386_563
    quote, depth, trade = Metronome().events((n - 1) * SECOND_US, n * SECOND_US)
    assert trade == Trade("TEST", n * SECOND_US, str(n), "100.63", "4", "sell")
    assert quote == Quote("TEST", n * SECOND_US, "100.63", "100", "100.64", "200")
    assert depth.bids[4] == ("100.59", "500")


def test_metronome_beats_once_a_second_whatever_the_batches():
    edges = range(NOW_US - 500_000, NOW_US + 10 * SECOND_US, BATCH_US)
    ticks = [tick for since, now in itertools.pairwise(edges) for tick in Metronome().events(since, now)]
    first = NOW_US // SECOND_US
    assert [int(tick.id) for tick in ticks if isinstance(tick, Trade)] == [*range(first, first + 10)]


def test_streamed_symbols_and_polled_ones_are_all_symbols():
    streamed, polled = (make(kind, FeedSettings()) for kind in ("demo", "demo-cn"))
    assert isinstance(streamed, StreamingFeed)
    assert isinstance(polled, PolledFeed)
    assert {each.symbol for feed in (streamed, polled) for each in feed.listings()} == {each.listing.symbol for each in ALL}


async def test_stream_follows_the_clock_without_a_hole():
    now_ns = NOW_US * 1000

    def clock() -> int:
        nonlocal now_ns
        now_ns += 30_000_000
        return now_ns

    feed = make("demo", FeedSettings(symbols=["TEST", "AAPL"]))
    ticks = []
    async for batch in feed.stream(clock):
        ticks += batch
        if batch[-1].ts > NOW_US + 3 * SECOND_US:
            break
    assert ticks == feed.events(ticks[0].ts - 1, ticks[-1].ts)


async def test_stream_goes_on_from_now_after_a_long_sleep():
    times = iter([NOW_US, NOW_US + BATCH_US, NOW_US + 3600 * SECOND_US])
    feed = make("demo", FeedSettings(symbols=["TEST"]))
    batch = await anext(feed.stream(lambda: next(times) * 1000))
    assert {tick.ts for tick in batch} == {NOW_US + 3600 * SECOND_US}


def test_poll_tells_what_happened_since_the_last_one():
    feed = make("demo-cn", FeedSettings())
    whole = feed.poll(NOW_US + 2 * SECOND_US, NOW_US)
    assert whole == [*feed.poll(NOW_US + SECOND_US, NOW_US), *feed.poll(NOW_US + 2 * SECOND_US, NOW_US + SECOND_US)]


def test_poll_after_a_long_pause_is_bounded():
    feed = make("demo-cn", FeedSettings())
    assert feed.poll(NOW_US, NOW_US - 3600 * SECOND_US)[0].ts > NOW_US - 6 * SECOND_US


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (FeedSettings(options={"sede": 1}), "sede"),
        (FeedSettings(options={"seed": "x"}), "seed"),
        (FeedSettings(symbols=["NOPE"]), "NOPE"),
    ],
)
def test_what_the_demo_does_not_have_is_refused_by_name(settings, named):
    with pytest.raises(BadFeedOptions, match=named):
        make("demo", settings)
