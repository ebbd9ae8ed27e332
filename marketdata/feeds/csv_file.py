"""CSV files of trades or bars, read into ticks by a declared mapping of their columns (pure)."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec

from marketdata.errors import BadFeedOptions, BadTick
from marketdata.feeds import Listing
from marketdata.recording import Played, Skip, lines, silently
from marketdata.ticks import Kline, Side, Trade, plain
from marketdata.topics import SYMBOL, Interval

SAMPLE = 20_000  # rows that are looked at to learn the symbols and decimals of a file
TRADES, BARS = "csv-trades", "csv-bars"
_NEEDED = {TRADES: ("ts", "price", "size"), BARS: ("ts", "open", "high", "low", "close", "volume")}
_POSSIBLE = {TRADES: ("symbol", "id", "side"), BARS: ("symbol", "turnover", "trades")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}
_TIME_OF_DAY = re.compile(r"%[HIpMScXT]")
_SIDES: dict[str, Side | None] = {"buy": "buy", "b": "buy", "sell": "sell", "s": "sell"}


class CsvOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a CSV file is to be read.

    Attributes:
        symbol: symbol of every row; needed unless there is a `symbol` column.
        columns: field → name or index (from 0) of its column; a field that is not named here is looked for under its own name.
        header: whether the first line names the columns.
        delimiter: one character; empty: a tab in `.tsv` files, else a comma.
        time_format: `iso`, a number of `s`, `ms` or `us` since 1970, or a pattern of `strptime`.
        time_zone: zone of times that name none.
        interval: length of the bars; not needed for dates without a time of day, which are days.
        bar_times: whether a bar's time is that of its opening or of its closing.
        volume_multiplier: what one unit of the file's size or volume is worth, such as 100 for lots.
        sides: the file's word → `buy`, `sell` or null; empty: buy, sell, b and s in either case.
        sort: put the rows in order of time first, in memory; else rows that go back in time are skipped.
    """

    symbol: str = ""
    columns: dict[str, str | int] = {}
    header: bool = True
    delimiter: Annotated[str, msgspec.Meta(max_length=1)] = ""
    time_format: str = "iso"
    time_zone: str = "UTC"
    interval: Interval | None = None
    bar_times: Literal["open", "close"] = "open"
    volume_multiplier: int | float | str = 1
    sides: dict[str, Side | None] = {}
    sort: bool = False


