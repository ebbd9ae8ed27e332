"""The demo's feeds: eleven symbols and TEST that stream, two A-shares that are polled, all made by arithmetic.

Its stocks trade around the clock, so that a visitor always sees movement; their day is that of UTC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import msgspec

from marketdata.errors import BadFeedOptions
from marketdata.feeds import Batch, FeedSettings, Listing, register
from marketdata.feeds.market import Market, Profile
from marketdata.feeds.metronome import Metronome
from marketdata.feeds.options import read_options
from marketdata.feeds.past import Source, day_trades
from marketdata.ticks import Trade

BATCH_US = 50_000
CATCH_UP_US = 5_000_000  # after a pause longer than this the market goes on from now instead of being made up for

_stock = partial(Listing, kind="stock", currency="USD", price_decimals=2, size_decimals=0, simulated=True)
_coin = partial(Listing, kind="crypto", venue="DEMO", currency="USDT", simulated=True)
_share = partial(Listing, kind="stock", currency="CNY", price_decimals=2, size_decimals=0, simulated=True)
_coin_profile = partial(Profile, density=0.6)
_share_profile = partial(Profile, lot=100, trades_per_s=2.0, step_us=250_000, volatility=0.016)

# The stocks' anchors are the last closes of bokeh_sampledata; mean trade sizes give about the daily volume of that time.
STREAMED = (
    Profile(_stock("AAPL", "Apple", venue="NASDAQ"), 430.47, 0.018, spread=4, trade_lots=57, touch_lots=400, density=0.7),
    Profile(_stock("FB", "Facebook", venue="NASDAQ"), 27.78, 0.022, spread=1, trade_lots=160, touch_lots=2500, density=0.95),
    Profile(_stock("GOOG", "Google", venue="NASDAQ"), 806.19, 0.016, spread=14, trade_lots=13, touch_lots=120, density=0.5),
    Profile(_stock("IBM", "IBM", venue="NYSE"), 202.91, 0.013, spread=3, trade_lots=12, touch_lots=200),
    Profile(_stock("MSFT", "Microsoft", venue="NASDAQ"), 27.95, 0.016, spread=1, trade_lots=100, touch_lots=3000, density=0.95),
    _coin_profile(
        _coin("BTC-USDT", "Bitcoin", price_decimals=1, size_decimals=4), 60_000.0, 0.024, spread=2, trade_lots=500,
        touch_lots=9000, trades_per_s=7.0, step_us=100_000,
    ),
    _coin_profile(
        _coin("ETH-USDT", "Ether", price_decimals=2, size_decimals=3), 2500.0, 0.028, spread=2, trade_lots=800,
        touch_lots=14_000, trades_per_s=6.0, step_us=100_000,
    ),
    _coin_profile(_coin("SOL-USDT", "Solana", price_decimals=2, size_decimals=2), 140.0, 0.034, 1, 1200, 20_000),
    _coin_profile(_coin("BNB-USDT", "BNB", price_decimals=2, size_decimals=3), 560.0, 0.026, 3, 1500, 20_000),
    _coin_profile(_coin("XRP-USDT", "XRP", price_decimals=4, size_decimals=0), 0.55, 0.030, 1, 900, 20_000),
    _coin_profile(_coin("DOGE-USDT", "Dogecoin", price_decimals=5, size_decimals=0), 0.12, 0.034, 1, 4000, 90_000),
)  # fmt: skip
POLLED = (
    _share_profile(
        _share("600519.SH", "Kweichow Moutai", venue="SSE"), 1650.0, spread=4, trade_lots=2, touch_lots=8, density=0.5
    ),
    _share_profile(_share("000001.SZ", "Ping An Bank", venue="SZSE"), 11.5, spread=1, trade_lots=12, touch_lots=900),
)


class _Demo:
    """What both demo feeds have in common: their sources."""

    simulated = True

    def __init__(self, name: str, sources: Sequence[Source]) -> None:
        self.name = name
        self.sources = sources

    def listings(self) -> Sequence[Listing]:
        """The instruments that this feed brings."""
        return [source.listing for source in self.sources]

    def past(self, symbol: str, start_us: int, now_us: int) -> Sequence[Trade]:
        """See `FeedWithPast.past`."""
        return next(day_trades(source, start_us, now_us) for source in self.sources if source.listing.symbol == symbol)

    def events(self, since_us: int, now_us: int) -> Batch:
        """What happened to all symbols, by event time."""
        ticks = [tick for source in self.sources for tick in source.events(since_us, now_us)]
        ticks.sort(key=lambda tick: tick.ts)
        return ticks


class DemoStream(_Demo):
    """Streams what happens, in batches at whole multiples of `BATCH_US`."""

    async def stream(self, clock: Callable[[], int] = time.time_ns) -> AsyncIterator[Batch]:
        """Yield the market as it happens; never ends.

        Args:
            clock: nanoseconds since the Unix epoch.
        """
        since = _boundary(clock())
        while True:
            await asyncio.sleep(max(0, since + BATCH_US - clock() // 1000) / 1e6)
            now = _boundary(clock())
            if not since <= now <= since + CATCH_UP_US:
                since = now - BATCH_US  # the clock was set, or the process slept
            batch, since = self.events(since, now), now
            if batch:
                yield batch


class DemoPoll(_Demo):
    """Tells what happened when asked."""

    def __init__(self, name: str, sources: Sequence[Source], interval_s: float) -> None:
        super().__init__(name, sources)
        self.interval_s = interval_s

    def poll(self, now_us: int, since_us: int) -> Batch:
        """See `PolledFeed.poll`."""
        return self.events(max(since_us, now_us - CATCH_UP_US), now_us)


class DemoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator may choose.

    Attributes:
        seed: another number, another market.
    """

    seed: int = 7


def _boundary(now_ns: int) -> int:
    return now_ns // 1000 // BATCH_US * BATCH_US


def sources(settings: FeedSettings, *, streamed: bool = True, polled: bool = True) -> list[Source]:
    """The chosen symbols' sources.

    Raises:
        BadFeedOptions: an option or a symbol that the demo does not have.
    """
    seed = read_options(DemoOptions, settings.options).seed
    profiles = (STREAMED if streamed else ()) + (POLLED if polled else ())
    every: list[Source] = [Market(profile, seed) for profile in profiles]
    if streamed:
        every.append(Metronome())
    if unknown := sorted(set(settings.symbols) - {source.listing.symbol for source in every}):
        raise BadFeedOptions(f"symbols: this feed has no {', '.join(unknown)}")
    return [source for source in every if not settings.symbols or source.listing.symbol in settings.symbols]


@register("demo", derive=["kline"])  # tickers come from the feed `demo-tickers`
def _streaming(settings: FeedSettings) -> DemoStream:
    return DemoStream("demo", sources(settings, polled=False))


@register("demo-cn", polled=True, derive=["kline"])
def _polled(settings: FeedSettings) -> DemoPoll:
    return DemoPoll("demo-cn", sources(settings, streamed=False), settings.interval_s or 0.5)
