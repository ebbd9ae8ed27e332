"""What a client missed since the position that it names: all of it, or a new beginning, never a part.

Rules of this file:
1. A position is recovered in its epoch only, and only if everything after it is at hand; else its topic begins with a snapshot.
2. Of an every topic each update is replayed, of klines each closed bar and the newest value, of the others the newest value.
3. The store is read once for all clients at one position; what is published from then on is added here, without a hole.
4. Nothing here outgrows what the store keeps of a topic, and it is forgotten soon after the last client asked.
5. Of a delayed topic nothing is replayed beyond what its followers have been shown: who is further begins anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from marketdata.store import Recalled, Stamped, now_us
from marketdata.topics import Topic
from realtime import protocol
from realtime.cohorts import Entry, Pace, is_whole
from realtime.outbox import Item
from realtime.protocol import Position

if TYPE_CHECKING:
    from realtime.hub import Hub

KEPT_S = 10.0  # after the last client asked
LONGEST_S = 60.0  # after the store was read: then it is read again, as the window moves on
ATTEMPTS = 3
MOST_AT_ONCE = 200_000  # updates that one command may have read; of so many topics each gets its share
CLOSED = b'"closed":true'


class Recent:
    """The updates of one entry from some seq to its newest, without a hole.

    Attributes:
        after: the position from which the store was asked.
        first: seq of the first update that is here.
        reading: done when what the store keeps is here.
        born, used: loop time of the reading, and of the last client.
    """

    __slots__ = ("_items", "_most", "after", "born", "first", "reading", "used")

    def __init__(self, entry: Entry, after: int, most: int, now: float) -> None:
        self.after = after
        self.first = entry.seq + 1
        self.reading: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.born = self.used = now
        self._items: deque[Item] = deque()
        self._most = most

    def add(self, item: Item) -> None:
        """The entry's next update."""
        self._items.append(item)
        if len(self._items) > self._most:
            self.first = self._items.popleft().seq + 1

    def fill(self, entry: Entry, updates: Sequence[Stamped]) -> None:
        """Put in front what the store keeps: a stretch without a hole. The reading is over."""
        for stamped in reversed(updates):
            if stamped.seq == self.first - 1 and len(self._items) < self._most:
                keep = entry.every or CLOSED in stamped.body
                self._items.appendleft(Item(stamped.seq, stamped.body, "", keep))
                self.first = stamped.seq
        self.end()

    def end(self) -> None:
        """Have those who wait for the reading go on."""
        if not self.reading.done():
            self.reading.set_result(None)

    def knows(self, seq: int) -> bool:
        """Whether the store need not be asked: what follows `seq` is here, or the store did not have it."""
        return self.reading.done() and (seq >= self.after or self.first > self.after + 1)

    def since(self, seq: int) -> list[Item] | None:
        """What follows `seq`; None when that is not all here."""
        if seq + 1 < self.first:
            return None
        if self._items and self._items[-1].seq - self.first >= len(self._items):  # klines that a line has conflated
            return [item for item in self._items if item.seq > seq]
        return list(islice(self._items, seq + 1 - self.first, None))


class Opening(msgspec.Struct, frozen=True, gc=False):
    """How a topic begins for a client.

    Attributes:
        recovered: everything after its position follows.
        lost: of an every topic (first, last) seq that it will never get; None: nothing.
        items: what it is sent before the live updates.
    """

    recovered: bool
    lost: tuple[int, int] | None
    items: list[Item]

    def losses(self, entry: Entry) -> list[bytes]:
        """What announces the loss."""
        return [protocol.gap(entry.name, entry.epoch, *self.lost, "history")] if self.lost else []


