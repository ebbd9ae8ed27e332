"""The demo's past: real daily bars of the stocks until 2013-03-01, simulated bars from then until now.

The real bars come from the file `stocks.csv.gz` of the package `bokeh_sampledata`, with their true dates. The day after the last
of them the simulator begins, at that day's close (`marketdata.feeds.past`); its instruments are marked as simulated.
A real bar has no turnover and no count of trades in that file: turnover is volume × (high + low + close) / 3, the count is 0.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from marketdata.feeds.market import DAY_US, GENESIS_US
from marketdata.feeds.metronome import SECOND_US
from marketdata.feeds.past import shortest
from marketdata.ticks import Kline, plain
from marketdata.topics import Interval

BARS = 400  # simulated ones of each interval
REAL = ("AAPL", "FB", "GOOG", "IBM", "MSFT")  # what the package has


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
        ts=start + DAY_US - 1,
        interval=Interval.D1,
        open_time=start,
        close_time=start + DAY_US,
        open=row["Open"],
        high=row["High"],
        low=row["Low"],
        close=row["Close"],
        volume=row["Volume"],
        turnover=shortest(plain(round((high + low + close) / 3 * volume, 2))),
        trades=0,
        closed=True,
    )


def past_opens(symbol: str, interval: Interval, now_us: int) -> range:
    """Open times of the bars that the simulator adds: the last `BARS` closed ones, of daily bars all since the real ones ended.

    The minute in progress is among them: the feed that begins a moment later replaces it, unless that is in the next minute.
    """
    length = interval.length_us
    end = now_us // length * length
    start = GENESIS_US if symbol in REAL and interval is Interval.D1 else end - BARS * length
    return range(start, end + length if interval is Interval.M1 else end, length)
