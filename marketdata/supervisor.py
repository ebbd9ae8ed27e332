"""Keeps the streaming feeds running: starts what the roster names, restarts what was edited, lines standbys up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from channels.db import database_sync_to_async
from django.db import DatabaseError
from msgspec.structs import replace

from marketdata import feeds
from marketdata.backoff import Backoff
from marketdata.errors import MarketDataError, StoreUnavailable
from marketdata.feed_status import FeedStatus, anote_statuses
from marketdata.feeds import StreamingFeed
from marketdata.gate import Line
from marketdata.ingest import Ingest
from marketdata.instruments import Instruments, instruments
from marketdata.kept import KeptTask
from marketdata.outage import Outage
from marketdata.publisher import AsyncPublisher
from marketdata.relief import Latest, Relief
from marketdata.roster import Entry, ensure_feeds, make_feed, streaming
from marketdata.store import AsyncStore, Stamped, Store, now_us
from marketdata.supervised import Connect, SupervisedFeed

ROSTER_S = 2.0
TICK_S = 1.0
STOP_S = 1.5

log = logging.getLogger(__name__)


class Supervisor:
    """All streaming feeds of the feed process.

    Attributes:
        routine: what goes on all the time.
    """

    def __init__(
        self,
        read_roster: Callable[[], Awaitable[Sequence[Entry]]],
        connect: Connect,
        note: Callable[[Sequence[FeedStatus]], Awaitable[None]],
        tick: Callable[[], Awaitable[None]],
        latest: Latest,
        known: Instruments | None = None,
    ) -> None:
        """Take the parts.

        Args:
            read_roster: reads which feeds shall run.
            connect: makes one of them, and says where its ticks go.
            note: passes on what the feeds are doing, every second.
            tick: called every second; closes bars by the clock.
            latest: reads the latest updates of topics.
            known: instruments; None: the process's own.
        """
        self._read_roster = read_roster
        self._connect = connect
        self._note = note
        self._tick = tick
        self._latest = latest
        self._known = known or instruments()
        self._feeds: dict[str, tuple[SupervisedFeed, asyncio.Task[None]]] = {}
        self._reliefs: dict[str, Relief] = {}  # primary → it and its standbys
        self.routine = [
            self._kept(ROSTER_S, "reading which feeds run", self._follow_roster),
            self._kept(TICK_S, "closing bars", self._tick),
            self._kept(TICK_S, "watching feeds", self._watch_all),
            self._kept(TICK_S, "noting what feeds do", self._note_all),
        ]

    async def run(self, stopping: asyncio.Event) -> None:
        """Run the feeds until `stopping` is set."""
        for task in self.routine:
            task.start()
        try:
            await stopping.wait()
        finally:
            await asyncio.gather(*(task.stop() for task in self.routine))
            await _end([task for _, task in self._feeds.values()])

    def _kept(self, seconds: float, what: str, do: Callable[[], Awaitable[None]]) -> KeptTask:
        return KeptTask(what, lambda: _every(seconds, what, do), log)

    async def _follow_roster(self) -> None:
        """Stop what shall no longer run or was edited, then start what is missing, be it that its task died."""
        wanted = {entry.name: entry for entry in await self._read_roster()}
        gone = [name for name, (feed, task) in self._feeds.items() if wanted.get(name) != feed.entry or task.done()]
        ended = {name: self._feeds.pop(name) for name in gone}
        await _end([task for _, task in ended.values()])
        if stopped := [replace(feed.status(), good_until_us=0) for name, (feed, _) in ended.items() if name not in wanted]:
            await self._note(stopped)
        begun = [
            SupervisedFeed(wanted[name], self._connect, known=self._known) for name in sorted(wanted.keys() - self._feeds.keys())
        ]
        self._line_up([*(feed for feed, _ in self._feeds.values()), *begun])
        for feed in begun:
            self._feeds[feed.entry.name] = feed, asyncio.create_task(feed.run(), name=f"feed {feed.entry.name}")

    def _line_up(self, every: Sequence[SupervisedFeed]) -> None:
        """Give the feeds that stand in for each other one gate; what that knows of topics survives an edit."""
        before, self._reliefs = self._reliefs, {}
        for primary, group in _groups(feed.entry for feed in every).items():
            lines = [Line(entry.name, entry.hold_s) for entry in group]
            relief = self._reliefs[primary] = before.get(primary) or Relief(lines, self._latest, known=self._known)
            relief.gate.line_up(lines)
        for feed in every:
            feed.stand_in(None if feed.entry.flaw else self._reliefs.get(feed.entry.standby_for or feed.entry.name))

    async def _watch_all(self) -> None:
        for feed, _ in self._feeds.values():
            feed.watch()

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
        derive = feeds.derived(entry.derives_as or entry.kind)
        if derive not in self._ingests:
            self._ingests[derive] = Ingest(AsyncPublisher(self._store), instruments(), derive=derive)
            await self._ingests[derive].start()
        return feed, self._ingests[derive]

    async def latest(self, topics: Sequence[str]) -> Sequence[Stamped | None]:
        """See `AsyncStore.latest`."""
        return await self._store.latest(topics)

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


def _groups(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The feeds that stand in for each other, by their primary, which comes first; the others by name."""
    groups: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.standby_for is not None, entry.name)):
        if not entry.flaw:
            groups.setdefault(entry.standby_for or entry.name, []).append(entry)
    return {primary: group for primary, group in groups.items() if any(entry.standby_for for entry in group)}


async def run(stopping: asyncio.Event) -> None:
    """Run this installation's streaming feeds until `stopping` is set.

    Raises:
        BadFeedOptions: a setting names a kind that does not exist or does not run here.
    """
    outlet = Outlet(AsyncStore.from_settings(), Store.from_settings())
    supervisor = Supervisor(database_sync_to_async(streaming), outlet.connect, outlet.note, outlet.advance, outlet.latest)
    try:
        await _until_done("waiting for Redis", outlet.answers, stopping)
        await _until_done("preparing feeds", database_sync_to_async(ensure_feeds), stopping)
        await supervisor.run(stopping)
    finally:
        await outlet.close()


async def _until_done(what: str, do: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    tries = Backoff(what, log, first_s=TICK_S / 2, longest_s=2 * TICK_S)
    while not stopping.is_set():
        try:
            await do()
        except (StoreUnavailable, DatabaseError) as error:
            tries.failed(error)
            await tries.pause()
        else:
            tries.over()
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
