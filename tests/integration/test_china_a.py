"""A-share trades, played from a CSV file by the replay feed, make the minute line that was recorded beside them.

The minute line has 240 rows a day, each stamped with the start of its minute. It folds in what is traded outside of continuous
trading: the opening auction (09:25) into 09:30, the last seconds of the morning (11:30) into 13:00, the closing auction (15:00)
into 14:59. Our bars keep each trade in its own minute: those three rows are compared in sum.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from marketdata.feeds import FeedSettings, make
from marketdata.feeds.csv_file import CsvFile, CsvOptions
from marketdata.klines import Bars
from marketdata.recording import silently
from marketdata.ticks import Kline, Trade
from marketdata.topics import Interval

DATA = Path(__file__).parents[3] / "shared" / "data" / "china_a"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded A-share data (../shared/data/china_a) is not here")

COLUMNS = {"ts": "datetime", "size": "volume_lots"}
SHANGHAI = {"time_zone": "Asia/Shanghai", "volume_multiplier": 100}
FOLDED = {"01:30", "05:00", "06:59"}  # UTC
FIRST_DAY_ENDS = 1_549_036_800_000_000  # 2019-02-02 00:00 in Shanghai


async def minute_bars(name: str) -> dict[int, Kline]:
    """Closed 1m bars of 2019-02-01 by open time."""
    options = {"path": str(DATA / f"csv_{name}_trans.csv.gz"), "format": "csv-trades", "symbol": "000001.SZ", "speed": 0}
    mapping = {"columns": COLUMNS, "time_format": "%Y%m%d%H%M%S", **SHANGHAI}
    feed, bars, klines = make("replay", FeedSettings(options=options | mapping)), Bars("000001.SZ", "cn"), list[Kline]()
    async with asyncio.timeout(30), aclosing(feed.stream()) as batches:
        async for batch in batches:
            trades = [tick for tick in batch if isinstance(tick, Trade) and tick.ts < FIRST_DAY_ENDS]
            klines += bars.apply(trades)
            if len(trades) < len(batch):
                break
    klines += bars.advance(FIRST_DAY_ENDS)
    return {bar.open_time: bar for bar in klines if bar.interval is Interval.M1 and bar.closed}


def minute_line(name: str) -> dict[int, Trade]:
    """The recorded rows of 2019-02-01 by time. Price and volume are those of a trade, so they are read as such."""
    options = CsvOptions(symbol="000001.SZ", columns=COLUMNS, time_format="%Y%m%d%H%M", **SHANGHAI)  # type: ignore[arg-type]
    rows = CsvFile(DATA / f"csv_{name}_time.csv.gz", "csv-trades", options).read(silently)
    return {ts: tick for ts, tick in rows if isinstance(tick, Trade) and FIRST_DAY_ENDS - 86_400_000_000 <= ts < FIRST_DAY_ENDS}


def utc(ts: int) -> str:
    return f"{ts // 3_600_000_000 % 24:02}:{ts // 60_000_000 % 60:02}"


@pytest.mark.parametrize("name", ["SZ000001", "SZ000002"])
async def test_replayed_trades_make_the_recorded_minute_line(name: str) -> None:
    bars, line = await minute_bars(name), minute_line(name)
    assert len(line) == 240
    both = [ts for ts in sorted(bars.keys() & line.keys()) if utc(ts) not in FOLDED]
    assert len(both) > 230
    assert [(bars[ts].close, bars[ts].volume) for ts in both] == [(line[ts].price, line[ts].size) for ts in both]
    assert sum(int(bar.volume) for bar in bars.values()) == sum(int(row.size) for row in line.values())


async def test_the_day_ends_at_the_recorded_price() -> None:
    bars, line = await minute_bars("SZ000001"), minute_line("SZ000001")
    assert bars[max(bars)].close == line[max(line)].price == "11.200"
