"""The ccxt feed on recorded raw messages of Binance, which a stand-in serves to the unmodified library."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from marketdata.errors import BadFeedOptions, FeedError
from marketdata.feeds import FeedSettings, ccxt_feed, make
from marketdata.feeds.ccxt_exact import Digits, exact
from marketdata.feeds.ccxt_feed import CcxtFeed, CcxtOptions, quotes, trade
from marketdata.ticks import Depth, Quote, Tick, Trade

pro = pytest.importorskip("ccxt.pro", reason="the library of the ccxt feed is not installed: requirements-ccxt.txt")

from .standin_exchange import DEPTH, StandIn, messages, serving

DATA = Path(__file__).parents[3] / "shared" / "data" / "binance_raw"
DAYS = ("20240808", "20240809")
recorded = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded Binance messages (../shared/data/binance_raw) are not here")
pytestmark = pytest.mark.filterwarnings("ignore:enable_cleanup_closed:DeprecationWarning")  # ccxt asks aiohttp for it


@pytest.fixture(autouse=True)
async def nothing_is_left_behind() -> AsyncIterator[None]:
    """Fail when ccxt leaves a task, or an error that nobody saw."""
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    yield
    assert unseen == []
    assert [task for task in asyncio.all_tasks() if "ccxt" in str(task.get_coro())] == []


def files(symbol: str, *days: str) -> list[Path]:
    return [DATA / f"spot_{symbol.lower()}_{day}.jsonl.gz" for day in days]


def feed(venue: StandIn, *markets: str, **options: Any) -> CcxtFeed:
    fixed = {"exchange": "binance", "symbols": list(markets), "urls": venue.urls, "config": {"enableRateLimit": False}}
    made = make("ccxt", FeedSettings(options=fixed | options))
    assert isinstance(made, CcxtFeed)
    return made


async def taken(played: CcxtFeed, venue: StandIn) -> AsyncIterator[Tick]:
    """The ticks of a feed, one by one; the exchange learns that they were taken."""
    async with aclosing(played.stream()) as batches:  # type: ignore[type-var]
        async for batch in batches:
            for tick in batch:
                yield tick
                venue.taken(tick)


async def first(count: int, ticks: AsyncIterator[Tick], kind: type[Tick] = Trade) -> list[Any]:  # type: ignore[assignment]
    """The first ticks of a kind."""
    found: list[Tick] = []
    async with aclosing(ticks):  # type: ignore[type-var]
        async for tick in ticks:
            found += [tick] if isinstance(tick, kind) else []
            if len(found) >= count:
                break
    return found[:count]


class Truth:
    """What a recording says, in the plainest reading.

    Attributes:
        trades: (id, price, size, side, ts), in order.
        quotes: (bid, size, ask, size), in order.
        best: update id → the quote at that id.
        ids: ts of an update of the book → its id.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.trades: list[tuple[str, ...]] = []
        self.quotes: list[tuple[str, ...]] = []
        self.best: dict[int, tuple[str, ...]] = {}
        self.ids: dict[int, int] = {}
        for stream, raw in messages(*paths):
            if stream:
                getattr(self, "_" + stream.split("@")[1])(json.loads(raw)["data"])

    def _trade(self, said: dict[str, Any]) -> None:
        self.trades.append((str(said["t"]), said["p"], said["q"], "sell" if said["m"] else "buy", said["T"] * 1000))

    def _bookTicker(self, said: dict[str, Any]) -> None:
        self.quotes.append((said["b"], said["B"], said["a"], said["A"]))
        self.best[said["u"]] = self.quotes[-1]

    def _depth(self, said: dict[str, Any]) -> None:
        self.ids[said["E"] * 1000] = said["u"]

    def says(self, book: Depth) -> tuple[str, ...] | None:
        """The quote that was recorded at the book's update id, if one was."""
        return self.best.get(self.ids.get(book.ts, 0))


@cache
def said(symbol: str, *days: str) -> Truth:
    return Truth(files(symbol, *days))


def of_trade(tick: Trade) -> tuple[Any, ...]:
    return tick.id, tick.price, tick.size, tick.side, tick.ts


def of_quote(tick: Quote) -> tuple[str, ...]:
    return tick.bid, tick.bid_size, tick.ask, tick.ask_size


def best_of(tick: Depth) -> tuple[str, ...]:
    return *tick.bids[0], *tick.asks[0]


@recorded
async def test_trades_equal_the_recorded_ones_one_by_one() -> None:
    paths = files("BTCUSDT", DAYS[0])
    truth = said("BTCUSDT", DAYS[0])
    async with serving(paths) as venue:
        found = await first(len(truth.trades), taken(feed(venue, "BTC/USDT", types=["trade"]), venue))
    assert [of_trade(tick) for tick in found] == truth.trades
    assert len(found) > 9000


