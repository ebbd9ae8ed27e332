"""Builds klines and tickers from trades, event time, late trades revise.

Rules of this file:
1. The order of trades is that of the venue: event time, then id (a shorter id first, so that "9" precedes "10"). Arrival does
   not matter: the same trades, shuffled, repeated or cut into other batches, make the same closed bars.
2. Buckets are aligned to UTC. The one exception is the 1d bar of an instrument with trading sessions: it is the calendar day
   at its exchange (`DAY_ZONES`).
3. A bar closes when event time passes its end: by a trade of a later bucket, or by `advance`. A trade that comes later than
   that revises the bar: it is published again, closed, with `revision` + 1.
4. How late is too late: `LATE_US` before the newest trade's minute, or older than the ids that are still remembered (nobody
   could tell it from a duplicate then). Such a trade changes no bar.
5. Gap bars: where an instrument trades around the clock, every empty interval between two traded bars gets a flat bar (open =
   high = low = close = previous close, volume 0, trades 0, closed). They come when the later trade comes, never before: silence
   may be a dead feed. A hole of more than `MOST_GAP_BARS` stays. Instruments with trading sessions get none.
6. Sums are exact: they never depend on the order of adding. Only what is printed is rounded, to 24 decimals.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

import msgspec

from marketdata.ticks import Kline, Ticker, Trade
from marketdata.topics import Interval

LATE_US = 10 * 60_000_000
MOST_GAP_BARS = 1440
IDS = 4096  # remembered while the process lives …
IDS_DUMPED = 128  # … and over its end
DAY_ZONES = {"us": "America/New_York", "cn": "Asia/Shanghai"}
NEVER_US = 1 << 62

_INTERVALS = tuple(Interval)
_MINUTE_US = Interval.M1.length_us
_HOUR_US = Interval.H1.length_us
_FORMAT = 1
_EXACT = Context(prec=200)  # two numbers of 24 + 24 digits multiply to 96; the rest is room for sums
_DECIMALS = 24
_FINEST = Decimal(1).scaleb(-_DECIMALS)
_ZERO = Decimal(0)
_add, _multiply, _greater, _lesser = _EXACT.add, _EXACT.multiply, _EXACT.max, _EXACT.min

Order = tuple[int, int, str]  # ts, length of the id, id


class Sifted(NamedTuple):
    """A batch of trades by what becomes of each.

    Attributes:
        fresh: trades not seen before, each once.
        duplicates: positions in the batch of trades whose id was seen already.
        too_late: positions in the batch, see rule 4.
    """

    fresh: list[Trade]
    duplicates: list[int]
    too_late: list[int]


def bucket(ts: int, interval: Interval, session: str = "always") -> tuple[int, int]:
    """The bar that holds an instant.

    Args:
        ts: µs since the Unix epoch, UTC.
        interval: length of the bar.
        session: of the instrument, see `marketdata.instruments.SESSIONS`.

    Returns:
        (open_time, close_time) in µs; the close_time is the next bar's open_time.
    """
    if interval is Interval.D1 and session in DAY_ZONES:
        return _exchange_day(session, ts // _HOUR_US)
    length = interval.length_us
    start = ts - ts % length
    return start, start + length


@lru_cache(maxsize=4096)
def _exchange_day(session: str, hour: int) -> tuple[int, int]:
    """Midnight to midnight at the exchange, whose clock has been whole hours away from UTC since 1970: an hour is in one day."""
    zone = ZoneInfo(DAY_ZONES[session])
    day = datetime.fromtimestamp(hour * 3600, zone).date()
    midnights = (datetime(each.year, each.month, each.day, tzinfo=zone) for each in (day, day + timedelta(days=1)))
    start, end = (int(midnight.astimezone(UTC).timestamp()) * 1_000_000 for midnight in midnights)
    return start, end


def _digits(number: Decimal) -> str:
    text = str(number)
    return text if "E" not in text else format(number, "f")


def _sum_digits(number: Decimal) -> str:
    text = str(number)
    if len(text) > _DECIMALS + 2 or "E" in text:
        text = format(number.quantize(_FINEST, context=_EXACT), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


class _Bar(msgspec.Struct, array_like=True):
    """A bar being built. `closed` means that it was published as closed; a flat bar has no trades."""

    open_time: int
    close_time: int
    ts: int
    first: Order
    last: Order
    open: str
    close: str
    high: Decimal
    low: Decimal
    volume: Decimal = _ZERO
    turnover: Decimal = _ZERO
    trades: int = 0
    closed: bool = False
    revision: int = 0

    def add(self, part: _Bar) -> None:
        """Add the trades of another bar; the order of additions does not matter."""
        if part.first < self.first:
            self.first, self.open = part.first, part.open
        if part.last > self.last:
            self.last, self.close, self.ts = part.last, part.close, part.ts
        if part.high >= self.high:
            self.high = _greater(self.high, part.high)  # of 1.0 and 1.00 always the same
        if part.low <= self.low:
            self.low = _lesser(self.low, part.low)
        self.volume = _add(self.volume, part.volume)
        self.turnover = _add(self.turnover, part.turnover)
        self.trades += part.trades

    def fill(self, part: _Bar) -> None:
        """Give a flat bar its first trades."""
        self.first, self.last, self.open, self.close, self.ts = part.first, part.last, part.open, part.close, part.ts
        self.high, self.low, self.volume, self.turnover, self.trades = (
            part.high, part.low, part.volume, part.turnover, part.trades,
        )  # fmt: skip

    def kline(self, symbol: str, interval: Interval) -> Kline:
        """The bar as it is published."""
        return Kline(
            symbol=symbol,
            ts=self.ts,
            interval=interval,
            open_time=self.open_time,
            close_time=self.close_time,
            open=self.open,
            high=_digits(self.high),
            low=_digits(self.low),
            close=self.close,
            volume=_sum_digits(self.volume),
            turnover=_sum_digits(self.turnover),
            trades=self.trades,
            closed=self.closed,
            revision=self.revision,
        )


def _of_trade(trade: Trade, open_time: int) -> _Bar:
    price, size = Decimal(trade.price), Decimal(trade.size)
    order = (trade.ts, len(trade.id), trade.id)
    return _Bar(
        open_time, open_time + _MINUTE_US, trade.ts, order, order, trade.price, trade.price,
        price, price, size, _multiply(price, size), 1,
    )  # fmt: skip


def _flat(close: str, open_time: int, close_time: int) -> _Bar:
    order, price = (close_time, 0, ""), Decimal(close)
    return _Bar(open_time, close_time, close_time, order, order, close, close, price, price)


def _flats(previous: _Bar, until: int, length: int) -> list[_Bar]:
    return [_flat(previous.close, start, start + length) for start in range(previous.close_time, until, length)]


def _minutes(trades: Iterable[Trade]) -> list[_Bar]:
    """Sum trades up by minute: every longer bar is a sum of these."""
    minutes: dict[int, _Bar] = {}
    for trade in trades:
        start = trade.ts - trade.ts % _MINUTE_US
        part = _of_trade(trade, start)
        if start in minutes:
            minutes[start].add(part)
        else:
            minutes[start] = part
    return [minutes[start] for start in sorted(minutes)]


class _Lane:
    """The recent bars of one interval, oldest first. Only the last can be open."""

    def __init__(self, interval: Interval, bars: list[_Bar]) -> None:
        self.interval = interval
        self.bars = bars
        self._touched: set[int] = set()  # open_times of bars that changed since `settle`
        self._from = max(len(bars) - 1, 0)  # bars before this one have not changed
        self._ragged = False  # there may be holes, or flat bars with an old close

    def add(self, part: _Bar, session: str) -> None:
        """Add the trades of one minute to their bar."""
        last = self.bars[-1] if self.bars else None
        if last is not None and last.trades and last.open_time <= part.open_time < last.close_time:
            last.add(part)
            self._touched.add(last.open_time)
        else:
            self._place(part, *bucket(part.open_time, self.interval, session))

    def _place(self, part: _Bar, open_time: int, close_time: int) -> None:
        at = bisect_left(self.bars, open_time, key=lambda bar: bar.open_time)
        if at == len(self.bars) or self.bars[at].open_time != open_time:
            self.bars.insert(at, msgspec.structs.replace(part, open_time=open_time, close_time=close_time))
        elif self.bars[at].trades:
            self.bars[at].add(part)
        else:
            self.bars[at].fill(part)
        self._touched.add(open_time)
        self._from = min(self._from, at)
        self._ragged = True

    def fill_gaps(self) -> None:
        """Put flat bars between traded ones, and bring those that are there to their previous bar's close."""
        if not self._ragged:
            return
        length, start = self.interval.length_us, max(self._from, 1)
        filled = self.bars[:start]
        for bar in self.bars[start:]:
            previous = filled[-1]
            if 0 < bar.open_time - previous.close_time <= MOST_GAP_BARS * length:
                filled += _flats(previous, bar.open_time, length)
            if not bar.trades and bar.close != previous.close:
                bar.fill(_flat(previous.close, bar.open_time, bar.close_time))
                self._touched.add(bar.open_time)
            filled.append(bar)
        self.bars = filled

    def settle(self, clock_us: int) -> list[_Bar]:
        """What to publish now, oldest first: bars that changed and bars that are over."""
        due = []
        for bar in self.bars[self._from :]:
            over = bar.close_time <= clock_us
            if bar.open_time in self._touched or (over and not bar.closed):
                bar.revision += bar.closed
                bar.closed = over
                due.append(bar)
        self._touched.clear()
        self._from, self._ragged = max(len(self.bars) - 1, 0), False
        return due

    def forget(self, horizon_us: int) -> None:
        """Drop bars that no trade can change any more, all but the last of them: the next bar may need its close."""
        bars, old = self.bars, 0
        while old + 2 < len(bars) and bars[old + 1].close_time <= horizon_us:
            old += 1
        if old:
            del bars[:old]
            self._from = len(bars) - 1