class Replays:
    """Has positions of one hub's topics recovered."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._kept: dict[Entry, None] = {}

    async def prepare(self, topics: Sequence[Topic], since: Mapping[str, Position], delay_us: int = 0) -> None:
        """Make topics ready as `Hub.ensure` does, with what was published since these positions at hand.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        named = [topic for topic in topics if str(topic) in since]
        most = max(MOST_AT_ONCE // max(len(named), 1), 1)
        after = {str(topic): since[str(topic)].seq for topic in named if is_whole(topic)}
        known = self.hub.delays.entries(delay_us)
        ready = self.hub.ensure(topics, after, most, delay_us=delay_us)
        await asyncio.gather(ready, self._read_live(known, named, since, most))
        await self._read_live(known, named, since, most)  # those that somebody else was making ready

    async def _read_live(
        self, known: Mapping[str, Entry], topics: Sequence[Topic], since: Mapping[str, Position], most: int
    ) -> None:
        for _ in range(ATTEMPTS):
            wanted = self._unknown(known, topics, since)
            busy = {entry: entry.recent.reading for entry in wanted if entry.recent and not entry.recent.reading.done()}
            if mine := {entry: seq for entry, seq in wanted.items() if entry not in busy}:
                await self._read(mine, since, most)
            await asyncio.gather(*map(asyncio.shield, busy.values()))

    def _unknown(self, known: Mapping[str, Entry], topics: Sequence[Topic], since: Mapping[str, Position]) -> dict[Entry, int]:
        """Entries of which the store must be asked, and the seq after which."""
        wanted = {}
        for topic in topics:
            entry, position = known.get(str(topic)), since[str(topic)]
            if entry is None or not entry.live or (position.epoch and position.epoch != entry.epoch):
                continue
            recent = entry.recent
            if position.seq > entry.seq or (entry.whole and (recent is None or not recent.knows(position.seq))):
                wanted[entry] = min(position.seq, entry.seq)
        return wanted

    async def _read(self, wanted: Mapping[Entry, int], since: Mapping[str, Position], most: int) -> None:
        recents = [self.begin(entry, seq, most) for entry, seq in wanted.items()]
        ends = {entry.name: max(entry.seq, since[entry.name].seq) for entry in wanted if entry.line is not None}
        try:
            found = await self.hub.store.recall([(entry.name, seq) for entry, seq in wanted.items()], most, ends)
        except BaseException:
            for entry in wanted:
                self.drop(entry)
            raise
        for entry, recent, recalled in zip(wanted, recents, found, strict=True):
            if entry.recent is recent and recalled.latest is not None and recalled.latest.epoch == entry.epoch:
                self._catch_up(entry, recalled)
                recent.fill(entry, self._in_window(entry, recalled))
            recent.end()

    def _catch_up(self, entry: Entry, recalled: Recalled) -> None:
        """Deliver what the bus has yet to bring: a client may have it from another process already."""
        if entry.line is not None:
            entry.line.hasten(recalled.updates)
            return
        for stamped in recalled.updates:
            if stamped.seq == entry.seq + 1 or not entry.whole:
                self.hub.deliver(entry, stamped.epoch, stamped.seq, stamped.body)

    def begin(self, entry: Entry, after: int, most: int) -> Recent:
        """From now on remember what an entry takes."""
        most = min(most, self.hub.layout.kept(entry.name))
        entry.recent = recent = Recent(entry, after, most, self.hub.time())
        self._kept[entry] = None
        self.hub.counts["replays_read"] += 1
        return recent

    def joined(self, entry: Entry, after: int, most: int, recalled: Recalled) -> None:
        """An entry becomes live, and what the store keeps after a position was read with its latest value."""
        self.begin(entry, after, most).fill(entry, self._in_window(entry, recalled))

    def _in_window(self, entry: Entry, recalled: Recalled) -> list[Stamped]:
        oldest_us = (
            now_us() - int(self.hub.layout.replayed_s(entry.name) * 1e6) - (entry.line.delay_us if entry.line is not None else 0)
        )
        return [stamped for stamped in recalled.updates if stamped.published_us >= oldest_us]

    def drop(self, entry: Entry) -> None:
        """Remember an entry's updates no longer: they have a hole, or another epoch began."""
        if entry.recent is not None:
            entry.recent.end()
        entry.recent = None
        self._kept.pop(entry, None)

    def forget_unused(self) -> None:
        """Drop what nobody asked for lately."""
        now = self.hub.time()
        for entry in list(self._kept):
            recent = entry.recent
            if recent is None or (recent.reading.done() and (now > recent.used + KEPT_S or now > recent.born + LONGEST_S)):
                self.drop(entry)

    # What a client is sent

    def open(self, pace: Pace, position: Position | None) -> Opening:
        """How a topic begins for a client that has it at a position. The caller now sends it, without awaiting in between."""
        entry = pace.entry
        if position is not None:
            items = self._missed(pace, position)
            self.hub.counts["recovered" if items is not None else "unrecovered"] += 1
            if items is not None:
                self.hub.counts["replayed"] += len(items)
                return Opening(True, None, items)
        epoch, seq, body = pace.view()
        if not epoch:
            return Opening(False, None, [])
        lost = None
        if position is not None and entry.every and position.epoch == epoch and position.seq + 1 < seq:
            lost = (position.seq + 1, seq - 1)
            self.hub.counts["gaps"] += 1
            self.hub.counts["gap:history"] += 1
        return Opening(False, lost, [Item(seq, body, epoch)])

    def _missed(self, pace: Pace, position: Position) -> list[Item] | None:
        """What follows a position; None when that cannot be told."""
        entry = pace.entry
        epoch, seq, body = pace.view()
        if not epoch and not position.epoch:
            return []  # nothing was published before, and nothing since
        if not _may_recover(entry, position) or epoch != entry.epoch:
            return None
        items = [Item(seq, body)] if seq > position.seq else []
        if entry.whole and items:
            missed = self._recent(entry, position.seq)
            if missed is None:
                return None
            items = missed if entry.every else [item for item in missed if item.keep and item.seq < seq] + items
        if items and not position.epoch:
            items[0] = Item(items[0].seq, items[0].body, epoch, items[0].keep)  # as a snapshot: it names the epoch
        return items

    def _recent(self, entry: Entry, seq: int) -> list[Item] | None:
        if entry.recent is None:
            return None
        entry.recent.used = self.hub.time()
        return entry.recent.since(seq)


def _may_recover(entry: Entry, position: Position) -> bool:
    """Whether a position lies in the epoch that a topic is in, and not behind its end."""
    if not position.epoch:
        return position.seq == 0  # nothing was ever received: everything since the beginning
    return position.epoch == entry.epoch and position.seq <= entry.seq
