"""One streaming feed at work: connected again and again, watched, bounded, and one of several where it has a standby."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress

from django.db import DatabaseError

from marketdata.backoff import Backoff
from marketdata.errors import FeedError, MarketDataError
from marketdata.feed_status import FRESH_US, FeedStatus
from marketdata.feeds import Batch, StreamingFeed
from marketdata.gate import Sifted
from marketdata.hours import Hours
from marketdata.inflow import Inflow, is_tick
from marketdata.ingest import Ingest
from marketdata.instruments import Instruments, instruments
from marketdata.offers import Offered
from marketdata.outage import Outage
from marketdata.pulse import FIRST_S, TIMES, Pulse
from marketdata.refusals import Refusals
from marketdata.relief import Relief
from marketdata.roster import Entry
from marketdata.store import now_us
from marketdata.ticks import Tick

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 60.0
DRAIN_S = 0.5
PATIENCE_S = 60.0  # that long at a time a feed that can wait does so while Redis is away
CONNECT_S = 60.0
CLOSE_S = 0.5
UNKNOWN_CADENCE_S = FIRST_S / TIMES  # until it is learnt

Connect = Callable[[Entry], Awaitable[tuple[StreamingFeed, Ingest]]]

log = logging.getLogger(__name__)


class SupervisedFeed:
    """One streaming feed. One task reads it, another publishes, so that neither holds the other up.

    Attributes:
        entry: what runs.
        relief: the feeds that it stands in line with; None when it is alone.
        fault: why it is not well: `disconnected`, `mute` or `garbage`; empty when nothing is wrong.
    """

    def __init__(
        self,
        entry: Entry,
        connect: Connect,
        *,
        known: Instruments | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], int] = now_us,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the parts.

        Args:
            entry: what to run.
            connect: makes the feed, and says where its ticks go.
            known: instruments, for their sessions; None: the process's own.
            clock: monotonic seconds.
            wall: µs since the Unix epoch.
            sleep: waits for so many seconds of the clock.
        """
        self.entry = entry
        self.relief: Relief | None = None
        self.inflow = Inflow(entry.most_per_s)
        self._connect = connect
        self._known = known or instruments()
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._backoff = Backoff(f"feed {entry.name}", log, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S, healthy_s=HEALTHY_S)
        self._publishing, self._rubbish, self._garbage, self._flood = (
            Outage(f"feed {entry.name}{what}", log) for what in (": publishing", "", ": garbage", ": flood")
        )
        self._pulse, self._refusals = Pulse(), Refusals()
        self._hours = Hours((), self._known)
        self._symbols: tuple[str, ...] = ()
        self._ingest: Ingest | None = None
        self._writing: asyncio.Task[None] | None = None
        self._patience: asyncio.Timeout | None = None  # of the connection, where silence is a fault
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._connected = self._down = self._mute = self._ending = self._patient = False
        self._last_event_us: int | None = None
        self._heard_us = wall()
        self._ticks = self._rejected = self._lost = 0
        self._held = self._duplicates = self._backwards = self._shed = 0
        self._last_error = ""

    async def run(self) -> None:
        """Connect, pass on, pause, connect again; until cancelled."""
        self._begin_writing()
        try:
            while True:
                await self._stream_once()
                await self._backoff.pause()
        finally:
            await self._finish()

    def _begin_writing(self) -> None:
        self._writing = asyncio.create_task(self._write(), name=f"publishing {self.entry.name}")

    def stand_in(self, relief: Relief | None) -> None:
        """Take a place in a line, or leave it."""
        self.relief = relief
        if relief and self._symbols:
            relief.gate.bring(self.entry.name, self._symbols)

    def watch(self) -> None:
        """Look whether the feed is well; to be called about once a second."""
        if self._writing is not None and self._writing.done() and not self._ending:
            self._publishing.failed("the task ended; it begins again")
            self._begin_writing()
        self._pulse.watch(now := self._clock(), is_open=self._hours.is_open(self._wall()))
        if self._patience is not None and self._pulse.is_mute and not self._patience.expired():
            self._mute = True
            self._patience.reschedule(asyncio.get_running_loop().time())
            self._patience = None
        _tell(self._garbage, self._refusals.is_garbage, "nearly everything that it sends is refused")
        _tell(self._flood, self.inflow.is_flooded(now), f"more than {self.entry.most_per_s} ticks a second; the rest is shed")
        self._report()
        self._news.set()

    @property
    def fault(self) -> str:
        """See the class."""
        if self._mute:
            return "mute"
        if self._down:
            return "disconnected"
        return "garbage" if self._refusals.is_garbage else ""

    def status(self) -> FeedStatus:
        """What the feed is doing."""
        offers = self._ingest.offers if self._ingest else None
        return FeedStatus(
            name=self.entry.name,
            kind=self.entry.kind,
            polled=False,
            connected=self._connected,
            healthy=self._connected and not self.fault,
            fault=self.fault,
            standby_for=self.entry.standby_for,
            symbols=len(self._symbols),
            active_symbols=self.relief.writes(self.entry.name) if self.relief else len(self._symbols),
            last_event_us=self._last_event_us,
            ticks=self._ticks,
            rejected=self._rejected,
            lost=self._lost,
            held=self._held,
            duplicates=self._duplicates,
            backwards=self._backwards,
            conflated=self.inflow.conflated,
            shed=self._shed + self.inflow.shed,
            flooded=self._flood.ongoing,
            waiting=len(self.inflow),
            buffered=offers.waiting if offers else 0,
            dropped=offers.backlog.dropped.total() + offers.failed.total() if offers else 0,
            failures=self._backoff.outage.failures,
            last_error=self._last_error,
            cadence_s=0.0 if self._patient else self._pulse.usual_s or UNKNOWN_CADENCE_S,
            heard_us=self._heard_us,
            sessions=sorted(self._hours.sessions),
            good_until_us=self._wall() + FRESH_US,
        )

    async def _stream_once(self) -> None:
        """Connect and pass on until it ends, however it does: whatever a feed does, the others go on."""
        try:
            await self._stream()
            self._fail(FeedError("the stream ended"))
        except asyncio.CancelledError:
            if (this := asyncio.current_task()) is None or this.cancelling():
                raise
            self._fail(FeedError("it was cancelled from within"))
        except Exception as error:
            self._fail(error)

    async def _stream(self) -> None:
        self._begin(feed := await self._made())
        stream = feed.stream()
        patience = asyncio.timeout(None)
        try:
            async with patience:
                self._patience = None if self._patient else patience
                async for batch in stream:
                    await self._take(batch)
        except TimeoutError:
            if not patience.expired():
                raise
            raise FeedError(f"nothing came for {self._pulse.silence_s:g} s although the market is open") from None
        finally:
            self._patience = None
            if isinstance(stream, AsyncGenerator):
                await _close(stream)

    async def _made(self) -> StreamingFeed:
        try:
            async with asyncio.timeout(CONNECT_S):
                feed, self._ingest = await self._connect(self.entry)
        except TimeoutError:
            raise FeedError(f"not connected within {CONNECT_S:g} s") from None
        return feed

    def _begin(self, feed: StreamingFeed) -> None:
        self._symbols = tuple(listing.symbol for listing in feed.listings())
        self._hours = Hours(self._symbols, self._known)
        self._patient = bool(getattr(feed, "patient", False))
        self._pulse.connected()
        self.stand_in(self.relief)

    async def _take(self, batch: Batch) -> None:
        """Take a batch in, in portions; who can wait does, and who says far too much is not listened to for a while."""
        ticks = self._hear(batch)
        self._news.set()
        try:
            while ticks:
                while self._patient and self.inflow.is_full:
                    self._room.clear()
                    await self._room.wait()
                portion, ticks = ticks[: self.inflow.portion], ticks[self.inflow.portion :]
                pause_s = self.inflow.put(portion, self._clock())
                self._news.set()
                await self._sleep(0 if self._patient else pause_s)  # at least a turn for the others
        finally:
            self.inflow.put(ticks, self._clock())  # there are some if it was stopped meanwhile
        await asyncio.sleep(0)

    def _hear(self, batch: Batch) -> list[Tick]:
        """The ticks of what a feed said; the rest is counted. An empty batch is a sign of life."""
        things = batch if isinstance(batch, Sequence) else [batch]
        ticks = [thing for thing in things if is_tick(thing)]
        if rubbish := len(things) - len(ticks):
            self._rubbish.failed("sent what is no tick; more of this is only counted")
            self._rejected += rubbish
            self._refusals.count(self._clock(), 0, rubbish)
        self._pulse.beat(self._clock())
        self._heard_us = self._wall()
        self._backoff.over()
        self._connected, self._down, self._mute = True, False, False
        self._last_event_us = max((tick.ts for tick in ticks), default=self._last_event_us)
        return ticks

    async def _write(self) -> None:
        """Publish what came in; ends when the feed does and nothing waits."""
        while len(self.inflow) or not self._ending:
            ticks = self.inflow.take(self._clock())
            self._room.set()
            if ticks or (self.relief and self.relief.is_awaited(self.entry.name)):
                await self._pass_on(ticks)
            elif wait_s := self.inflow.wait_s():
                await self._sleep(wait_s)
            else:
                self._news.clear()
                await self._news.wait()

    async def _pass_on(self, ticks: Sequence[Tick]) -> None:
        try:
            if self.relief:
                self._report()
                self._count(await self.relief.pass_on(self.entry.name, ticks, self._publish))
            else:
                await self._publish(ticks)
        except Exception as error:  # one batch is lost, and the feed goes on
            self._publishing.failed(error, foreseen=isinstance(error, (MarketDataError, DatabaseError)))
            self._lost += len(ticks)

    async def _publish(self, ticks: Sequence[Tick]) -> Offered:
        """Ticks that cannot be published now wait in ingest. A feed that can wait does so too, unless that holds up others."""
        assert self._ingest is not None
        done = await self._ingest.aoffer(ticks, PATIENCE_S if self._patient and not self.relief else 0.0)
        self._publishing.over()
        self._ticks += done.accepted
        self._rejected += len(done.rejected)
        self._duplicates += done.duplicates
        refused = sum(each.reason != "inactive_instrument" for each in done.rejected)  # that is the operator's wish
        self._refusals.count(self._clock(), done.accepted + done.duplicates, refused)
        return done

    def _count(self, sifted: Sifted) -> None:
        self._held += sifted.held
        self._duplicates += sifted.duplicates
        self._backwards += sifted.backwards
        self._shed += sifted.shed
        self._rejected += sifted.refused
        self._refusals.count(self._clock(), sifted.held, sifted.refused)

    def _fail(self, error: Exception) -> None:
        self._connected, self._down = False, True
        self._backoff.failed(error, foreseen=isinstance(error, (MarketDataError, OSError, DatabaseError)))
        self._last_error = str(error) or type(error).__name__
        self._report()

    def _report(self) -> None:
        """Tell the others in line; who has not said anything yet is neither well nor not."""
        if self.relief and (self._connected or self.fault):
            self.relief.report(self.entry.name, well=self._connected and not self.fault)

    async def _finish(self) -> None:
        """Publish what waits, for a bounded time."""
        self._ending = True
        self._news.set()
        if self._writing is not None:
            await asyncio.wait([self._writing], timeout=DRAIN_S)
            self._writing.cancel()
            await asyncio.wait([self._writing], timeout=DRAIN_S)
        self._lost += len(self.inflow)


def _tell(outage: Outage, ongoing: bool, what: str) -> None:
    if ongoing and not outage.ongoing:
        outage.failed(what)
    elif not ongoing:
        outage.over()


async def _close(stream: AsyncGenerator[Batch]) -> None:
    """A venue that does not let go holds nobody up."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await stream.aclose()
