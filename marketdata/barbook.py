"""The bars of all symbols as this process knows them, derived from trades and kept in step with the store.

Rules of this file:
1. Ticks, what is derived from them and the new state of the bars are published in one step, and only if nobody else changed
   that state since it was read. Who comes second reads it again and derives again: two processes may take trades of a symbol.
2. What is remembered of a symbol never runs ahead of the store: a batch that was not published is forgotten again.
3. A store that lost its memory gets this process's state back.
4. Trades that the store has had already are left out, though this process never saw them: they are nobody's twice.
5. What does not fit into one step is owed, and goes out before anything else does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from marketdata.batch import Mark, State
from marketdata.errors import Conflict, Repeated, StoreUnavailable
from marketdata.klines import Bars, ticker
from marketdata.outage import Outage
from marketdata.steps import Known, Load, Publish, Steps
from marketdata.ticks import Kline, Tick, Trade
from marketdata.topics import Interval

log = logging.getLogger(__name__)

LAGGING_US = 60_000_000  # trades that come later than this after their event are a recording's, not live ones
ATTEMPTS = 5
MOST_UPDATES = 5000  # in one call of the store, which serves nobody else meanwhile
MOST_SYMBOLS = 1000

Trades = dict[str, dict[int, Trade]]  # symbol → index in the batch → trade


@dataclass
class Batch:
    """What is published in one step.

    Attributes:
        ticks: those that were brought, by index.
        klines, tickers: what was derived from them.
        states: of the bars, by symbol.
        duplicates: indices of trades that had been published before.
        too_late: indices of trades that the bars cannot take any more.
    """

    ticks: dict[int, Tick] = field(default_factory=dict)
    klines: list[Kline] = field(default_factory=list)
    tickers: list[Tick] = field(default_factory=list)
    states: dict[str, State] = field(default_factory=dict)
    duplicates: list[int] = field(default_factory=list)
    too_late: list[int] = field(default_factory=list)

    def closed(self) -> list[Kline]:
        """The closed bars, derived and brought."""
        brought = [tick for tick in self.ticks.values() if type(tick) is Kline]
        return [kline for kline in (*self.klines, *brought) if kline.closed]


@dataclass
class _Entry:
    """One symbol.

    Attributes:
        bars: as of the last trade.
        version, value: of the state in the store, when last read or written.
        lagging: its trades come so late that the clock says nothing about its bars.
    """

    bars: Bars
    version: int
    value: bytes
    lagging: bool = False


def state_key(symbol: str) -> str:
    """Where the store keeps a symbol's bars."""
    return f"bars:{symbol}"


