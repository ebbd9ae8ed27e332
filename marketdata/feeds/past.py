"""What a simulated market did while nobody watched: bars, and a few trades that add up to them.

Drawn in a few strokes a bar: opens and closes follow the path that the live market continues; highs, lows and volumes are of
the right size, but not the sum of ticks that were never made.
"""

from __future__ import annotations

import math
from decimal import Decimal

from marketdata.feeds.market import DAY_US, Market
from marketdata.feeds.metronome import SECOND_US, Metronome, dollars
from marketdata.ticks import Kline, Trade, plain
from marketdata.topics import Interval

Source = Market | Metronome


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
    reach = 0.5 * market.profile.volatility * math.sqrt(length / 3 / DAY_US)  # what goes on between the points looked at
    high = max(first, last, *inner) * (1 + reach * shares[0])
    low = min(first, last, *inner) * (1 - reach * shares[1])
    busy = sum(market.day_shape(start + length * eighth // 8) for eighth in (1, 3, 5, 7)) / 4 * (0.6 + 0.8 * shares[2])
    trades = max(1, round(busy * market.profile.trades_per_s * length / SECOND_US))
    volume = market.size_text(trades * market.profile.trade_lots)
    turnover = float(volume) * (first + high + low + last) / 4 / 10**market.listing.price_decimals
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
        volume=shortest(volume),
        turnover=shortest(f"{turnover:.2f}"),
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
        turnover=shortest(dollars(turnover)),
        trades=count,
        closed=True,
    )


def day_trades(source: Source, start_us: int, now_us: int) -> list[Trade]:
    """A day so far in few trades: four for each quarter of an hour, then for each minute, then every one of the last minute.

    Args:
        start_us: when the day began.
        now_us: until when, inclusive.
    """
    trades, at = [], start_us
    for interval in (Interval.M15, Interval.M1):
        while at + interval.length_us <= now_us:
            trades += _strokes(past_bar(source, interval, at))
            at += interval.length_us
    return trades + source.trades(at - 1, now_us)


def _strokes(bar: Kline) -> list[Trade]:
    """Four trades that add up to a bar: its prices and its volume."""
    size = plain((Decimal(bar.volume) / 4).normalize())
    pause = (bar.close_time - bar.open_time) // 4
    extremes = (bar.low, bar.high) if Decimal(bar.close) > Decimal(bar.open) else (bar.high, bar.low)
    times = (bar.open_time, bar.open_time + pause, bar.open_time + 2 * pause, bar.close_time - 1)
    return [
        Trade(bar.symbol, ts, f"past-{ts}", price, size)
        for ts, price in zip(times, (bar.open, *extremes, bar.close), strict=True)
    ]


def shortest(number: str) -> str:
    """Sums are written as live bars write them, without zeros at the end."""
    return number.rstrip("0").rstrip(".") if "." in number else number
