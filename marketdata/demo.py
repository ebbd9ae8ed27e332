"""The demo's past: real daily bars of the stocks until 2013-03-01, simulated bars from then until now.

The real bars come from the file `stocks.csv.gz` of the package `bokeh_sampledata`, with their true dates. The day after the last
of them the simulator begins, at that day's close; its instruments are marked as simulated. What it did before Tickwire was
installed is drawn here in a few strokes a bar: opens and closes follow the simulator's path, so that the first live trade
continues the last bar; highs, lows and volumes are of the right size but not the sum of ticks that were never made.
A real bar has no turnover and no count of trades in that file: turnover is volume × (high + low + close) / 3, the count is 0.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import math
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from marketdata.feeds.market import GENESIS_US, Market
from marketdata.feeds.simulated import SECOND_US, Metronome, Source, dollars
from marketdata.ticks import Kline, plain
from marketdata.topics import Interval

BARS = 400  # simulated ones of each interval
REAL = ("AAPL", "FB", "GOOG", "IBM", "MSFT")  # what the package has
_DAY_US = Interval.D1.length_us


def real_bars() -> list[Kline]:
    """The real daily bars of the symbols `REAL`.

    Raises:
        FileNotFoundError: the package `bokeh_sampledata` is not installed.
    """
    with gzip.open(_sample_file(), "rt", newline="") as lines:
        return [_real_bar(row) for row in csv.DictReader(lines)]


def _sample_file() -> Path:
    spec = importlib.util.find_spec("bokeh_sampledata")  # found, not imported: importing it needs pandas
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package bokeh_sampledata is not installed")
    return Path(spec.origin).parent / "_data" / "stocks.csv.gz"


def _real_bar(row: dict[str, str]) -> Kline:
    start = int(datetime.fromisoformat(row["Date"]).replace(tzinfo=UTC).timestamp()) * SECOND_US
    high, low, close, volume = (Decimal(row[name]) for name in ("High", "Low", "Close", "Volume"))
    return Kline(
        symbol=row["Ticker"],
        ts=start + _DAY_US - 1,
        interval=Interval.D1,
        open_time=start,
        close_time=start + _DAY_US,
        open=row["Open"],
        high=row["High"],
        low=row["Low"],
        close=row["Close"],
        volume=row["Volume"],
        turnover=plain(round((high + low + close) / 3 * volume, 2)),
        trades=0,
        closed=True,
    )


def past_opens(symbol: str, interval: Interval, now_us: int) -> range:
    """Open times of the closed bars that the simulator adds: `BARS`, or the daily ones since the real ones ended."""
    length = interval.length_us
    end = now_us // length * length
    return range(GENESIS_US if symbol in REAL and interval is Interval.D1 else end - BARS * length, end, length)


def past_bar(source: Source, interval: Interval, open_time: int) -> Kline:
    """One closed bar of a simulated instrument."""
    if isinstance(source, Market):
        return _market_bar(source, interval, open_time)
    return _metronome_bar(interval, open_time)


def _market_bar(market: Market, interval: Interval, start: int) -> Kline:
    length = interval.length_us
    first, last = (market.mid(edge, finest_us=length >> 11) for edge in (start, start + length))
    inner = [market.mid(start + length * third // 3, finest_us=length >> 3) for third in (1, 2)]
    shares = market.past_numbers(length, start)
    reach = 0.5 * market.profile.volatility * math.sqrt(length / 3 / _DAY_US)  # what goes on between the points looked at
    high = max(first, last, *inner) * (1 + reach * shares[0])
    low = min(first, last, *inner) * (1 - reach * shares[1])
    busy = sum(market.day_shape(start + length * eighth // 8) for eighth in (1, 3, 5, 7)) / 4 * (0.6 + 0.8 * shares[2])
    trades = max(1, round(busy * market.profile.trades_per_s * length / SECOND_US))
    volume = market.size_text(trades * market.profile.trade_lots)
    turnover = f"{float(volume) * (first + high + low + last) / 4 / 10**market.listing.price_decimals:.2f}"
    return Kline(
        symbol=market.listing.symbol,
        ts=start + length - 1,
        interval=interval,
        open_time=start,
        close_time=start + length,
        open=market.price_text(first),
        high=market.price_text(high),
        low=market.price_text(low),
        close=market.price_text(last),
        volume=volume,
        turnover=turnover,
        trades=trades,
        closed=True,
    )


def _metronome_bar(interval: Interval, start: int) -> Kline:
    """What TEST's trades add up to: price and size repeat every 100 s, of which all intervals above a minute are multiples."""
    length = interval.length_us
    first, count = start // SECOND_US, length // SECOND_US
    seconds = range(first, first + min(count, 100))
    prices, sizes = [Metronome.cents(n) for n in seconds], [Metronome.size(n) for n in seconds]
    times = count // len(seconds)
    turnover = times * sum(price * size for price, size in zip(prices, sizes, strict=True))
    return Kline(
        symbol="TEST",
        ts=start + length - SECOND_US,
        interval=interval,
        open_time=start,
        close_time=start + length,
        open=dollars(prices[0]),
        high=dollars(max(prices)),
        low=dollars(min(prices)),
        close=dollars(prices[-1]),
        volume=str(times * sum(sizes)),
        turnover=dollars(turnover),
        trades=count,
        closed=True,
    )