@recorded
async def test_trades_that_may_be_lost_are_announced(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(ccxt_feed, "TRADES_KEPT", 5)
    async with serving(files("BTCUSDT", DAYS[0])) as venue:
        await first(5, taken(feed(venue, "BTC/USDT", types=["trade"]), venue))
    assert "5 or more trades came at once" in caplog.text


@recorded
async def test_quotes_equal_the_recorded_ones_one_by_one() -> None:
    paths = files("BTCUSDT", DAYS[0])
    truth = said("BTCUSDT", DAYS[0])
    async with serving(paths) as venue:
        found = await first(4000, taken(feed(venue, "BTC/USDT", types=["quote"]), venue), Quote)
    assert [of_quote(tick) for tick in found] == truth.quotes[:4000]


@recorded
async def test_the_book_equals_the_recorded_quote_at_every_equal_update_id() -> None:
    paths = files("BTCUSDT", DAYS[0])
    truth = said("BTCUSDT", DAYS[0])
    async with serving(paths) as venue:
        found = await first(3400, taken(feed(venue, "BTC/USDT", types=["depth"]), venue), Depth)
    compared = [book for book in found if truth.says(book)]
    assert [best_of(book) for book in compared] == [truth.says(book) for book in compared]
    assert len(compared) > 500
    assert all(len(book.bids) == len(book.asks) == 20 for book in found)


@recorded
async def test_all_types_of_two_markets_come_through_one_feed() -> None:
    truths = {name: said(f"{name}USDT", DAYS[0]) for name in ("BTC", "ETH")}
    found: dict[str, list[Tick]] = {"BTC": [], "ETH": []}
    async with serving(files("BTCUSDT", DAYS[0]), files("ETHUSDT", DAYS[0]), streams=3) as venue:
        for tick in await first(6000, taken(feed(venue, "BTC/USDT", "ETH/USDT"), venue), Tick):  # type: ignore[arg-type]
            found[tick.symbol.removesuffix("-USDT")].append(tick)
    for name, ticks in found.items():
        check(ticks, truths[name])
    assert set(venue.subscribed) == {f"{name}usdt@{kind}" for name in ("btc", "eth") for kind in ("trade", "bookTicker", DEPTH)}


@recorded
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
async def test_the_whole_recording_comes_through_unchanged(symbol: str) -> None:
    paths = files(symbol, *DAYS)
    truth = said(symbol, *DAYS)
    expected = len(truth.trades) + len(truth.quotes) + len(truth.ids) - 10  # the last book may still be on its way
    async with serving(paths, streams=3) as venue:
        found = await first(expected, taken(feed(venue, f"{symbol[:3]}/USDT"), venue), Tick)  # type: ignore[arg-type]
    assert check(found, truth) > 1000


def check(ticks: list[Tick], truth: Truth) -> int:
    """Compare ticks with what was recorded; returns how many books there were to compare."""
    trades = [of_trade(tick) for tick in ticks if isinstance(tick, Trade)]
    best = [of_quote(tick) for tick in ticks if isinstance(tick, Quote)]
    books = [tick for tick in ticks if isinstance(tick, Depth) and truth.says(tick)]
    assert trades == truth.trades[: len(trades)]
    assert best == truth.quotes[: len(best)]
    assert [best_of(book) for book in books] == [truth.says(book) for book in books]
    assert trades
    assert best
    assert books
    return len(books)


@recorded
async def test_after_a_lost_connection_a_new_stream_goes_on_with_a_fresh_snapshot() -> None:
    paths = files("BTCUSDT", DAYS[0])
    truth = said("BTCUSDT", DAYS[0])
    found: list[Tick] = []
    async with serving(paths, streams=3) as venue:
        played = feed(venue, "BTC/USDT")
        found += await until_dropped(taken(played, venue), venue, after=1500)
        found += await until_dropped(taken(played, venue), venue, after=1500)
        found += await first(1500, taken(played, venue), Tick)  # type: ignore[arg-type]
    assert venue.snapshots == 3
    books = [tick for tick in found if isinstance(tick, Depth) and truth.says(tick)]
    assert [best_of(book) for book in books] == [truth.says(book) for book in books]
    assert len(books) > 20
    ids = [int(tick.id) for tick in found if isinstance(tick, Trade)]
    assert ids == sorted(set(ids))


@recorded
async def test_a_book_whose_sequence_was_lost_begins_anew_and_nothing_else_does() -> None:
    paths = files("BTCUSDT", DAYS[0])
    truth = said("BTCUSDT", DAYS[0])
    found: list[Tick] = []
    async with (
        serving(paths, streams=2) as venue,
        aclosing(taken(feed(venue, "BTC/USDT", types=["trade", "depth"]), venue)) as ticks,
    ):
        async for tick in ticks:
            found.append(tick)
            if len(found) in (600, 1800):
                venue.losing = 2
            if len(found) == 3000:
                break
        assert (venue.snapshots, venue.connections) == (3, 2)  # one connection for each type, as before
    books = [tick for tick in found if isinstance(tick, Depth) and truth.says(tick)]
    assert [best_of(book) for book in books] == [truth.says(book) for book in books]
    assert len(books) > 20
    trades = [of_trade(tick) for tick in found if isinstance(tick, Trade)]
    assert trades == truth.trades[: len(trades)]


class Books:
    """An exchange that hands over books, or errors, one after the other."""

    def __init__(self, *found: Any) -> None:
        self.found = list(found)

    async def watch_order_book(self, market: str, limit: int | None) -> Any:
        await asyncio.sleep(0)
        if isinstance(found := self.found.pop(0), Exception):
            raise found
        return {"timestamp": 1, "bids": [[str(found), "1"]], "asks": [["10", "1"]]}


async def watched(*found: Any) -> list[Depth]:
    """The books that came through before the watch failed."""
    put: list[Depth] = []
    options = CcxtOptions(exchange="binance")
    with pytest.raises((FeedError, pro.ChecksumError)):
        await ccxt_feed._watch_book(Books(*found), "X", "X/Y", options, put.extend)
    return put


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ccxt_feed.Backoff, "pause", lambda _: asyncio.sleep(0))


