"""Takes ticks from feeds: validate, derive, publish.

Rules of this file:
1. One bad tick never affects the others: it is refused with a reason (`REASONS`), counted, and the rest goes on.
2. A batch that could not be published leaves no trace here, and may be given again.
3. A trade is published once, whichever process brings it again: repeats are counted and left out. A trade too late for its
   bars is refused, so that the tape and the bars tell the same story.
4. Where a feed brings klines of its own for a symbol and interval, none are derived for these.
5. The database holds up no tick: what is known of instruments goes on being used, and closed bars wait for it.

The synchronous face (`accept`, `advance`) serves Celery tasks and views and takes a `Publisher`; the asynchronous one
(`aaccept`, `aoffer`, `aadvance`, `start`, `stop`) serves the feed process and takes an `AsyncPublisher`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, NamedTuple

from django import db
from django.conf import settings

from marketdata.backlog import Backlog
from marketdata.barbook import Barbook
from marketdata.bars import BarWriter
from marketdata.batch import Mark
from marketdata.checks import REASONS, flaw
from marketdata.instruments import Instruments
from marketdata.offers import Offered, Offers
from marketdata.outage import Outage
from marketdata.publisher import AsyncPublisher, Publisher
from marketdata.steps import Steps, arun, run
from marketdata.store import now_us
from marketdata.ticks import Kline, Tick, Trade

__all__ = ["REASONS", "Accepted", "Ingest", "Offered", "Rejected"]

log = logging.getLogger(__name__)

INSTRUMENTS_AGE_S = 2.0
MOST_AHEAD_US = 60_000_000  # how far a venue's clock may run ahead of ours
GRACE_US = 2_000_000  # a bar is closed by the clock this long after its end
MOST_TICKS = 1000  # in one step
_STOP_S = 0.5

Latest = dict[tuple[object, str], int]  # (type or, for open klines, interval; symbol) → event time


@dataclass(frozen=True, order=True)
class Rejected:
    """A tick that was refused.

    Attributes:
        index: its place in the batch.
        code: number on the wire.
        reason: key of `REASONS`.
        message: a sentence.
    """

    index: int
    code: int
    reason: str
    message: str

    def behind(self, count: int) -> Rejected:
        """The same in a batch that begins with that many other ticks."""
        return replace(self, index=self.index + count)


class Accepted(NamedTuple):
    """What became of a batch.

    Attributes:
        accepted: how many ticks were published.
        rejected: those that were refused, by index.
        duplicates: how many trades had been published before.
    """

    accepted: int
    rejected: list[Rejected]
    duplicates: int


class Ingest:
    """The way in for ticks.

    Attributes:
        accepted: ticks published.
        duplicates: trades left out as repeats.
        rejected_by_reason: ticks refused, by key of `REASONS`.
        writer: saves the closed bars.
        book: derives; counts trades published `underived`.
        offers: what waits for the store.
    """

    def __init__(
        self,
        publisher: Publisher | AsyncPublisher,
        instruments: Instruments,
        *,
        derive: Collection[str] = ("kline", "ticker"),
        most_ahead_us: int | None = MOST_AHEAD_US,
        clock: Callable[[], int] = now_us,
        writer: BarWriter | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        """Take the parts.

        Args:
            publisher: an `AsyncPublisher` for the asynchronous face, a `Publisher` for the other.
            instruments: read model; ingest keeps it fresh.
            derive: what to make of trades: `kline`, `ticker`, both or neither.
            most_ahead_us: how far an event may lie in the future; None: any (a restamped replay may run ahead).
            clock: µs since the Unix epoch.
            writer: saves closed bars.
            backlog: where offered ticks wait for the store; None: as large as the settings say.
        """
        self.accepted = self.duplicates = 0
        self.rejected_by_reason: Counter[str] = Counter()
        self.writer = writer or BarWriter()
        self.book = Barbook(self._session, derive)
        self._publisher: Any = publisher
        self._instruments = instruments
        self._most_ahead_us = most_ahead_us
        self._clock = clock
        self._latest: Latest = {}
        self._database = Outage("reading instruments", log)
        self._lock, self._alock = Lock(), asyncio.Lock()
        self.offers = Offers(self._aaccept_some, _backlog() if backlog is None else backlog, MOST_TICKS)
        self._refreshing: asyncio.Task[None] | None = None

    def accept(self, ticks: Sequence[Tick]) -> Accepted:
        """Validate, derive, publish, save closed bars. Safe among threads.

        Returns:
            What became of the ticks; refused ones are named by their index.

        Raises:
            StoreUnavailable: Redis is away; the batch may be given again.
        """
        self._refresh()
        with self._lock:
            done = run(self._accept(ticks), self._publisher)
        self.writer.flush()
        return done

    def advance(self, now: int) -> None:
        """Close the bars whose end passed `GRACE_US` ago although no trade came. To be called every second or so.

        Args:
            now: wall clock, µs since the Unix epoch.

        Raises:
            StoreUnavailable: Redis is away; the next call makes up for it.
        """
        with self._lock:
            run(self._advance(now), self._publisher)
        self.writer.flush()

    def _refresh(self) -> None:
        if not self._instruments.is_older(INSTRUMENTS_AGE_S):
            return
        try:
            self._instruments.refresh()
        except db.Error as error:
            if not self._instruments.loaded:
                raise
            self._database.failed(error)
        else:
            self._database.over()

    async def start(self) -> None:
        """Read the instruments and begin to save closed bars, in a thread."""
        await self._instruments.arefresh()
        await self.writer.start()

    async def stop(self) -> None:
        """Publish the ticks and save the closed bars that wait, for a bounded time."""
        await self.offers.stop()
        if self._refreshing is not None:
            await asyncio.wait([self._refreshing], timeout=_STOP_S)
        await self.writer.stop()

    async def aaccept(self, ticks: Sequence[Tick]) -> Accepted:
        """Validate, derive, publish; the writer saves closed bars. See `accept`."""
        await self._arefresh()
        async with self._alock:
            return await arun(self._accept(ticks), self._publisher)

    async def aoffer(self, ticks: Sequence[Tick], wait: float = 0.0) -> Offered:
        """Validate, derive, publish; while the store is away the ticks wait for it and no error is raised.

        Args:
            ticks: in order.
            wait: for how many seconds at most the caller may be held up while its ticks wait: for feeds that can be slowed.

        Returns:
            What became of the ticks so far. Those that wait are published in order when the store is back, and counted then;
            of too many the `Backlog` leaves some out, which it counts.
        """
        await self._arefresh()
        return await self.offers.offer(ticks, wait)

    async def _aaccept_some(self, ticks: Sequence[Tick], mark: Mark) -> Accepted:
        async with self._alock:
            return await arun(self._accept_some(ticks, mark), self._publisher)

    async def aadvance(self, now: int) -> None:
        """See `advance`. While ticks wait for the store no bar is closed by the clock: they may belong to it."""
        if self.offers.waiting:
            return
        async with self._alock:
            await arun(self._advance(now), self._publisher)

    async def _arefresh(self) -> None:
        if not self._instruments.loaded:
            await self._instruments.arefresh()
        elif self._instruments.is_older(INSTRUMENTS_AGE_S) and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._refresh_behind(), name="reading instruments")

    async def _refresh_behind(self) -> None:
        try:
            await self._instruments.arefresh()
        except Exception as error:
            self._database.failed(error, foreseen=isinstance(error, db.Error))
        else:
            self._database.over()

    def _session(self, symbol: str) -> str:
        instrument = self._instruments.find(symbol)
        return instrument.session if instrument else "always"

    def _accept(self, ticks: Sequence[Tick]) -> Steps[Accepted]:
        accepted, duplicates, rejected = 0, 0, []
        for start in range(0, len(ticks), MOST_TICKS):
            done = yield from self._accept_some(ticks[start : start + MOST_TICKS])
            accepted += done.accepted
            duplicates += done.duplicates
            rejected += [each.behind(start) for each in done.rejected]
        return Accepted(accepted, sorted(rejected), duplicates)

    def _accept_some(self, ticks: Sequence[Tick], mark: Mark | None = None) -> Steps[Accepted]:
        good, refused, latest = self._sift(ticks)
        self.book.own.update((tick.symbol, tick.interval) for tick in good.values() if type(tick) is Kline)
        batch = yield from self.book.publish(good, self._clock(), mark)
        self._latest.update(latest)
        self.writer.put(batch.closed())
        refused.update((index, "too_late") for index in batch.too_late)
        self._count(len(batch.ticks), len(batch.duplicates), refused.values())
        rejected = [Rejected(index, REASONS[reason].code, reason, REASONS[reason].message) for index, reason in refused.items()]
        return Accepted(len(batch.ticks), rejected, len(batch.duplicates))

    def _advance(self, now: int) -> Steps[None]:
        closed = yield from self.book.advance(now - GRACE_US)
        self.writer.put(closed)

    def _sift(self, ticks: Sequence[Tick]) -> tuple[dict[int, Tick], dict[int, str], Latest]:
        """The ticks to be believed and the reasons of the others, by index; and the latest event times of the former."""
        good: dict[int, Tick] = {}
        refused: dict[int, str] = {}
        latest: Latest = {}
        limit = None if self._most_ahead_us is None else self._clock() + self._most_ahead_us
        for index, tick in enumerate(ticks):
            if reason := flaw(tick) or self._misplaced(tick, limit, latest):
                refused[index] = reason
            else:
                good[index] = tick
        return good, refused, latest

    def _misplaced(self, tick: Tick, limit: int | None, latest: Latest) -> str | None:
        """What is wrong with a tick here and now; if nothing, its event time becomes the latest."""
        symbol = tick.symbol
        if self._instruments.get(symbol) is None:
            return "inactive_instrument" if self._instruments.find(symbol) else "unknown_instrument"
        if limit is not None and tick.ts > limit:
            return "future"
        if isinstance(tick, Trade) or (isinstance(tick, Kline) and tick.closed):
            return None
        key = (tick.interval if isinstance(tick, Kline) else type(tick), symbol)
        if tick.ts < max(latest.get(key, 0), self._latest.get(key, 0)):
            return "out_of_order"
        latest[key] = tick.ts
        return None

    def _count(self, accepted: int, duplicates: int, refused: Collection[str]) -> None:
        self.accepted += accepted
        self.duplicates += duplicates
        for reason in refused:
            if not self.rejected_by_reason[reason]:
                log.warning("a tick was refused: %s; more of this are only counted", REASONS[reason].message)
            self.rejected_by_reason[reason] += 1


def _backlog() -> Backlog:
    sources = settings.TICKWIRE.sources
    return Backlog(sources.backlog_updates, sources.backlog_bytes)
