"""What one socket is still owed: bounded, conflating.

Only a socket that cannot be written to right now has anything in here; everybody else takes the shared bytes of `realtime.hub`.
Rules of this file:
1. Of a latest topic there is one slot: a newer value replaces the older one, and that is counted as conflated.
2. Of an every topic there is a queue; when it is full the oldest go, never the newest, and one merged `gap` tells which.
3. Out goes: control (replies, notices), then gaps and snapshots, then trades and closed klines, then the rest.
4. It goes in portions, between which new control overtakes what still waits. The rest of a round goes before what came since,
   so that a stream of trades starves no quote.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import msgspec

from realtime import protocol


class Item(msgspec.Struct, frozen=True, gc=False):
    """One update of a topic.

    Attributes:
        epoch: set when the client must be told a new beginning: the item then goes out as a snapshot.
        keep: must not be conflated away (a trade, a closed kline).
    """

    seq: int
    body: bytes
    epoch: str = ""
    keep: bool = False

    def instead_of(self, old: Item) -> Item:
        """The item as it goes out when an undelivered older one is dropped for it."""
        if old.epoch and not self.epoch:
            return Item(self.seq, self.body, old.epoch, self.keep)
        return self

    def message(self, topic: str) -> bytes:
        """The item as the client gets it."""
        if self.epoch:
            return protocol.snapshot(topic, self.epoch, self.seq, self.body)
        return protocol.update(topic, self.seq, self.body)


@dataclass(slots=True)
class Lost:
    """A stretch of an every topic that this client will not get."""

    first: int
    last: int


@dataclass(slots=True)
class Outbox:
    """What a slow socket is owed.

    Args:
        most_bytes: bound on what waits in queues. Slots hold the very bytes that the hub keeps anyway.
        most_updates: bound on the updates of one every topic.

    Attributes:
        leaving: (topic, message) of the round that is going out.
    """

    most_bytes: int
    most_updates: int
    size_bytes: int = 0
    conflated: int = 0
    gaps: int = 0
    control: deque[bytes] = field(default_factory=deque)
    leaving: deque[tuple[str, bytes]] = field(default_factory=deque)
    slots: dict[str, Item] = field(default_factory=dict)
    queues: dict[str, deque[tuple[str, Item]]] = field(default_factory=dict)
    lost: dict[tuple[str, str], Lost] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.control) + len(self.leaving) + len(self.slots) + sum(map(len, self.queues.values()))

    def say(self, message: bytes) -> None:
        """Owe a control message; those are never dropped."""
        self.control.append(message)
        self.size_bytes += len(message)

    def put(self, topic: str, epoch: str, item: Item) -> None:
        """Owe an update.

        Args:
            topic: of the update.
            epoch: of the topic, for a gap that may have to name it.
            item: the update.
        """
        if item.keep:
            self._queue(topic, epoch, item)
        else:
            self._slot(topic, item)

    def _slot(self, topic: str, item: Item) -> None:
        old = self.slots.pop(topic, None)
        if old is not None:
            self.conflated += 1
            item = item.instead_of(old)
        self.slots[topic] = item

    def _queue(self, topic: str, epoch: str, item: Item) -> None:
        if (old := self.slots.pop(topic, None)) is not None:  # an open kline, and this is how it closed
            self.conflated += 1
            item = item.instead_of(old)
        queue = self.queues.setdefault(topic, deque())
        queue.append((epoch, item))
        self.size_bytes += len(item.body)
        while len(queue) > 1 and (len(queue) > self.most_updates or self.size_bytes > self.most_bytes):
            self._lose(topic, *queue.popleft())

    def _lose(self, topic: str, epoch: str, item: Item) -> None:
        self.size_bytes -= len(item.body)
        lost = self.lost.get((topic, epoch))
        if lost is None:
            self.gaps += 1
            self.lost[topic, epoch] = Lost(item.seq, item.seq)
        else:
            lost.last = item.seq
        if item.epoch:  # a new epoch began with it: now it begins with the next
            queue = self.queues[topic]
            queue[0] = (queue[0][0], queue[0][1].instead_of(item))

    def forget(self, topic: str) -> None:
        """Owe nothing of a topic any more: it was unsubscribed."""
        self.lost = {key: lost for key, lost in self.lost.items() if key[0] != topic}
        self.slots.pop(topic, None)
        self.leaving = deque(pair for pair in self.leaving if pair[0] != topic)
        for _, item in self.queues.pop(topic, ()):
            self.size_bytes -= len(item.body)

    def take(self, most_bytes: float = math.inf) -> list[bytes]:
        """What leaves next.

        Args:
            most_bytes: no further message is taken once there are so many bytes; control leaves in any case.
        """
        out = list(self.control)
        self.control.clear()
        size = sum(map(len, out))
        self.size_bytes -= size
        while size < most_bytes and (self.leaving or self._begin_round()):
            message = self.leaving.popleft()[1]
            out.append(message)
            size += len(message)
        return out

    def _begin_round(self) -> bool:
        """Have everything that is owed leave, in order. False: nothing is."""
        for (topic, epoch), lost in self.lost.items():
            self.leaving.append((topic, protocol.gap(topic, epoch, lost.first, lost.last, "overflow")))
        late: list[tuple[str, bytes]] = []
        for topic, queue in self.queues.items():
            self.leaving.extend((topic, item.message(topic)) for _, item in queue)
            self.size_bytes -= sum(len(item.body) for _, item in queue)
        for topic, item in self.slots.items():
            (self.leaving if item.epoch else late).append((topic, item.message(topic)))
        self.leaving.extend(late)
        self.lost.clear()
        self.queues.clear()
        self.slots.clear()
        return bool(self.leaving)
