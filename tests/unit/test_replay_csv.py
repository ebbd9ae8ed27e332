"""CSV files in the replay feed: mapping of columns, times, sides, volumes, bad rows."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from marketdata.errors import BadFeedOptions
from marketdata.feeds import FeedSettings, make
from marketdata.feeds.replay import ReplayFeed
from marketdata.ticks import Kline, Trade
from marketdata.topics import Interval

from .test_replay import first

TRADES = "datetime,price,volume_lots,side\n20190201092502,11.200,15714,N\n20190201093002,11.210,1339,B\n20190201093005,11.2,2,S\n"
MAPPING = {"ts": "datetime", "size": "volume_lots"}


def us(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc]


def trades(path: Path, text: str, **options: Any) -> ReplayFeed:
    path.write_text(text)
    fixed = {"path": str(path), "format": "csv-trades", "symbol": "000001.SZ", "speed": 0}
    made = make("replay", FeedSettings(options=fixed | options))
    assert isinstance(made, ReplayFeed)
    return made


def bars(path: Path, text: str, **options: Any) -> ReplayFeed:
    return trades(path, text, format="csv-bars", **options)


async def test_columns_times_lots_and_sides_are_mapped(tmp_path: Path) -> None:
    options = {"columns": MAPPING, "time_format": "%Y%m%d%H%M%S", "time_zone": "Asia/Shanghai", "volume_multiplier": 100}
    assert await first(3, trades(tmp_path / "a.csv", TRADES, **options)) == [
        Trade("000001.SZ", us(2019, 2, 1, 1, 25, 2), "2", "11.200", "1571400", None),
        Trade("000001.SZ", us(2019, 2, 1, 1, 30, 2), "3", "11.210", "133900", "buy"),
        Trade("000001.SZ", us(2019, 2, 1, 1, 30, 5), "4", "11.2", "200", "sell"),
    ]


async def test_ids_symbols_and_words_for_sides_come_from_the_file_where_it_has_them(tmp_path: Path) -> None:
    text = "Symbol;TS;ID;Price;Size;Side\naapl;1700000000.25;x7;1e2;3;taker_buy\n"
    sides = {"taker_buy": "buy"}
    (tick,) = await first(1, trades(tmp_path / "a.csv", text, symbol="", delimiter=";", time_format="s", sides=sides))
    assert tick == Trade("AAPL", 1_700_000_000_250_000, "x7", "100", "3", "buy")


async def test_a_file_without_a_header_is_read_by_position(tmp_path: Path) -> None:
    text = "7.5,1700000000123,2\n"
    played = trades(tmp_path / "a.csv", text, header=False, time_format="ms", columns={"price": 0, "ts": 1, "size": 2})
    assert await first(1, played) == [Trade("000001.SZ", 1_700_000_000_123_000, "1", "7.5", "2", None)]


async def test_bad_rows_are_skipped_and_counted(tmp_path: Path) -> None:
    rows = ["ts,price,size", "10,1,1", "x,1,1", "12,abc,1", "13,1", "9,1,1", "-5,1,1", "", "14,inf,1", "15,2,1"]
    played = trades(tmp_path / "a.csv", "\n".join(rows), time_format="s")
    assert [tick.ts for tick in await first(2, played)] == [10_000_000, 15_000_000]
    assert played.skipped == {"a.csv": 6}


async def test_rows_can_be_put_in_order_first(tmp_path: Path) -> None:
    played = trades(tmp_path / "a.csv", "ts,price,size\n12,2,1\n11,1,1\n13,3,1\n", time_format="s", sort=True)
    assert [tick.price for tick in await first(3, played)] == ["1", "2", "3"]  # type: ignore[union-attr]
    assert not played.skipped


async def test_dates_without_a_time_are_bars_of_a_calendar_day(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Volume\n2013-03-09,1.0,2,0.5,1.5,100\n2013-03-10,1.5,2,1,1,50\n"
    first_day, day_of_the_clock_change = await first(
        2, bars(tmp_path / "a.csv", text, columns={"ts": "Date"}, time_zone="America/New_York")
    )
    assert first_day == Kline(
        symbol="000001.SZ",
        ts=us(2013, 3, 10, 5),
        interval=Interval.D1,
        open_time=us(2013, 3, 9, 5),
        close_time=us(2013, 3, 10, 5),
        open="1.0",
        high="2",
        low="0.5",
        close="1.5",
        volume="100",
        turnover="0",
        trades=0,
        closed=True,
    )
    assert isinstance(day_of_the_clock_change, Kline)
    assert day_of_the_clock_change.close_time == us(2013, 3, 11, 4)


async def test_bars_may_be_stamped_with_their_end(tmp_path: Path) -> None:
    text = "ts, open, high, low, close, volume, amount\n2017-3-3 13:22:0,1,2,1,2,5,9.5\n"
    options = {"interval": "1m", "bar_times": "close", "time_format": "%Y-%m-%d %H:%M:%S", "columns": {"turnover": "amount"}}
    (bar,) = await first(1, bars(tmp_path / "a.csv", text, **options))
    assert isinstance(bar, Kline)
    assert (bar.open_time, bar.close_time) == (us(2017, 3, 3, 13, 21), us(2017, 3, 3, 13, 22))
    assert (bar.turnover, bar.closed, str(bar.topic)) == ("9.5", True, "kline.1m.000001.SZ")


def test_tab_separated_files_need_no_delimiter(tmp_path: Path) -> None:
    assert trades(tmp_path / "a.tsv", "ts\tprice\tsize\n1\t2.50\t1\n", time_format="s").listings()[0].symbol == "000001.SZ"


def test_listings_have_as_many_decimals_as_the_values_need(tmp_path: Path) -> None:
    played = trades(tmp_path / "a.csv", "ts,price,size\n1,2.50,1\n2,2.12340,0.001\n", time_format="s")
    assert [(item.symbol, item.price_decimals, item.size_decimals) for item in played.listings()] == [("000001.SZ", 4, 3)]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"symbol": ""}, "symbol: is required"),
        ({"symbol": "lower"}, "symbol: is required"),
        ({"columns": {"price": "prize"}}, "columns: price: a.csv has no such column; it has ts, price, size"),
        ({"columns": {"price": 3}}, "columns: price"),
        ({"columns": {"prize": "price"}}, "columns: csv-trades has no field 'prize'"),
        ({"header": False}, "columns: ts"),
        ({"time_zone": "Mars/Base"}, "time_zone: "),
        ({"time_format": "when"}, "time_format: "),
        ({"volume_multiplier": 0}, "volume_multiplier: "),
        ({"volume_multiplier": "many"}, "volume_multiplier: "),
        ({"sides": {"B": "bought"}}, "sides: "),
        ({"delimiter": "::"}, "delimiter: "),
    ],
)
def test_a_bad_option_is_refused_by_name(tmp_path: Path, options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(BadFeedOptions, match=f"^{wrong}"):
        trades(tmp_path / "a.csv", "ts,price,size\n1,2,3\n", **options)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [({}, "interval: is required"), ({"interval": "2m"}, "interval: "), ({"interval": "1m", "restamp": True}, "restamp: ")],
)
def test_a_bad_option_for_bars_is_refused_by_name(tmp_path: Path, options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(BadFeedOptions, match=f"^{wrong}"):
        bars(tmp_path / "a.csv", "ts,open,high,low,close,volume\n2017-03-03 13:22:00,1,2,1,2,5\n", **options)