class CsvFile:
    """One file and how to read it.

    Args:
        path: the file; gzipped when it ends in `.gz`.
        kind: `csv-trades` or `csv-bars`.
        options: see `CsvOptions`.

    Raises:
        BadFeedOptions: the file does not have what the options name.
        FeedError: the file cannot be read.
    """

    def __init__(self, path: Path, kind: str, options: CsvOptions) -> None:
        self.path = path
        self._options = options
        self._delimiter = options.delimiter or ("\t" if ".tsv" in path.suffixes else ",")
        self._at = self._columns(kind)
        self._time = _time(options)
        self._multiplier = _multiplier(options)
        self._sides = {word.lower(): side for word, side in (options.sides or _SIDES).items()}
        self._make: Callable[[Sequence[str], int], Trade | Kline] = self._trade
        if kind == BARS:
            self._interval = options.interval or self._days()
            self._make = self._bar

    def listings(self) -> list[Listing]:
        """The symbols of its first 20,000 rows, with as many decimals as their values need."""
        decimals: dict[str, tuple[int, int]] = {}
        for _, tick in islice(self._ticks(silently), SAMPLE):
            price, size = (tick.price, tick.size) if isinstance(tick, Trade) else (tick.close, tick.volume)
            most = decimals.get(tick.symbol, (2, 0))
            decimals[tick.symbol] = max(most[0], _decimals(price)), max(most[1], _decimals(size))
        return [Listing(symbol, symbol, "stock", "", "USD", price, size) for symbol, (price, size) in decimals.items()]

    def read(self, skip: Skip) -> Iterator[Played]:
        """The file's ticks in order of time, each with its event time; rows that are malformed or go back in time are skipped."""
        found = self._ticks(skip)
        if self._options.sort:
            yield from sorted(((tick.ts, tick) for _, tick in found), key=itemgetter(0))
            return
        latest = 0
        for number, tick in found:
            if tick.ts < latest:
                skip(number, "is older than the row before it; the option `sort` puts rows in order")
                continue
            latest = tick.ts
            yield latest, tick

    def _ticks(self, skip: Skip) -> Iterator[tuple[int, Trade | Kline]]:
        for number, row in self._rows(skip):
            try:
                yield number, self._make(row, number)
            except IndexError:
                skip(number, "has too few columns")
            except (BadTick, ValueError, OverflowError, InvalidOperation) as error:
                skip(number, str(error))

    def _rows(self, skip: Skip, *, header: bool = False) -> Iterator[tuple[int, list[str]]]:
        text = (line.decode("utf-8-sig", "replace") for _, line in lines(self.path, skip))
        reader = csv.reader(text, delimiter=self._delimiter)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                skip(reader.line_num, str(error))
                continue
            if row and (header or not self._options.header or reader.line_num > 1):
                yield reader.line_num, [cell.strip() for cell in row]

    def _columns(self, kind: str) -> dict[str, int]:
        needed, possible = _NEEDED[kind], _POSSIBLE[kind]
        for name in self._options.columns:
            if name not in (*needed, *possible):
                raise BadFeedOptions(f"columns: {kind} has no field {name!r}; it has {', '.join((*needed, *possible))}")
        _, names = next(self._rows(silently, header=True), (0, []))
        at = {name: self._column(name, names) for name in (*needed, *possible)}
        missing = [name for name in needed if at[name] is None]
        if missing:
            raise BadFeedOptions(f"columns: {missing[0]}: {self.path.name} has no such column; it has {', '.join(names)}")
        if at["symbol"] is None and not SYMBOL.fullmatch(self._options.symbol):
            raise BadFeedOptions("symbol: is required, such as 'AAPL', where no column holds it")
        return {name: index for name, index in at.items() if index is not None}

    def _column(self, field: str, names: list[str]) -> int | None:
        named = self._options.columns.get(field)
        if isinstance(named, int):
            return named if 0 <= named < len(names) else None
        if not self._options.header:
            return None
        wanted = (named or field).lower()
        return next((index for index, name in enumerate(names) if name.lower() == wanted), None)

    def _days(self) -> Interval:
        pattern = self._options.time_format
        _, first = next(self._rows(silently), (0, []))
        date_only = (
            len(first[self._at["ts"]]) <= len("2013-03-01") if first and pattern == "iso" else not _TIME_OF_DAY.search(pattern)
        )
        if date_only and pattern not in _UNITS:
            return Interval.D1
        raise BadFeedOptions("interval: is required for bars that carry a time of day")

    def _symbol(self, row: Sequence[str]) -> str:
        if "symbol" not in self._at:
            return self._options.symbol
        symbol = row[self._at["symbol"]].upper()
        if not SYMBOL.fullmatch(symbol):
            raise ValueError(f"{symbol!r} is not a symbol")
        return symbol

    def _size(self, text: str) -> str:
        return plain(text) if self._multiplier == 1 else plain(Decimal(text) * self._multiplier)

    def _trade(self, row: Sequence[str], number: int) -> Trade:
        at = self._at
        return Trade(
            symbol=self._symbol(row),
            ts=_micros(self._time(row[at["ts"]])),
            id=row[at["id"]] if "id" in at else str(number),
            price=plain(row[at["price"]]),
            size=self._size(row[at["size"]]),
            side=self._sides.get(row[at["side"]].lower()) if "side" in at else None,
        )

    def _bar(self, row: Sequence[str], _number: int) -> Kline:
        at = self._at
        opened, closed = self._span(self._time(row[at["ts"]]))
        return Kline(
            symbol=self._symbol(row),
            ts=closed,
            interval=self._interval,
            open_time=opened,
            close_time=closed,
            open=plain(row[at["open"]]),
            high=plain(row[at["high"]]),
            low=plain(row[at["low"]]),
            close=plain(row[at["close"]]),
            volume=self._size(row[at["volume"]]),
            turnover=plain(row[at["turnover"]]) if "turnover" in at else "0",
            trades=int(row[at["trades"]]) if "trades" in at else 0,
            closed=True,
        )

    def _span(self, time: datetime) -> tuple[int, int]:
        # A day is a day of the calendar, 23 to 25 hours long: adding to a zoned datetime keeps the hour on the wall.
        length = timedelta(days=1) if self._interval is Interval.D1 else timedelta(microseconds=self._interval.length_us)
        if self._interval is not Interval.D1:
            time = time.astimezone(UTC)
        first, last = (time, time + length) if self._options.bar_times == "open" else (time - length, time)
        return _micros(first), _micros(last)


def _time(options: CsvOptions) -> Callable[[str], datetime]:
    try:
        zone = ZoneInfo(options.time_zone)
    except (KeyError, ValueError, OSError):
        raise BadFeedOptions(f"time_zone: there is no zone {options.time_zone!r}") from None
    pattern = options.time_format
    if unit := _UNITS.get(pattern):
        return lambda text: _EPOCH + timedelta(microseconds=int(Decimal(text) * unit))
    if pattern != "iso" and "%" not in pattern:
        raise BadFeedOptions("time_format: must be iso, s, ms, us or a pattern such as %Y%m%d%H%M%S")

    def zoned(text: str) -> datetime:
        time = datetime.fromisoformat(text) if pattern == "iso" else datetime.strptime(text, pattern)  # noqa: DTZ007  the zone follows
        return time if time.tzinfo else time.replace(tzinfo=zone)

    return zoned


def _multiplier(options: CsvOptions) -> Decimal:
    try:
        multiplier = Decimal(plain(options.volume_multiplier))
    except BadTick:
        multiplier = Decimal(0)
    if multiplier <= 0:
        raise BadFeedOptions("volume_multiplier: must be a number above 0")
    return multiplier


def _micros(time: datetime) -> int:
    micros = (time - _EPOCH) // timedelta(microseconds=1)
    if micros < 0:
        raise ValueError(f"{time:%Y-%m-%d} is before 1970")
    return micros


def _decimals(number: str) -> int:
    return len(number.partition(".")[2].rstrip("0"))
