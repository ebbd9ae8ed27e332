"""Recorded A-share trades make the minute line that was recorded beside them.

What the recordings are (found by comparing them, 2019-02-01): a row of the minute line is stamped with the START of its
minute, and there are 240 of them, 09:30–11:29 and 13:00–14:59. What is traded outside is folded in: the opening auction
(09:25) into 09:30, the last seconds of the morning (11:30) into 13:00, the closing auction (15:00) into 14:59. A minute
without trades repeats the last price. Our bars keep each trade in its own minute, so the test folds three bars.
Shenzhen agrees in all 240 rows. The Shanghai source cut its two recordings a few seconds apart: equal in sum, not in every row.
"""

from __future__ import annotations

import csv
import gzip
from datetime import datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from marketdata.klines import Bars
from marketdata.ticks import Kline, Trade
from marketdata.topics import Interval

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "china_a"
SHANGHAI = ZoneInfo("Asia/Shanghai")
LOT = 100
FOLDED = {"0925": "0930", "1130": "1300", "1500": "1459"}
SIDES = {"B": "buy", "S": "sell", "N": None}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the recordings of ../shared/data/china_a are not here")

Row = tuple[str, str, int]  # HHMM, close, volume in shares


def rows(name: str) -> list[dict[str, str]]:
    with gzip.open(FOLDER / f"csv_{name}.csv.gz", "rt") as lines:
        return [row for row in csv.DictReader(lines) if row["datetime"].startswith("20190201")]


def micros(text: str) -> int:
    return int(datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=SHANGHAI).timestamp()) * 1_000_000


@cache
def replayed(name: str) -> tuple[Kline, ...]:
    """Closed 1m bars of the day's trades, in batches of seven."""
    trades = [
        Trade(name, micros(row["datetime"]), str(n), row["price"], str(int(row["volume_lots"]) * LOT), SIDES[row["side"]])
        for n, row in enumerate(rows(f"{name}_trans"))
    ]
    bars, found = Bars(name, "cn"), []
    for start in range(0, len(trades), 7):
        found += bars.apply(trades[start : start + 7])
    found += bars.advance(micros("20190201160000"))
    return tuple(kline for kline in found if kline.interval is Interval.M1 and kline.closed)


def minute_line(name: str) -> list[Row]:
    """The recording's own minutes."""
    return [(row["datetime"][8:], row["price"], int(row["volume_lots"]) * LOT) for row in rows(f"{name}_time")]


def our_line(name: str) -> list[Row]:
    """Our bars as the recording writes them."""
    line = {hhmm: ("", 0) for hhmm, _, _ in minute_line(name)}
    for bar in replayed(name):
        hhmm = datetime.fromtimestamp(bar.open_time / 1e6, SHANGHAI).strftime("%H%M")
        hhmm = FOLDED.get(hhmm, hhmm)
        line[hhmm] = (bar.close, line[hhmm][1] + int(bar.volume))
    found, last = [], ""
    for hhmm, (close, volume) in line.items():
        last = close or last
        found.append((hhmm, last, volume))
    return found


@pytest.mark.parametrize("name", ["SZ000001", "SZ000002", "SZ000004", "SZ000005"])
def test_shenzhen_trades_make_the_recorded_minute_line(name: str) -> None:
    assert len(minute_line(name)) == 240
    assert our_line(name) == minute_line(name)


@pytest.mark.parametrize("name", ["SZ000001", "SZ000002"])
def test_bars_of_continuous_trading_equal_the_line_without_any_folding(name: str) -> None:
    ours = {datetime.fromtimestamp(bar.open_time / 1e6, SHANGHAI).strftime("%H%M"): bar for bar in replayed(name)}
    compared = [row for row in minute_line(name) if row[0] in ours and row[0] not in FOLDED.values()]
    assert len(compared) > 230
    assert compared == [(hhmm, ours[hhmm].close, int(ours[hhmm].volume)) for hhmm, _, _ in compared]


def test_shanghai_trades_agree_in_sum_and_in_three_rows_of_four() -> None:
    ours, theirs = our_line("SH600000"), minute_line("SH600000")
    assert sum(volume for _, _, volume in ours) == sum(volume for _, _, volume in theirs) == 191_193 * LOT
    equal = [one for one, two in zip(ours, theirs, strict=True) if one == two]
    assert len(equal) >= 180
    assert equal[:80] == theirs[:80]


@pytest.mark.parametrize("name", ["SZ000001", "SH600000"])
def test_no_flat_bars_over_the_lunch_break(name: str) -> None:
    assert all(bar.trades and not bar.revision for bar in replayed(name))
