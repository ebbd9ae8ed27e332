"""Parts that the tests of the demo's tickers are built from."""

from __future__ import annotations

from marketdata.ticks import Kline
from marketdata.topics import Interval
from tests.unit.ingest_parts import NOW, bar

DAY_US = Interval.D1.length_us


def day_bar(symbol: str, close: str, days: int = 0, *, closed: bool = False) -> Kline:
    """The 1d bar that lies that many days from the one of `NOW`."""
    start = NOW + days * DAY_US
    return bar(
        symbol=symbol, ts=start + 1, interval=Interval.D1, open_time=start, close_time=start + DAY_US, close=close, closed=closed
    )
