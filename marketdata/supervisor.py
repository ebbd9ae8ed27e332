"""Keeps the streaming feeds running: one task each, connected again when it ends, restarted when an operator edits it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from channels.db import database_sync_to_async
from django.db import DatabaseError

from marketdata import feeds
from marketdata.errors import FeedError, MarketDataError, StoreUnavailable
from marketdata.feed_status import FRESH_US, FeedStatus, anote_statuses
from marketdata.feeds import Batch, StreamingFeed
from marketdata.ingest import Ingest
from marketdata.instruments import instruments
from marketdata.outage import Outage
from marketdata.publisher import AsyncPublisher
from marketdata.roster import Entry, ensure_feeds, make_feed, streaming
from marketdata.store import AsyncStore, Store, now_us

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 60.0
ROSTER_S = 2.0
TICK_S = 1.0
STOP_S = 1.5

Connect = Callable[[Entry], Awaitable[tuple[StreamingFeed, Ingest]]]

log = logging.getLogger(__name__)


class Backoff:
    """Pauses between attempts: full jitter under a doubling bound; who failed together does not come back together."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._bound_s = first_s

    def reset(self) -> None:
        """The thing was healthy: begin again with short pauses."""
        self._bound_s = self._first_s

    def pause_s(self) -> float:
        """Seconds to wait before the next attempt."""
        pause = random.uniform(0, self._bound_s)  # noqa: S311
        self._bound_s = min(2 * self._bound_s, self._longest_s)
        return pause


class SupervisedFeed:
    """One streaming feed, connected again and again.

    Attributes:
        entry: what runs.
    """

    def __init__(self, entry: Entry, connect: Connect) -> None:
        self.entry = entry
        self._connect = connect
        self._outage = Outage(f"feed {entry.name}", log)
        self._redis = Outage(f"feed {entry.name}: publishing", log)
        self._connected = False
        self._last_event_us: int | None = None
        self._ticks = self._rejected = self._lost = 0
        self._last_error = ""

    async def run(self) -> None:
        """Connect, pass on, pause, connect again; until cancelled."""
        backoff, clock = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S), asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                await self._stream()
                self._fail(FeedError("the stream ended"))
            except Exception as error:  # whatever a feed does, the others go on
                self._fail(error)
            finally:
                self._connected = False
            if clock() - began >= HEALTHY_S:
                backoff.reset()
            await asyncio.sleep(backoff.pause_s())

    def status(self) -> FeedStatus:
        """What the feed is doing."""
        return FeedStatus(
            name=self.entry.name,
            kind=self.entry.kind,
            polled=False,
            connected=self._connected,
            last_event_us=self._last_event_us,
            ticks=self._ticks,
            rejected=self._rejected,
            lost=self._lost,
            failures=self._outage.failures,
            last_error=self._last_error,
            good_until_us=now_us() + FRESH_US,
        )

    async def _stream(self) -> None:
        feed, ingest = await self._connect(self.entry)
        stream = feed.stream()
        try:
            async for batch in stream:
                self._connected = True
                self._outage.over()
                await self._pass_on(batch, ingest)
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()

    async def _pass_on(self, batch: Batch, ingest: Ingest) -> None:
        """A tick that cannot be published is lost and counted: a feed that waits for Redis would send old prices afterwards."""
        try:
            done = await ingest.aaccept(batch)
        except StoreUnavailable as error:
            self._redis.failed(error)
            self._lost += len(batch)
            return
        self._redis.over()
        self._ticks += done.accepted
        self._rejected += len(done.rejected)
        self._last_event_us = max((tick.ts for tick in batch), default=self._last_event_us)

    def _fail(self, error: Exception) -> None:
        self._outage.failed(error, foreseen=isinstance(error, (MarketDataError, OSError, DatabaseError)))
        self._last_error = str(error) or type(error).__name__


