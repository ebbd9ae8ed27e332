"""Live exchanges through ccxt.pro: trades, best bid and ask, and order books, in the venue's own digits."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from importlib import import_module
from typing import Annotated, Any, Literal

import msgspec

from marketdata.backoff import Backoff
from marketdata.errors import BadFeedOptions, BadTick, FeedError
from marketdata.feeds import Batch, FeedSettings, Listing, register
from marketdata.feeds.ccxt_exact import Digits, Exchange, exact
from marketdata.feeds.options import Listings, corrected, read_options
from marketdata.ticks import Depth, Quote, Tick, Trade, plain
from marketdata.topics import SYMBOL

log = logging.getLogger(__name__)

LEVELS = 20
ANEW = 5  # times in a row that a book may begin anew before the whole connection does
CROSSED = 3  # books in a row whose bid is not below their ask: some change of it never came
TRADES_KEPT = 10_000  # by ccxt, until they are fetched; its own default of 1,000 is less than a burst
Kind = Literal["trade", "quote", "depth"]


class CcxtOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the kind `ccxt`.

    Attributes:
        exchange: ccxt's id of the exchange, such as `binance`.
        symbols: markets in ccxt's spelling, such as `BTC/USDT`; empty: those of the feed's row.
        types: what is asked for.
        market_type: ccxt's `defaultType`: `spot`, `swap`, `future` …
        depth_limit: how deep a book ccxt is to keep; none: the exchange's default. We publish the best 20 levels of it. ccxt cuts
            the book to that depth each time, so levels run out as the price moves: leave room.
        silence_s: how long nothing at all may come before the connection is held to be dead.
        urls: replaces addresses, in the shape of ccxt's own `urls`; for proxies and tests.
        config: anything else for ccxt's constructor.
        listings: symbol, or `"*"` for all → what is better known of the instrument.
    """

    exchange: str
    symbols: list[str] = []
    types: Annotated[tuple[Kind, ...], msgspec.Meta(min_length=1)] = ("trade", "quote", "depth")
    market_type: str = "spot"
    depth_limit: Annotated[int, msgspec.Meta(ge=LEVELS)] | None = None
    silence_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    urls: dict[str, Any] = {}
    config: dict[str, Any] = {}
    listings: Listings = {}


