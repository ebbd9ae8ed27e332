"""What one socket is still owed: bounded, conflating.

Only a socket that cannot be written to right now has anything in here; everybody else takes the shared bytes of `realtime.hub`.
Rules of this file:
1. Of a latest topic there is one slot: a newer value replaces the older one, and that is counted as conflated.
2. Of an every topic there is a queue; when it is full the oldest go, and one merged `gap` tells which.
3. Out goes: control (replies, notices), then gaps and snapshots, then trades and closed klines, then the rest.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from realtime import protocol


@dataclass(slots=True, frozen=True)
class Item:
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

    epoch: str
    first: int
    last: int


@dataclass(slots=True)
class Outbox:
    """What a slow socket is owed.

    Args:
        most_bytes: bound on what waits in queues. Slots hold the very bytes that the hub keeps anyway.
        most_updates: bound on the updates of one every topic.
    """

    most_bytes: int
    most_updates: int
    size_bytes: int = 0
    conflated: int = 0
    gaps: int = 0
    control: deque[bytes] = field(default_factory=deque)
    slots: dict[str, Item] = field(default_factory=dict)
    queues: dict[str, deque[Item]] = field(default_factory=dict)
    lost: dict[str, Lost] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.control) + len(self.slots) + sum(map(len, self.queues.values()))

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
        queue.append(item)
        self.size_bytes += len(item.body)
        while len(queue) > self.most_updates or (self.size_bytes > self.most_bytes and queue):
            self._lose(topic, epoch, queue.popleft())

    def _lose(self, topic: str, epoch: str, item: Item) -> None:
        self.size_bytes -= len(item.body)
        lost = self.lost.get(topic)
        if lost is None or lost.epoch != epoch:
            self.gaps += 1
            self.lost[topic] = Lost(epoch, item.seq, item.seq)
        else:
            lost.last = item.seq

    def forget(self, topic: str) -> None:
        """Owe nothing of a topic any more: it was unsubscribed."""
        self.lost.pop(topic, None)
        self.slots.pop(topic, None)
        for item in self.queues.pop(topic, ()):
            self.size_bytes -= len(item.body)

    def take(self) -> list[bytes]:
        """Everything owed, in the order in which it leaves; the outbox is empty afterwards."""
        out = list(self.control)
        out += [protocol.gap(topic, lost.epoch, lost.first, lost.last, "overflow") for topic, lost in self.lost.items()]
        late: list[bytes] = []
        for topic, queue in self.queues.items():
            out += [item.message(topic) for item in queue]
        for topic, item in self.slots.items():
            (out if item.epoch else late).append(item.message(topic))
        self.control.clear()
        self.slots.clear()
        self.queues.clear()
        self.lost.clear()
        self.size_bytes = 0
        return out + late
