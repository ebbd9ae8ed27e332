"""Connections of this process and the topics they follow; delivers updates.

Rules of this file:
1. `deliver` and `flush` never await, never touch the ORM, and cost nothing per connection beyond one write.
2. Bytes are made once per encoding, joined once per cohort, written once per connection and flush.
3. Between entering the followers of a topic and copying its latest value there is no await: no hole, no duplicate.
4. Nothing of an every topic vanishes, and no closed kline: a hole in seq is repaired from the store (`realtime.repairs`).
5. A topic that nobody follows keeps its group for a while (`linger`), then has neither entry nor group.
6. A newer epoch reaches clients as a snapshot.
7. Who may see things only later follows entries of their own (`realtime.delays`), never those that the bus feeds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from marketdata.histogram import Histogram
from marketdata.layer import Bus
from marketdata.layout import Layout
from marketdata.message import read_message
from marketdata.reads import store_breaker
from marketdata.store import AsyncStore, now_us
from marketdata.topics import Topic
from realtime import protocol
from realtime.allowance import Allowances
from realtime.codes import Close, Eviction
from realtime.cohorts import Cohort, Cohorts, Entry, Pace
from realtime.condition import Condition
from realtime.connection import Connection
from realtime.delays import Delays
from realtime.frames import Encoding, size_of
from realtime.hops import Hops
from realtime.joining import Joining
from realtime.outbox import Item
from realtime.protocol import Position
from realtime.repairs import Repairs
from realtime.replays import CLOSED, Replays
from realtime.slow import SlowLane
from realtime.traced import traced_flushes

if TYPE_CHECKING:
    from realtime.principal import Principal

logger = logging.getLogger(__name__)

NONE_AFTER: Mapping[str, int] = {}
NOWHERE: Mapping[str, Position] = {}
LIVES = 7  # earlier ones of the store that a topic remembers
LAGS = 240  # how late the event loop was; the keeper looks four times a second
FLUSH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # topics with something new: bounds of a histogram
EVEN_S = 0.008  # a flush that took so long is followed by as long a pause, a shorter one by less, a longer one by more


class Hub:
    """The fan-out of one process. Belongs to one event loop.

    Args:
        bus: where updates come from.
        store: where latest values and history are read.
        floor_s, ceiling_s: least and most pause between two flushes.
        outbox_bytes, outbox_updates: bounds of a slow socket's outbox.
        linger_s: how long an unfollowed topic keeps its group.
    """

    def __init__(
        self, bus: Bus, store: AsyncStore, layout: Layout, *, floor_s: float = 0.0, ceiling_s: float = 0.02,
        outbox_bytes: int = 1 << 20, outbox_updates: int = 256, linger_s: float = 10.0,
    ) -> None:  # fmt: skip
        self.bus = bus
        self.store = store
        self.layout = layout
        self.floor_s, self.ceiling_s = floor_s, ceiling_s
        self.linger_s = linger_s
        self.connections: dict[str, Connection] = {}
        self.slow = SlowLane(self, outbox_bytes, outbox_updates)
        self.allowances = Allowances(self)
        self.entries: dict[str, Entry] = {}
        self.cohorts = Cohorts()
        self.counts: Counter[str] = Counter()
        self.lags_us = deque([0], maxlen=LAGS)
        self.flush_sizes = Histogram(FLUSH_SIZES)
        self.hops = Hops()
        self._dirty_every: dict[Entry, None] = {}
        self._dirty_latest: dict[Entry, None] = {}
        self._ready: dict[Pace, None] = {}
        self._flush_at: asyncio.Handle | None = None
        self._not_before = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.repairs = Repairs(self)
        self.joins = store_breaker("joining topics")
        self.joining = Joining(self)
        self.delays = Delays(self)
        self.replays = Replays(self)
        self.condition = Condition(self)
        self.traced = traced_flushes()
        bus.watch(self.condition.changed)

    def time(self) -> float:
        """The event loop's clock, seconds."""
        return self._loop.time()

    # Connections

    def attach(self, connection: Connection) -> None:
        """Take a connection in; it follows nothing yet."""
        self.connections[connection.session] = connection
        connection.sink.on_pause = lambda: self.slow.enter(connection)
        connection.sink.on_resume = lambda: self.slow.drain(connection)
        self._move(connection, connection.encoding, {})
        self.allowances.mind(connection)

    def detach(self, connection: Connection) -> None:
        """Let a connection go, with everything it follows. Doing so twice is no error."""
        if self.connections.pop(connection.session, None) is None:
            return
        if connection.code:
            self.counts[f"close:{connection.code}"] += 1
        connection.sink.on_pause = connection.sink.on_resume = None
        self._leave(connection)
        self.slow.forget(connection)
        self.counts["bytes_of_gone"] += connection.sent_bytes
        connection.cohort = connection.allowance = None

    def identify(self, connection: Connection, principal: Principal) -> None:
        """Say whose a connection is from now on, or what its owner may do from now on.

        One that follows topics at another delay has to begin anew: it is closed.
        """
        before, connection.principal = connection.delay_us, principal
        if connection.renewed is not None:
            connection.renewed()
        self.allowances.mind(connection)
        if connection.delay_us != before and connection.cohort is not None and connection.cohort.paces:
            text = "your plan shows data at another delay from now on: connect again"
            connection.close(Close.STATE_INVALIDATED, protocol.notice("limits", text, code=Close.STATE_INVALIDATED))

    def _move(self, connection: Connection, encoding: Encoding, paces: dict[str, Pace]) -> None:
        """Put a connection among those that follow the same topics at the same paces, in the same encoding."""
        cohort = self.cohorts.find(encoding, paces)
        if cohort is connection.cohort:
            return
        members = cohort.slow if connection.outbox is not None else cohort.fast
        self._leave(connection)
        members[connection] = None
        connection.encoding, connection.cohort = encoding, cohort
        connection.begin()
        if connection.allowance is not None:
            self.allowances.watch(connection)

    def _leave(self, connection: Connection) -> None:
        cohort = connection.cohort
        if cohort is None:
            return
        connection.settle()
        cohort.fast.pop(connection, None)
        cohort.slow.pop(connection, None)
        connection.cohort = None
        self.cohorts.drop_if_empty(cohort, self._loop.time())

    # Subscriptions

    async def ensure(
        self, topics: Sequence[Topic], after: Mapping[str, int] = NONE_AFTER, most: int = 0, *, delay_us: int = 0
    ) -> None:
        """Have topics ready to be followed; of those that are ready nothing is asked.

        Args:
            topics: to follow.
            after: of some of them a seq, from which on their updates are read too, for `replays`; not of delayed ones.
            most: updates of one topic that are read.
            delay_us: how old everything must be that their followers see.

        Raises:
            StoreUnavailable: Redis did not answer; some of the missing topics may be ready nevertheless.
        """
        if delay_us:
            await self.delays.ensure(delay_us, topics)
        else:
            await self.joining.ensure(topics, after, most)

    def subscribe(
        self, connection: Connection, wanted: Mapping[str, float | None], since: Mapping[str, Position] = NOWHERE
    ) -> list[tuple[Pace, bool]]:
        """Have a connection follow topics that `ensure` made ready, at a rate each, some since a position.

        Returns:
            For each topic its pace, and whether the connection followed it already. The caller now sends the reply and how the
            new ones begin (`replays.open`), without awaiting in between.
        """
        entries = self.delays.entries(connection.delay_us)
        early = [self._let_pass(entries[name], wanted[name], at) for name, at in since.items() if name in wanted]
        if any(early) or any(entries[name].pending for name in wanted):
            self.flush()  # what was published before must not reach the new follower after its snapshot
        assert connection.cohort is not None
        paces = dict(connection.cohort.paces)
        result = []
        for name, rate in wanted.items():
            entry = entries[name]
            pace = entry.pace(rate)
            result.append((pace, name in paces))
            paces[entry.name] = pace  # the entry's own text, of which there is one
        self._move(connection, connection.encoding, paces)
        return result

    def _let_pass(self, entry: Entry, rate: float | None, position: Position) -> bool:
        """Let what waits at a rate pass now, when a new follower is ahead of the others there: it must get nothing again."""
        pace = entry.paces.get(None if entry.every else rate)
        if pace is None or not pace.pending or position.seq <= pace.let_through[1]:
            return False
        pace.ready_at = 0.0
        self._ready[pace] = None
        return True

    def unsubscribe(self, connection: Connection, names: Iterable[str]) -> list[str]:
        """Have a connection follow topics no longer. Returns those that it did follow."""
        assert connection.cohort is not None
        paces = dict(connection.cohort.paces)
        left = [name for name in names if paces.pop(name, None) is not None]
        for name in left:
            connection.asked.pop(name, None)
        self._move(connection, connection.encoding, paces)
        if connection.outbox is not None:
            connection.outbox.forget(*left)
        return left

    def serve_as(self, connection: Connection, encoding: Encoding) -> None:
        """Serve a connection in another encoding from now on."""
        assert connection.cohort is not None
        self._move(connection, encoding, connection.cohort.paces)

    def evict(self, name: str, why: Eviction) -> int:
        """End every subscription of a topic, at whatever delay. Returns how many there were."""
        entry = self.entries.get(name)
        if entry is None:
            return 0
        followers = [each for one in (entry, *(line.entry for line in entry.lines)) for each in one.connections()]
        for connection in followers:
            self.unsubscribe(connection, [name])
            connection.say(protocol.evicted(name, why))
        return len(followers)

    # Delivery

    def receiver(self, entry: Entry) -> Callable[[bytes], None]:
        """What the bus is to call with the messages of a topic."""

        def receive(payload: bytes) -> None:
            message = read_message(payload)
            if message is None:
                self.counts["foreign"] += 1  # somebody else's message in our group has no stamp: nothing to deliver
                return
            if entry.live and not entry.repairing:
                self.deliver(entry, *message)
            else:
                entry.held.append(message)

        return receive

    def deliver(self, entry: Entry, epoch: str, seq: int, body: bytes) -> None:
        """Take the next update of a topic and have it flushed soon."""
        if epoch != entry.epoch:
            if epoch in entry.left:
                return  # the store went back to a file of its earlier life: what clients have is newer
            self.begin_epoch(entry, epoch)
        if seq == entry.seq + 1 or (seq > entry.seq and not entry.whole):
            self.counts["received"] += 1
            self.take(entry, Item(seq, body, entry.fresh, entry.every or (entry.whole and CLOSED in body)))
            entry.fresh = ""
        elif seq > entry.seq:
            entry.held.append((epoch, seq, body))
            self.repairs.begin(entry)
        # else a duplicate: the repair, or the snapshot, had it already

    def begin_epoch(self, entry: Entry, epoch: str) -> None:
        """The store lost its memory, or first heard of the topic: it counts from 1 again, and all of that matters."""
        if entry.pending:
            self.flush()  # what is owed to slow connections is owed as of the old epoch
        self.replays.drop(entry)
        entry.left = (*entry.left[-LIVES:], entry.epoch)
        entry.epoch = entry.fresh = epoch
        entry.seq = 0

    def take(self, entry: Entry, item: Item) -> None:
        """Have a topic's newest update delivered with the next flush, and handed on to those who see it later."""
        entry.seq, entry.body, entry.changed_us = item.seq, item.body, now_us()
        if entry.lines:
            for line in entry.lines:
                line.put(entry.epoch, item, entry.changed_us)
        if entry.recent is not None:
            entry.recent.add(item)
        if not entry.paces:
            return  # lingering: the latest value is all that is needed
        conflated = entry.keep(item)
        if conflated:
            self.counts["conflated"] += 1
        (self._dirty_every if entry.every else self._dirty_latest)[entry] = None
        if self._flush_at is None:
            self._schedule()

    def _schedule(self) -> None:
        wait = self._not_before - self._loop.time()
        self._flush_at = self._loop.call_later(wait, self.flush) if wait > 0 else self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write everything that is due: one write per connection."""
        if self._flush_at is not None:
            self._flush_at.cancel()
            self._flush_at = None
        began, now = time.perf_counter(), self._loop.time()  # uvloop's clock counts milliseconds
        entries = (*self._dirty_every, *self._dirty_latest)
        if self.traced is not None:
            self.traced.begins(entries)
        self._dirty_every, self._dirty_latest = {}, {}
        ready, self._ready = self._ready, {}
        due: dict[Cohort, list[bytes]] = {}
        for entry in entries:
            items, entry.pending = entry.pending, []
            for pace in entry.paces.values():
                self._pass(pace, items, now, due)
        for pace in ready:
            self._pass(pace, [], now, due)
        for cohort in due:
            self._write(cohort)
        self.counts["flushes"] += 1
        self.flush_sizes.observe(len(entries))
        if self.hops.wanted and entries:
            self.hops.note(entries)
        self._flush_at = self._loop.call_soon(self._flushed, began)

    def _flushed(self, began: float) -> None:
        """The flush is over, with what transports do at the end of an event loop's turn."""
        self._flush_at = None
        took_s = time.perf_counter() - began
        self._not_before = self._loop.time() + min(max(took_s**2 / EVEN_S, self.floor_s), self.ceiling_s)
        if self._dirty_every or self._dirty_latest or self._ready:
            self._schedule()

    def _pass(self, pace: Pace, items: list[Item], now: float, due: dict[Cohort, list[bytes]]) -> None:
        going = pace.admit(items, now)
        if pace.pending and not pace.timed:
            pace.timed = True
            self._loop.call_at(pace.ready_at, self._pace_ready, pace)
        if going:
            self._encode(pace, going, due)

    def _pace_ready(self, pace: Pace) -> None:
        pace.timed = False
        self._ready[pace] = None
        if self._flush_at is None:
            self._schedule()

    def _encode(self, pace: Pace, items: list[Item], due: dict[Cohort, list[bytes]]) -> None:
        messages = [item.message(pace.entry.name) for item in items]
        encoded: dict[str, list[bytes]] = {}
        for encoding, dues in pace.dues.items():
            if (chunk := encoded.get(encoding.kind)) is None:
                chunk = encoded[encoding.kind] = list(map(encoding.message, messages))
                self.counts["encodes"] += len(chunk)
            for waiting in dues.values():
                waiting += chunk
            due.update(dues)
        self.slow.owe(pace, items)

    def _write(self, cohort: Cohort) -> None:
        payload = cohort.encoding.join(cohort.due)
        count, members = len(cohort.due), list(cohort.fast)
        cohort.due.clear()
        cohort.sent += count
        size = len(payload) if cohort.encoding.framed else size_of(payload)
        cohort.sent_bytes += size
        self.counts["delivered"] += count * len(members)
        self.counts["writes"] += len(members)
        for connection in members:
            connection.sink.write(payload)
        if cohort.sent_bytes >= cohort.alarm:
            self.allowances.spent(cohort, size)

    # Background work

    def spawn(self, work: Coroutine[object, None, None]) -> None:
        """Do something in the background; a failure is logged and counted."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.counts["failures"] += 1
            logger.error("hub: a background task failed", exc_info=error)

    # Housekeeping

    async def forget_idle(self) -> None:
        """Leave the groups of topics that nobody has followed for the linger time."""
        self.replays.forget_unused()
        self.delays.forget_idle()
        until = self._loop.time() - self.linger_s
        idle = [
            entry
            for entry in self.entries.values()
            if entry.live and not entry.lines and entry.idle_since is not None and entry.idle_since <= until
        ]
        for entry in idle:
            self.replays.drop(entry)
            del self.entries[entry.name]
        if idle:
            await self.bus.unfollow([entry.channel for entry in idle])

    def stats(self) -> dict[str, int]:
        """What this process counts, what it holds now, and how late its event loop is: now, and at worst in the last minute."""
        lines = self.delays.lines()
        return {
            **self.counts,
            "connections": len(self.connections),
            "slow": len(self.slow),
            "topics": len(self.entries),
            "delayed_topics": len(lines),
            "delayed_updates": sum(line.waiting for line in lines),
            "cohorts": len(self.cohorts),
            "loop_lag_us": self.lags_us[-1],
            "loop_lag_max_us": max(self.lags_us),
        }

    async def stop(self) -> None:
        """End background work; connections are closed by the server."""
        self.condition.stop()
        self.delays.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._flush_at is not None:
            self._flush_at.cancel()