class CcxtFeed:
    """A streaming feed of one exchange."""

    name = "ccxt"
    simulated = False

    def __init__(self, settings: FeedSettings) -> None:
        self.options = read_options(CcxtOptions, settings.options)
        self._ccxt = _library()
        if self.options.exchange not in self._ccxt.exchanges:
            raise BadFeedOptions(f"exchange: ccxt streams from no {self.options.exchange!r}")
        self._class = exact(getattr(self._ccxt, self.options.exchange), self._ccxt.BadResponse)
        self._markets = _markets(self.options.symbols, settings.symbols)
        self._watches = _watches(self._connection(), self.options.types)

    def listings(self) -> list[Listing]:
        """The chosen markets. Decimals are a guess until the operator corrects them: exchanges tell only when asked."""
        venue = self.options.exchange.upper()
        found = [Listing(symbol, market, "crypto", venue, _currency(market), 2, 8) for symbol, market in self._markets.items()]
        return corrected(found, self.options.listings)

    async def stream(self) -> AsyncIterator[Batch]:
        """Connect and yield what comes, in order. Of quotes and books that were not fetched in time only the newest are left.

        Raises:
            FeedError: the exchange refused, went away, fell silent or sent garbage.
        """
        exchange = self._connection()
        try:
            await self._check(exchange)
            async with aclosing(self._merged(exchange)) as batches:
                async for batch in batches:
                    yield batch
        except self._ccxt.BaseError as error:
            raise FeedError(f"{self.options.exchange}: {type(error).__name__}: {str(error)[:300]}") from error
        except TimeoutError:
            raise FeedError(f"{self.options.exchange}: nothing came for {self.options.silence_s:g} s") from None
        finally:
            await exchange.close()

    def _connection(self) -> Exchange:
        chosen, config = self.options, self.options.config
        if unknown := [name for name in config if not hasattr(self._class, name)]:
            raise BadFeedOptions(f"config: ccxt has no setting {unknown[0]!r}")
        options = {"defaultType": chosen.market_type, "tradesLimit": TRADES_KEPT}
        exchange = self._class(self._class.deep_extend({"urls": chosen.urls, "options": options}, config))
        fetched = exchange.options.get("fetchMarkets") or {}
        if chosen.market_type == "spot" and "types" in fetched and "fetchMarkets" not in config.get("options", {}):
            fetched["types"] = ["spot"]  # else several megabytes of other markets
        return exchange

    async def _check(self, exchange: Exchange) -> None:
        await exchange.load_markets()
        for market in self._markets.values():
            if market not in exchange.markets:
                raise BadFeedOptions(f"symbols: {self.options.exchange} has no market {market!r}")

    async def _merged(self, exchange: Exchange) -> AsyncGenerator[Batch]:
        waiting = _Waiting()
        watches = [(symbol, market, watch) for symbol, market in self._markets.items() for watch in self._watches]
        tasks = [
            asyncio.create_task(watch(exchange, symbol, market, self.options, waiting.put)) for symbol, market, watch in watches
        ]
        for task in tasks:
            task.add_done_callback(waiting.wake)
        try:
            while True:
                async with asyncio.timeout(self.options.silence_s):
                    batch = await waiting.take()
                if batch:
                    yield batch
                for task in filter(asyncio.Task.done, tasks):
                    if task.cancelled():  # by ccxt, which cancels what waits on a connection that it closes
                        raise FeedError(f"{self.options.exchange}: connection closed")
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _Waiting:
    """Ticks that came and were not fetched: every trade, the newest quote and book of each symbol, in order."""

    def __init__(self) -> None:
        self._ticks: dict[tuple[type, str, str], Tick] = {}
        self._arrived = asyncio.Event()

    def put(self, ticks: Iterable[Tick]) -> None:
        """Add ticks."""
        for tick in ticks:
            key = (type(tick), tick.symbol, tick.id if isinstance(tick, Trade) else "")
            self._ticks.pop(key, None)  # so that the new one goes to the end
            self._ticks[key] = tick
        if self._ticks:
            self._arrived.set()

    def wake(self, _: asyncio.Task[None]) -> None:
        """Have `take` return although nothing came."""
        self._arrived.set()

    async def take(self) -> list[Tick]:
        """Wait for ticks and take them all."""
        await self._arrived.wait()
        self._arrived.clear()
        taken = list(self._ticks.values())
        self._ticks.clear()
        return taken


Put = Callable[[Iterable[Tick]], None]
Watch = Callable[[Exchange, str, str, CcxtOptions, Put], Coroutine[Any, Any, None]]


async def _watch_trades(exchange: Exchange, symbol: str, market: str, _: CcxtOptions, put: Put) -> None:
    while True:
        fresh = await exchange.watch_trades(market)
        if len(fresh) >= TRADES_KEPT:
            log.warning("ccxt: %s: %d or more trades came at once; the oldest of them may be lost", symbol, TRADES_KEPT)
        put([trade(symbol, found) for found in fresh])


async def _watch_bids_asks(exchange: Exchange, symbol: str, market: str, _: CcxtOptions, put: Put) -> None:
    # One market a call: of several that change together ccxt hands over only the first.
    while True:
        found = await exchange.watch_bids_asks([market])
        put(quotes(symbol, exchange.bidsasks.get(market) or found[market]))  # it may have changed since the call was woken


async def _watch_ticker(exchange: Exchange, symbol: str, market: str, _: CcxtOptions, put: Put) -> None:
    while True:
        found = await exchange.watch_ticker(market)
        put(quotes(symbol, exchange.tickers.get(market) or found))


async def _watch_book(exchange: Exchange, symbol: str, market: str, options: CcxtOptions, put: Put) -> None:
    """A book whose sequence was lost begins anew from a snapshot, where ccxt notices; else the whole connection does."""
    anew = Backoff(f"ccxt: {options.exchange}: the book of {symbol} begins anew", log, attempts=ANEW, healthy_s=60)
    crossed = 0
    while True:
        try:
            book = depth(symbol, await exchange.watch_order_book(market, options.depth_limit))
        except _library().InvalidNonce as error:  # ccxt has forgotten the book; watching it again fetches a snapshot
            anew.failed(type(error).__name__)
            if anew.exhausted:
                raise
            await anew.pause()
            continue
        anew.over()
        crossed = crossed + 1 if _is_crossed(book) else 0
        if crossed == CROSSED:
            raise FeedError(f"{options.exchange}: the book of {symbol} is crossed: its sequence was lost")
        put([book])