class _Memory(msgspec.Struct, array_like=True):
    """What is left of `Bars` when a process ends."""

    format: int
    symbol: str
    session: str
    clock_us: int
    newest_us: int
    horizon_us: int
    ids: list[tuple[str, int]]
    lanes: list[list[_Bar]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Memory).decode


class Bars:
    """The bars of one symbol, all intervals, and which trades they have seen.

    Attributes:
        session: decides on gap bars and on the exchange's day.
        newest_us: event time of the newest trade; 0 before the first.
        next_close_us: when the next open bar is over; `NEVER_US` when none is open.
    """

    def __init__(self, symbol: str, session: str = "always") -> None:
        self._restore(_Memory(_FORMAT, symbol, session, 0, 0, 0, [], [[] for _ in _INTERVALS]))

    def _restore(self, memory: _Memory) -> None:
        self.symbol, self.session = memory.symbol, memory.session
        self.newest_us = memory.newest_us
        self._clock_us, self._horizon_us = memory.clock_us, memory.horizon_us
        self._ids = deque(memory.ids)
        self._known = {trade_id for trade_id, _ in memory.ids}
        self._lanes = [_Lane(interval, bars) for interval, bars in zip(_INTERVALS, memory.lanes, strict=True)]
        self.next_close_us = self._next_close()

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Continue from what `dump` wrote.

        Raises:
            ValueError: the bytes are no dump of this version.
        """
        memory = _decode(data)
        if memory.format != _FORMAT:
            raise ValueError(f"dump of format {memory.format}, expected {_FORMAT}")
        bars = cls.__new__(cls)
        bars._restore(memory)
        return bars

    def dump(self) -> bytes:
        """Everything needed to continue later, in a few KiB: the recent bars and the newest ids."""
        ids, horizon = self._ids, self._horizon_us
        if len(ids) > IDS_DUMPED:
            horizon = max(horizon, ids[-IDS_DUMPED - 1][1] + 1)
            newest = list(islice(reversed(ids), IDS_DUMPED))[::-1]
        else:
            newest = list(ids)
        lanes = [lane.bars for lane in self._lanes]
        return _encode(_Memory(_FORMAT, self.symbol, self.session, self._clock_us, self.newest_us, horizon, newest, lanes))

    def sift(self, trades: Iterable[Trade]) -> Sifted:
        """Tell trades that count from duplicates and from those that come too late. Changes nothing."""
        sifted, known, horizon = Sifted([], [], []), self._known, self._horizon_us
        here: set[str] = set()
        for at, trade in enumerate(trades):
            if trade.id in known or trade.id in here:
                sifted.duplicates.append(at)
            elif trade.ts < horizon:
                sifted.too_late.append(at)
            else:
                here.add(trade.id)
                sifted.fresh.append(trade)
        return sifted

    def apply(self, trades: Iterable[Trade]) -> list[Kline]:
        """Take a batch of trades of this symbol, in any order; duplicates and those that come too late change nothing.

        Returns:
            The klines to publish, by interval, oldest first: bars that the batch closed, closed bars that it revised, gap
            bars, and each open bar that it changed, once.
        """
        fresh = self.sift(trades).fresh
        if not fresh:
            return []
        parts = _minutes(fresh)
        for lane in self._lanes:
            for part in parts:
                lane.add(part, self.session)
            if self.session == "always":
                lane.fill_gaps()
        self.newest_us = max(self.newest_us, parts[-1].ts)
        klines = self._settle(max(self._clock_us, self.newest_us))
        self._remember(fresh)
        return klines

    def advance(self, watermark_us: int) -> list[Kline]:
        """Close the bars that are over at `watermark_us` although no later trade came.

        Returns:
            The closed klines, by interval.
        """
        if watermark_us < self.next_close_us:
            return []
        return self._settle(watermark_us)

    def _settle(self, clock_us: int) -> list[Kline]:
        self._clock_us = clock_us
        symbol = self.symbol
        klines = [bar.kline(symbol, lane.interval) for lane in self._lanes for bar in lane.settle(clock_us)]
        self.next_close_us = self._next_close()
        return klines

    def _next_close(self) -> int:
        newest = (lane.bars[-1] for lane in self._lanes if lane.bars)
        # Shorter bars lie in longer ones and are over no later: the first open one decides.
        return next((bar.close_time for bar in newest if not bar.closed), NEVER_US)

    def _remember(self, fresh: Sequence[Trade]) -> None:
        ids, horizon = self._ids, max(self._horizon_us, self.newest_us - self.newest_us % _MINUTE_US - LATE_US)
        ids.extend((trade.id, trade.ts) for trade in fresh)
        self._known.update(trade.id for trade in fresh)
        while ids and (len(ids) > IDS or ids[0][1] < horizon):
            trade_id, ts = ids.popleft()
            self._known.discard(trade_id)
            horizon = max(horizon, ts + 1)
        if horizon > self._horizon_us:
            self._horizon_us = horizon
            for lane in self._lanes:
                lane.forget(horizon)

    @property
    def day(self) -> Kline | None:
        """The newest 1d bar, None before the first trade."""
        days = self._lanes[-1].bars
        return days[-1].kline(self.symbol, Interval.D1) if days else None

    @property
    def previous_close(self) -> str | None:
        """Close of the 1d bar before `day`, None while there is none."""
        days = self._lanes[-1].bars
        return days[-2].close if len(days) > 1 else None


def ticker(symbol: str, day: Kline, previous_close: str | None) -> Ticker:
    """The session so far, from its 1d bar and the close of the one before.

    Returns:
        A ticker whose `prev_close`, `change` and `change_percent` (two decimals) are None where the previous close is unknown.
    """
    change = percent = None
    if previous_close is not None:
        before = Decimal(previous_close)
        difference = _EXACT.subtract(Decimal(day.close), before)
        change = _digits(difference)
        if before:
            percent = format(
                _EXACT.divide(_multiply(difference, Decimal(100)), before).quantize(Decimal("0.01"), context=_EXACT), "f"
            )
    return Ticker(
        symbol=symbol,
        ts=day.ts,
        last=day.close,
        open=day.open,
        high=day.high,
        low=day.low,
        prev_close=previous_close,
        change=change,
        change_percent=percent,
        volume=day.volume,
        turnover=day.turnover,
    )