class Barbook:
    """Derives klines and tickers.

    Attributes:
        own: symbol and interval of klines that a feed brings itself; they are not derived.
        underived: trades published without touching their bars, because other writers were quicker every time.
    """

    def __init__(self, session_of: Callable[[str], str], derive: Collection[str]) -> None:
        """Take the parts.

        Args:
            session_of: a symbol's trading session.
            derive: `kline`, `ticker`, both or neither. With neither, trades go by unseen.
        """
        self.own: set[tuple[str, Interval]] = set()
        self.underived = 0
        self._session_of = session_of
        self._derive = frozenset(derive)
        self._entries: dict[str, _Entry] = {}
        self._owed: list[Tick] = []
        self._contention = Outage("deriving bars", log)

    def publish(self, ticks: dict[int, Tick], now_us: int, mark: Mark | None = None) -> Steps[Batch]:
        """Publish ticks with all that follows from the trades among them.

        Args:
            ticks: believed ones, by index in their batch.
            now_us: wall clock.
            mark: makes it safe to give the same ticks again when nobody knows whether they were published.

        Returns:
            What was published.
        """
        left, repeats = dict(ticks), []
        while True:
            try:
                batch = yield from self._publish_derived(left, now_us, mark)
            except Repeated as error:
                repeats += error.places
                for index in error.places:
                    del left[index]
            else:
                batch.duplicates += repeats
                if batch.too_late:
                    yield from _tell_repeats(batch, ticks)
                return batch

    def _publish_derived(self, ticks: dict[int, Tick], now_us: int, mark: Mark | None) -> Steps[Batch]:
        trades = _trades(ticks) if self._derive else {}
        if missing := [symbol for symbol in trades if symbol not in self._entries]:
            yield from self._read(missing)
        batch = yield from self._publish(trades, partial(self._derived, ticks, trades, now_us), mark)
        if batch is None:
            self._contention.failed("other processes keep changing the same bars; trades are published without them")
            batch, fresh = self._sifted(ticks, trades)
            yield from _say(batch, list(batch.ticks.values()), mark)
            self.underived += sum(map(len, fresh.values()))
        elif trades:
            self._contention.over()
        return batch

    def advance(self, watermark_us: int) -> Steps[list[Kline]]:
        """Close the bars that were over at `watermark_us`; lagging symbols are left to their trades.

        Returns:
            The closed klines.
        """
        closed: list[Kline] = []
        entries = self._entries.items()
        due = [name for name, entry in entries if entry.bars.next_close_us <= watermark_us and not entry.lagging]
        for start in range(0, len(due), MOST_SYMBOLS):
            symbols = due[start : start + MOST_SYMBOLS]
            batch = yield from self._publish(symbols, partial(self._advanced, symbols, watermark_us))
            closed += batch.closed() if batch else []  # else the next call makes up for it
        return closed

    def _derived(self, ticks: dict[int, Tick], trades: Trades, now_us: int) -> Batch:
        batch, fresh = self._sifted(ticks, trades)
        for symbol, found in fresh.items():
            entry = self._entries[symbol]
            entry.lagging = now_us - max(trade.ts for trade in found) > LAGGING_US
            entry.bars.session = self._session_of(symbol)
            self._add(batch, symbol, entry.bars.apply(found))
            if "ticker" in self._derive and (day := entry.bars.day):
                batch.tickers.append(ticker(symbol, day, entry.bars.previous_close))
        return batch

    def _sifted(self, ticks: dict[int, Tick], trades: Trades) -> tuple[Batch, dict[str, list[Trade]]]:
        """A batch without the trades that are not to be published, and the fresh ones of each symbol."""
        batch, fresh = Batch(dict(ticks)), {}
        for symbol, indexed in trades.items():
            sifted, indices = self._entries[symbol].bars.sift(indexed.values()), list(indexed)
            batch.duplicates += [indices[at] for at in sifted.duplicates]
            batch.too_late += [indices[at] for at in sifted.too_late]
            if sifted.fresh:
                fresh[symbol] = sifted.fresh
        for index in (*batch.duplicates, *batch.too_late):
            del batch.ticks[index]
        return batch, fresh

    def _advanced(self, symbols: Collection[str], watermark_us: int) -> Batch:
        batch = Batch()
        for symbol in symbols:
            if klines := self._entries[symbol].bars.advance(watermark_us):
                self._add(batch, symbol, klines)
        return batch

    def _add(self, batch: Batch, symbol: str, klines: list[Kline]) -> None:
        entry = self._entries[symbol]
        if "kline" in self._derive:
            batch.klines += [kline for kline in klines if (symbol, kline.interval) not in self.own]
        batch.states[symbol] = State(state_key(symbol), entry.version, entry.bars.dump())

    def _publish(self, symbols: Collection[str], derive: Callable[[], Batch], mark: Mark | None = None) -> Steps[Batch | None]:
        """Derive and publish; None when other writers of these symbols were quicker every time."""
        yield from self._pay()
        for _ in range(ATTEMPTS):
            try:
                batch = derive()
                updates: Sequence[Tick] = [*batch.ticks.values(), *batch.klines, *batch.tickers]
                if updates or batch.states:
                    yield from _say(batch, updates[:MOST_UPDATES], mark)
            except Conflict:
                self._forget(symbols)
                yield from self._read(symbols)
                continue
            except BaseException:
                self._forget(symbols)
                raise
            for symbol, state in batch.states.items():
                entry = self._entries[symbol]
                entry.version, entry.value = state.version + 1, state.value
            self._owed += updates[MOST_UPDATES:]
            with suppress(StoreUnavailable):  # the batch is published; what is owed stays so, and the next one begins with it
                yield from self._pay()
            return batch
        return None

    def _pay(self) -> Steps[None]:
        while self._owed:
            yield Publish(self._owed[:MOST_UPDATES])
            del self._owed[:MOST_UPDATES]

    def _read(self, symbols: Collection[str]) -> Steps[None]:
        states: list[State] = yield Load([state_key(symbol) for symbol in symbols])
        for symbol, state in zip(symbols, states, strict=True):
            value, lagging = state.value, False
            if entry := self._entries.get(symbol):
                lagging = entry.lagging
                if state.version < entry.version:  # the store forgot
                    value = entry.value
            self._entries[symbol] = _Entry(self._bars(symbol, value), state.version, value, lagging)

    def _forget(self, symbols: Collection[str]) -> None:
        for symbol in symbols:
            entry = self._entries[symbol]
            entry.bars = self._bars(symbol, entry.value)

    def _bars(self, symbol: str, value: bytes) -> Bars:
        if value:
            try:
                return Bars.load(value)
            except ValueError as error:
                log.warning("the bars of %s begin anew: %s", symbol, error)
        return Bars(symbol)


def _say(batch: Batch, updates: Sequence[Tick], mark: Mark | None) -> Steps[None]:
    """Publish what a batch begins with; `Repeated` names ticks by their index in the batch."""
    try:
        yield Publish(updates, list(batch.states.values()), mark)
    except Repeated as error:
        indices = list(batch.ticks)
        raise Repeated([indices[place] for place in error.places]) from None


def _tell_repeats(batch: Batch, ticks: dict[int, Tick]) -> Steps[None]:
    """Trades that are too late may be repeats that the bars have forgotten and the store has not."""
    late = [cast(Trade, ticks[index]) for index in batch.too_late]
    try:
        known: list[bool] = yield Known(late)
    except StoreUnavailable:  # the batch is published; what is asked here is told to nobody but the counters
        return
    batch.duplicates += [index for index, is_known in zip(batch.too_late, known, strict=True) if is_known]
    batch.too_late = [index for index, is_known in zip(batch.too_late, known, strict=True) if not is_known]


def _trades(ticks: dict[int, Tick]) -> Trades:
    trades: Trades = {}
    for index, tick in ticks.items():
        if type(tick) is Trade:
            trades.setdefault(tick.symbol, {})[index] = tick
    return trades