def _is_crossed(book: Depth) -> bool:
    return bool(book.bids and book.asks) and float(book.bids[0][0]) >= float(book.asks[0][0])


def trade(symbol: str, found: Mapping[str, Any]) -> Trade:
    """A trade from ccxt's; `side` there is the taker's. Where the venue gives no id, what it says of the trade is the id."""
    side = found.get("side")
    ts, price, size = _micros(found), _number(found, "price"), _number(found, "amount")
    name = found.get("id") or f"{ts}-{price}-{size}-{side}"
    return Trade(symbol=symbol, ts=ts, id=str(name)[:64], price=price, size=size, side=side if side in ("buy", "sell") else None)


def quotes(symbol: str, found: Mapping[str, Any]) -> list[Quote]:
    """The quote in one of ccxt's tickers, if it has one; price and size of an empty side are `"0"`."""
    if found.get("bid") is None and found.get("ask") is None:
        return []
    (bid, bid_size), (ask, ask_size) = (
        (_number(found, side), _number(found, f"{side}Volume", "0")) if found.get(side) is not None else ("0", "0")
        for side in ("bid", "ask")
    )
    return [Quote(symbol=symbol, ts=_micros(found), bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size)]


def depth(symbol: str, book: Mapping[str, Any]) -> Depth:
    """The best 20 levels of one of ccxt's books."""
    bids, asks = (tuple((_text(level[0]), _text(level[1])) for level in book[side][:LEVELS]) for side in ("bids", "asks"))
    return Depth(symbol=symbol, ts=_micros(book), bids=bids, asks=asks)


def _number(found: Mapping[str, Any], name: str, absent: str | None = None) -> str:
    value = found.get(name)
    value = absent if value is None else value
    if value is None:
        raise FeedError(f"{name} is missing: {str(found.get('info'))[:200]}")
    return _text(value)


def _text(value: Any) -> str:
    try:
        return plain(value.text if type(value) is Digits else value)
    except BadTick as error:
        raise FeedError(str(error)) from None


def _micros(found: Mapping[str, Any]) -> int:
    """The venue's event time, which ccxt gives in ms; the time of arrival where the venue gives none."""
    milliseconds = found.get("timestamp")
    return int(milliseconds) * 1000 if milliseconds else time.time_ns() // 1000


def _library() -> Any:
    try:
        return import_module("ccxt.pro")
    except ImportError as error:
        raise FeedError(f"the kind ccxt needs a library: pip install -r requirements-ccxt.txt ({error})") from error


def _markets(spelled: list[str], chosen: Iterable[str]) -> dict[str, str]:
    """Our symbol → ccxt's: `BTC-USDT` → `BTC/USDT`. The feed's row chooses among the options, or stands for them."""
    markets: dict[str, str] = {}
    for market in spelled or [symbol.replace("-", "/", 1) for symbol in chosen]:
        symbol = re.sub(r"[/:]", "-", market.upper())
        if not SYMBOL.fullmatch(symbol) or symbol in markets:
            raise BadFeedOptions(f"symbols: {market!r} cannot become a symbol of its own")
        markets[symbol] = market
    if spelled and chosen:
        markets = {symbol: market for symbol, market in markets.items() if symbol in set(chosen)}
    if not markets:
        raise BadFeedOptions("symbols: name at least one market, such as 'BTC/USDT'")
    return markets


def _watches(exchange: Exchange, types: Iterable[Kind]) -> list[Watch]:
    able: dict[Kind, dict[str, Watch]] = {
        "trade": {"watchTrades": _watch_trades},
        "quote": {"watchBidsAsks": _watch_bids_asks, "watchTicker": _watch_ticker},
        "depth": {"watchOrderBook": _watch_book},
    }
    watches = []
    for kind in dict.fromkeys(types):
        found = next((watch for name, watch in able[kind].items() if exchange.has.get(name)), None)
        if found is None:
            raise BadFeedOptions(f"types: {exchange.id} streams no {kind}")
        watches.append(found)
    return watches


def _currency(market: str) -> str:
    return re.split(r"[/:]", market)[1].upper() if "/" in market else ""


@register("ccxt")
def make(settings: FeedSettings) -> CcxtFeed:
    """Make the feed.

    Raises:
        BadFeedOptions: an option is wrong.
        FeedError: the library is missing.
    """
    return CcxtFeed(settings)
