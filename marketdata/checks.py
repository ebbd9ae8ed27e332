"""What a tick must be like to be believed: each flaw has a name, a code on the wire and a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from marketdata.ticks import Depth, Kline, Quote, Ticker, Trade
from marketdata.topics import Interval


class Reason(NamedTuple):
    """Why a tick is refused.

    Attributes:
        code: number on the wire, see `docs/protocol.md`.
        message: a sentence for whoever sent the tick.
    """

    code: int
    message: str


REASONS = {
    "unknown_instrument": Reason(120, "no instrument of this symbol is listed"),
    "inactive_instrument": Reason(120, "the instrument is not active"),
    "malformed": Reason(107, "a field is missing or not of its type; decimals are text in plain notation"),
    "not_finite": Reason(107, "a number is not finite"),
    "bad_price": Reason(107, "a price is zero or negative; an empty side of a quote has price 0 and size 0"),
    "negative_size": Reason(107, "a size, volume or turnover is negative"),
    "too_large": Reason(107, "price, size or their product is 10^18 or more"),
    "crossed": Reason(107, "the bid is above the ask"),
    "unsorted_depth": Reason(107, "a side of the book is not sorted best first, or repeats a price"),
    "impossible_bar": Reason(107, "low, high, open and close, or the times of the bar, contradict each other"),
    "out_of_order": Reason(107, "older than what this topic already has"),
    "future": Reason(107, "more than 60 s ahead of the clock"),
    "too_late": Reason(107, "a trade older than its symbol's bars can still take"),
}

MOST_LEVELS = 20
_MOST_US = 253_402_300_800_000_000
_MOST_COUNT = 2**31 - 1  # what the database takes
_LARGE = Decimal(10**18)
_NUMBERS = re.compile(r"(?:-?[0-9]{1,24}(?:\.[0-9]{1,24})? )*")
_NOT_FINITE = re.compile(r"\s*[+-]?(?:s?nan[0-9]*|inf(?:inity)?)\s*", re.IGNORECASE)


def flaw(tick: Any) -> str | None:
    """What is wrong with a tick taken by itself: a key of `REASONS`, or None.

    Anything at all may be given; what is no tick is `malformed`.
    """
    check = _CHECKS.get(type(tick))
    if check is None:
        return "malformed"
    try:
        if type(tick.symbol) is not str or type(tick.ts) is not int or not 0 <= tick.ts <= _MOST_US:
            return "malformed"
        return check(tick)
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        return "malformed"


def _unreadable(texts: Sequence[str]) -> str | None:
    joined = " ".join((*texts, ""))  # one match for all is several times as fast as one each
    if _NUMBERS.fullmatch(joined) and joined.count(" ") == len(texts):
        return None
    return "not_finite" if any(_NOT_FINITE.fullmatch(text) for text in texts) else "malformed"


def _quote(tick: Quote) -> str | None:
    texts = (tick.bid, tick.bid_size, tick.ask, tick.ask_size)
    if wrong := _unreadable(texts):
        return wrong
    bid, bid_size, ask, ask_size = map(Decimal, texts)
    if bid_size < 0 or ask_size < 0:
        return "negative_size"
    if bid < 0 or ask < 0 or (not bid and bid_size) or (not ask and ask_size):
        return "bad_price"
    return "crossed" if bid and ask and bid > ask else None


def _trade(tick: Trade) -> str | None:
    if not 1 <= len(tick.id) <= 64 or type(tick.id) is not str or tick.side not in ("buy", "sell", None):
        return "malformed"
    if wrong := _unreadable((tick.price, tick.size)):
        return wrong
    price, size = Decimal(tick.price), Decimal(tick.size)
    if price <= 0:
        return "bad_price"
    if size < 0:
        return "negative_size"
    return "too_large" if price >= _LARGE or size >= _LARGE or price * size >= _LARGE else None


def _depth(tick: Depth) -> str | None:
    if len(tick.bids) > MOST_LEVELS or len(tick.asks) > MOST_LEVELS:
        return "malformed"
    if wrong := _unreadable([text for side in (tick.bids, tick.asks) for price, size in side for text in (price, size)]):
        return wrong
    if any(size.startswith("-") and Decimal(size) for side in (tick.bids, tick.asks) for _, size in side):
        return "negative_size"
    bids, asks = ([Decimal(price) for price, _ in side] for side in (tick.bids, tick.asks))
    if min((*bids, *asks), default=1) <= 0:
        return "bad_price"
    if any(one <= two for one, two in pairwise(bids)) or any(one >= two for one, two in pairwise(asks)):
        return "unsorted_depth"
    return "crossed" if bids and asks and bids[0] > asks[0] else None


def _ticker(tick: Ticker) -> str | None:
    prices, sums = (tick.last, tick.open, tick.high, tick.low), (tick.volume, tick.turnover)
    changes = [text for text in (tick.prev_close, tick.change, tick.change_percent) if text is not None]
    if wrong := _unreadable([*prices, *sums, *changes]):
        return wrong
    if any(Decimal(text) < 0 for text in sums):
        return "negative_size"
    if any(Decimal(text) <= 0 for text in prices):
        return "bad_price"
    return "impossible_bar" if Decimal(tick.low) > Decimal(tick.high) else None


def _kline(tick: Kline) -> str | None:
    if wrong := _unreadable((tick.open, tick.high, tick.low, tick.close, tick.volume, tick.turnover)):
        return wrong
    if type(tick.interval) is not Interval or type(tick.closed) is not bool:
        return "malformed"
    if not (0 <= tick.trades <= _MOST_COUNT and 0 <= tick.revision <= _MOST_COUNT):
        return "malformed"
    if Decimal(tick.volume) < 0 or Decimal(tick.turnover) < 0:
        return "negative_size"
    start, end, low, high = Decimal(tick.open), Decimal(tick.close), Decimal(tick.low), Decimal(tick.high)
    if low <= 0:
        return "bad_price"
    possible = low <= min(start, end) and max(start, end) <= high and 0 <= tick.open_time < tick.close_time <= _MOST_US
    return None if possible else "impossible_bar"


_CHECKS: dict[type, Callable[[Any], str | None]] = {
    Quote: _quote, Trade: _trade, Depth: _depth, Ticker: _ticker, Kline: _kline,
}  # fmt: skip