@pytest.mark.usefixtures("no_pauses")
async def test_a_book_that_cannot_be_kept_fails_the_feed() -> None:
    lost = [pro.ChecksumError("lost")] * ccxt_feed.ANEW
    assert len(await watched(*lost[1:], 9, 8, *lost)) == 2


async def test_a_book_that_stays_crossed_has_lost_its_sequence() -> None:
    assert [book.bids[0][0] for book in await watched(9, 11, 12, 8, 11, 11, 10)] == ["9", "11", "12", "8", "11", "11"]


async def until_dropped(ticks: AsyncIterator[Tick], venue: StandIn, after: int) -> list[Tick]:
    """Take ticks; lose the connection after so many, and see the feed fail."""
    found: list[Tick] = []

    async def take() -> None:
        async for tick in ticks:
            found.append(tick)
            if len(found) == after:
                venue.drop()

    with pytest.raises(FeedError, match="binance: NetworkError"):
        await take()
    return found


GARBAGE = {
    "cut_off": '{"stream":"btcusdt@trade","data":{"e":"trade","E":17231',
    "not_json": "<html><head><title>502 Bad Gateway</title></head><body>nothing to see here</body></html>",
    "a_price_that_is_none": '{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT","t":1,"T":1,"m":true,"p":"x","q":"1"}}',
    "a_list_of_nothing": "[1, 2]",
}


@recorded
@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_fails_the_feed_and_no_other(text: str) -> None:
    paths = files("BTCUSDT", DAYS[0])
    async with serving(paths, streams=2) as one, serving(paths, streams=2) as other:
        broken = taken(feed(one, "BTC/USDT", types=["trade", "quote"]), one)
        healthy = taken(feed(other, "BTC/USDT", types=["trade", "quote"]), other)
        await anext(broken)
        await anext(healthy)
        await one.say(text)
        with pytest.raises(FeedError):
            await first(10**9, broken)
        assert len(await first(200, healthy)) == 200


async def test_an_exchange_that_refuses_is_an_error() -> None:
    async with serving() as venue:
        venue.refuses = True
        with pytest.raises(FeedError, match="binance: DDoSProtection"):
            await anext(taken(feed(venue, "BTC/USDT"), venue))


async def test_an_exchange_that_cannot_be_reached_is_an_error() -> None:
    async with serving() as venue:
        played = feed(venue, "BTC/USDT")
    with pytest.raises(FeedError, match="binance: ExchangeNotAvailable"):
        await anext(taken(played, venue))


async def test_silence_is_an_error() -> None:
    async with serving() as venue:
        with pytest.raises(FeedError, match=r"nothing came for 0.2 s"):
            await anext(taken(feed(venue, "BTC/USDT", types=["trade"], silence_s=0.2), venue))


async def test_a_market_that_the_exchange_does_not_have_is_refused() -> None:
    async with serving() as venue:
        with pytest.raises(BadFeedOptions, match=r"^symbols: binance has no market 'BTC/EUR'"):
            await anext(taken(feed(venue, "BTC/USDT", "BTC/EUR"), venue))


