"""Asks the polled feeds: whichever process finds one due, one process at a time.

A feed is due on each whole multiple of its interval. Who asks it holds its lease; the lease's note says when it is due next and
until when it has been asked, so that any worker of any node can go on where another stopped, and a second worker or a second
beat publishes nothing twice.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Self

from django.db import DatabaseError
from msgspec.structs import replace

from marketdata import feeds, roster
from marketdata.errors import FeedError, MarketDataError, StoreUnavailable
from marketdata.feed_status import FRESH_US, FeedStatus, feed_status, note_status
from marketdata.feeds import Batch, Feed, PolledFeed
from marketdata.hours import Hours
from marketdata.ingest import Accepted, Ingest
from marketdata.instruments import Instruments, instruments
from marketdata.leases import Lease, Leases
from marketdata.outage import Outage
from marketdata.publisher import Publisher
from marketdata.roster import Entry
from marketdata.store import Store, now_us

ROSTER_AGE_S = 2.0
LEASE_MS = 10_000  # more than a poll takes; what a worker that died in one holds its feed up for

log = logging.getLogger(__name__)


class Due(NamedTuple):
    """A feed that must be asked now."""

    name: str
    interval_s: float


class Asked(NamedTuple):
    """What the lease's note says: asked until `since_us`, due again at `due_us`."""

    due_us: int
    since_us: int

    @classmethod
    def read(cls, note: str, now: int, interval_us: int) -> Self:
        """Of a note. A feed that was never asked is due, and an interval behind.

        So is one whose note lies too far ahead: its interval was shortened, or the clock was set back.
        """
        due_us, since_us = map(int, note.split()) if note else (now, now - interval_us)
        if due_us > now + interval_us:
            due_us = now
        return cls(due_us, since_us if since_us <= now else now - interval_us)

    def next(self, now: int, interval_us: int, *, good: bool) -> str:
        """The note after a poll; a failed one leaves its stretch of time to the next."""
        return f"{(now // interval_us + 1) * interval_us} {now if good else self.since_us}"


@dataclass(frozen=True)
class _Running:
    entry: Entry
    feed: PolledFeed
    outage: Outage
    hours: Hours

    @property
    def interval_us(self) -> int:
        return round(self.feed.interval_s * 1e6)