class Supervisor:
    """All streaming feeds of the feed process."""

    def __init__(
        self,
        read_roster: Callable[[], Awaitable[Sequence[Entry]]],
        connect: Connect,
        note: Callable[[Sequence[FeedStatus]], Awaitable[None]],
        tick: Callable[[], Awaitable[None]],
    ) -> None:
        """Take the parts.

        Args:
            read_roster: reads which feeds shall run.
            connect: makes one of them, and says where its ticks go.
            note: passes on what the feeds are doing, every second.
            tick: called every second; closes bars by the clock.
        """
        self._read_roster = read_roster
        self._connect = connect
        self._note = note
        self._tick = tick
        self._feeds: dict[str, tuple[SupervisedFeed, asyncio.Task[None]]] = {}

    async def run(self, stopping: asyncio.Event) -> None:
        """Run the feeds until `stopping` is set."""
        routine = [
            asyncio.create_task(_every(ROSTER_S, "reading which feeds run", self._follow_roster)),
            asyncio.create_task(_every(TICK_S, "closing bars", self._tick)),
            asyncio.create_task(_every(TICK_S, "noting what feeds do", self._note_all)),
        ]
        try:
            await stopping.wait()
        finally:
            await _end(routine + [task for _, task in self._feeds.values()])

    async def _follow_roster(self) -> None:
        """Stop what shall no longer run or was edited, then start what is missing."""
        wanted = {entry.name: entry for entry in await self._read_roster()}
        gone = [name for name, (feed, _) in self._feeds.items() if wanted.get(name) != feed.entry]
        await _end([self._feeds.pop(name)[1] for name in gone])
        for name in wanted.keys() - self._feeds.keys():
            feed = SupervisedFeed(wanted[name], self._connect)
            self._feeds[name] = feed, asyncio.create_task(feed.run())

    async def _note_all(self) -> None:
        await self._note([feed.status() for feed, _ in self._feeds.values()])


class Outlet:
    """Where the ticks of this process go: the store, and an ingest for each way of deriving."""

    def __init__(self, store: AsyncStore, blocking: Store) -> None:
        self._store = store
        self._blocking = blocking  # for what happens in a thread
        self._ingests: dict[tuple[str, ...], Ingest] = {}

    async def connect(self, entry: Entry) -> tuple[StreamingFeed, Ingest]:
        """Make a feed; see `make_feed`.

        Raises:
            FeedError: the kind refuses its settings.
            StoreUnavailable: Redis did not answer.
        """
        feed = await database_sync_to_async(make_feed)(entry, self._blocking)
        assert isinstance(feed, StreamingFeed)
        derive = feeds.derived(entry.kind)
        if derive not in self._ingests:
            self._ingests[derive] = Ingest(AsyncPublisher(self._store), instruments(), derive=derive)
            await self._ingests[derive].start()
        return feed, self._ingests[derive]

    async def answers(self) -> None:
        """Ask Redis for a sign of life.

        Raises:
            StoreUnavailable: it gave none.
        """
        await self._store.latest(["quote.NONE"])

    async def advance(self) -> None:
        """Close bars by the clock."""
        for ingest in self._ingests.values():
            await ingest.aadvance(now_us())

    async def note(self, statuses: Sequence[FeedStatus]) -> None:
        """Note what the feeds are doing."""
        await anote_statuses(self._store, statuses)

    async def close(self) -> None:
        """Save the closed bars that wait, and let go of Redis."""
        for ingest in self._ingests.values():
            await ingest.stop()
        await self._store.close()
        self._blocking.close()


async def run(stopping: asyncio.Event) -> None:
    """Run this installation's streaming feeds until `stopping` is set.

    Raises:
        BadFeedOptions: a setting names a kind that does not exist or does not run here.
    """
    outlet = Outlet(AsyncStore.from_settings(), Store.from_settings())
    supervisor = Supervisor(database_sync_to_async(streaming), outlet.connect, outlet.note, outlet.advance)
    try:
        await _until_done("waiting for Redis", outlet.answers, stopping)
        await _until_done("preparing feeds", database_sync_to_async(ensure_feeds), stopping)
        await supervisor.run(stopping)
    finally:
        await outlet.close()


async def _until_done(what: str, do: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    outage = Outage(what, log)
    while not stopping.is_set():
        try:
            await do()
        except (StoreUnavailable, DatabaseError) as error:
            outage.failed(error)
            await asyncio.sleep(TICK_S / 2)
        else:
            outage.over()
            return


async def _every(seconds: float, what: str, do: Callable[[], Awaitable[None]]) -> None:
    outage = Outage(what, log)
    while True:
        try:
            await do()
            outage.over()
        except Exception as error:  # the next second may be better
            outage.failed(error, foreseen=isinstance(error, (MarketDataError, OSError, DatabaseError)))
        await asyncio.sleep(seconds)


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel and wait, but not for ever: a feed that does not stop must not hold up the others."""
    for task in tasks:
        task.cancel()
    if tasks:
        _, alive = await asyncio.wait(tasks, timeout=STOP_S)
        if alive:
            log.warning("%d feeds did not stop within %g s", len(alive), STOP_S)