@recorded
async def test_a_cancelled_feed_leaves_nothing_behind() -> None:
    async with serving(files("BTCUSDT", DAYS[0])) as venue:
        played = taken(feed(venue, "BTC/USDT"), venue)
        await anext(played)
        task = asyncio.create_task(first(10**9, played))
        await asyncio.sleep(0.05)  # wherever it is by then
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_listings_say_what_is_known_and_take_corrections() -> None:
    listings = {"*": {"price_decimals": 4}, "ETH-BTC": {"price_decimals": 6, "name": "Ether"}}
    made = make("ccxt", FeedSettings(options={"exchange": "binance", "symbols": ["BTC/USDT", "ETH/BTC"], "listings": listings}))
    btc, eth = made.listings()
    assert (btc.symbol, btc.kind, btc.venue, btc.currency, btc.price_decimals) == ("BTC-USDT", "crypto", "BINANCE", "USDT", 4)
    assert (eth.symbol, eth.name, eth.price_decimals) == ("ETH-BTC", "Ether", 6)


def test_the_row_of_the_feed_chooses_among_the_markets_or_names_them() -> None:
    chosen = make(
        "ccxt", FeedSettings(symbols=["ETH-USDT"], options={"exchange": "binance", "symbols": ["BTC/USDT", "ETH/USDT"]})
    )
    named = make("ccxt", FeedSettings(symbols=["ETH-USDT"], options={"exchange": "binance"}))
    assert [item.symbol for item in chosen.listings()] == [item.symbol for item in named.listings()] == ["ETH-USDT"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({}, "exchange: is required"),
        ({"exchange": "nowhere", "symbols": ["BTC/USDT"]}, "exchange: ccxt streams from no 'nowhere'"),
        ({"exchange": "binance"}, "symbols: name at least one"),
        ({"exchange": "binance", "symbols": ["BTC/USDT", "btc/usdt"]}, "symbols: 'btc/usdt'"),
        ({"exchange": "binance", "symbols": ["B!"]}, "symbols: 'B!'"),
        ({"exchange": "binance", "symbols": ["BTC/USDT"], "types": []}, "types: "),
        ({"exchange": "binance", "symbols": ["BTC/USDT"], "types": ["news"]}, "types: "),
        ({"exchange": "binance", "symbols": ["BTC/USDT"], "depth_limit": 5}, "depth_limit: "),
        ({"exchange": "binance", "symbols": ["BTC/USDT"], "market": "spot"}, "market: no such option"),
        (
            {"exchange": "binance", "symbols": ["BTC/USDT"], "config": {"httpProxi": "x"}},
            "config: ccxt has no setting 'httpProxi'",
        ),
        ({"exchange": "bitstamp", "symbols": ["BTC/USD"]}, "types: bitstamp streams no quote"),
    ],
)
def test_a_bad_option_is_refused_by_name(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(BadFeedOptions, match=f"^{wrong}"):
        make("ccxt", FeedSettings(options=options))


def test_without_the_library_the_error_names_the_file_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt.pro", None)
    with pytest.raises(FeedError, match=r"pip install -r requirements-ccxt.txt"):
        make("ccxt", FeedSettings(options={"exchange": "binance", "symbols": ["BTC/USDT"]}))


@pytest.mark.parametrize(("written", "plain"), [("1.500", "1.500"), ("1e-8", "0.00000001"), (0.1, "0.1"), (3, "3")])
def test_digits_stay_as_the_venue_wrote_them(written: Any, plain: str) -> None:
    found = trade("X", {"timestamp": 1, "price": Digits(written), "amount": Digits(Digits("2.0")), "side": "buy"})
    assert (found.price, found.size, found.ts) == (plain, "2.0", 1000)


def test_ccxt_reads_its_own_numbers_back_with_all_their_digits() -> None:
    exchange = exact(pro.kraken, pro.BadResponse)()
    said = exchange.safe_trade({"symbol": "X", "price": exchange.parse_number("1.50"), "amount": exchange.parse_number("2.0")})
    assert (str(said["price"]), str(said["amount"]), said["price"] > 1.4) == ("1.50", "2.0", True)
    assert exchange.safe_string({}, "price", "none") == "none"


def test_a_trade_without_an_id_is_named_by_what_is_known_of_it() -> None:
    said = {"timestamp": 1, "price": Digits("1.0"), "amount": Digits("2"), "side": None}
    assert trade("X", said) == trade("X", said)
    assert trade("X", said).id == "1000-1.0-2-None"


def test_an_empty_side_of_a_quote_is_zero() -> None:
    (quote,) = quotes(
        "X", {"timestamp": 1, "bid": None, "bidVolume": Digits("3"), "ask": Digits("2.50"), "askVolume": Digits("1")}
    )
    assert of_quote(quote) == ("0", "0", "2.50", "1")
    assert quotes("X", {"timestamp": 1, "bid": None, "ask": None}) == []