class Polling:
    """The polled feeds as one process sees them. Safe among threads."""

    def __init__(
        self,
        store: Store,
        read_roster: Callable[[], Sequence[Entry]] = roster.polled,
        make: Callable[[Entry, Store], Feed] = roster.make_feed,
        known: Instruments | None = None,
    ) -> None:
        """Take the parts.

        Args:
            store: where leases and states are and ticks go.
            read_roster: reads which feeds shall run.
            make: makes one of them.
            known: instruments; None: the process's own.
        """
        self._store = store
        self._leases = Leases(store)
        self._read_roster = read_roster
        self._make = make
        self._known = known or instruments()
        self._running: dict[str, _Running] = {}
        self._outages: dict[str, Outage] = {}
        self._ingests: dict[tuple[str, ...], Ingest] = {}
        self._lock = threading.Lock()  # a worker may have several threads
        self._read_at = -math.inf  # monotonic seconds
        self._database = Outage("reading which feeds run", log)

    def due(self) -> list[Due]:
        """The feeds to ask now.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        self._refresh()
        now, running = now_us(), list(self._running.values())
        notes = self._leases.notes([each.entry.name for each in running]) if running else []
        return [
            Due(each.entry.name, each.feed.interval_s)
            for each, note in zip(running, notes, strict=True)
            if Asked.read(note, now, each.interval_us).due_us <= now
        ]

    def poll(self, name: str) -> int | None:
        """Ask a feed and publish what it says.

        Returns:
            How many ticks were accepted; None when it was not due, does not run, failed, or somebody else is asking it.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        self._refresh()
        running = self._running.get(name)
        lease = self._leases.take(name, LEASE_MS) if running else None
        if running is None or lease is None:
            return None
        now = now_us()
        asked = Asked.read(lease.note, now, running.interval_us)
        if now < asked.due_us:
            self._leases.give_back(lease, lease.note)
            return None
        try:
            accepted = self._ask(running, lease, now, asked.since_us)
        except StoreUnavailable as error:
            with suppress(StoreUnavailable):  # it may answer again, or answer and take no ticks
                self._note(running, failure=str(error))
                self._leases.give_back(lease, asked.next(now, running.interval_us, good=False))
            raise
        self._leases.give_back(lease, asked.next(now, running.interval_us, good=accepted is not None))
        return accepted

    def _ask(self, running: _Running, lease: Lease, now: int, since: int) -> int | None:
        try:
            batch = running.feed.poll(now, since)
            if not self._leases.renew(lease, LEASE_MS):
                raise FeedError(f"a poll took longer than {LEASE_MS} ms")
            done = self._publish(running.entry.kind, batch, now)
        except StoreUnavailable:
            raise
        except Exception as error:  # whatever a feed does, the others go on
            running.outage.failed(error, foreseen=isinstance(error, (MarketDataError, OSError, DatabaseError)))
            self._note(running, failure=str(error) or type(error).__name__)
            return None
        running.outage.over()
        self._note(running, batch, done)
        return done.accepted

    def _publish(self, kind: str, batch: Batch, now: int) -> Accepted:
        derive = feeds.derived(kind)
        with self._lock:
            if derive not in self._ingests:
                self._ingests[derive] = Ingest(Publisher(self._store), self._known, derive=derive)
            ingest = self._ingests[derive]
        done = ingest.accept(batch)
        ingest.advance(now)
        return done

    def _note(self, running: _Running, batch: Batch = (), done: Accepted | None = None, failure: str = "") -> None:
        """Add to what was noted, which may be another worker's; the lease makes that safe."""
        name, kind = running.entry.name, running.entry.kind
        last = feed_status(self._store, name) or FeedStatus(name=name, kind=kind, polled=True)
        status = replace(
            last,
            kind=kind,
            connected=done is not None,
            healthy=done is not None,
            fault="" if done is not None else "disconnected",
            symbols=(count := len(running.feed.listings())),
            active_symbols=count,
            last_event_us=max((tick.ts for tick in batch), default=last.last_event_us),
            ticks=last.ticks + (done.accepted if done else 0),
            rejected=last.rejected + (len(done.rejected) if done else 0),
            failures=last.failures + bool(failure),
            last_error=failure or last.last_error,
            cadence_s=running.feed.interval_s,
            heard_us=(last.heard_us or now_us()) if failure else now_us(),
            sessions=sorted(running.hours.sessions),
            good_until_us=now_us() + max(FRESH_US, 3 * running.interval_us),
        )
        note_status(self._store, status)

    def _refresh(self) -> None:
        """Follow the roster; at most every `ROSTER_AGE_S`, and not while the database is away."""
        with self._lock:
            if time.monotonic() - self._read_at >= ROSTER_AGE_S:
                self._read_at = time.monotonic()
                self._follow_roster()

    def _follow_roster(self) -> None:
        try:
            entries = self._read_roster()
            self._forget(self._running.keys() - {entry.name for entry in entries})
            self._running = {entry.name: running for entry in entries if (running := self._run(entry))}
        except DatabaseError as error:
            self._database.failed(error)
        else:
            self._database.over()

    def _forget(self, names: Collection[str]) -> None:
        """Note that these were stopped on purpose."""
        with suppress(StoreUnavailable):  # the note is out of date soon
            for status in filter(None, [feed_status(self._store, name) for name in names]):
                note_status(self._store, replace(status, good_until_us=0))

    def _run(self, entry: Entry) -> _Running | None:
        running = self._running.get(entry.name)
        if running and running.entry == entry:
            return running
        outage = self._outages.setdefault(entry.name, Outage(f"feed {entry.name}", log))
        try:
            feed = self._make(entry, self._store)
        except FeedError as error:
            outage.failed(error)
            return None
        assert isinstance(feed, PolledFeed)
        return _Running(entry, feed, outage, Hours((listing.symbol for listing in feed.listings()), self._known))
