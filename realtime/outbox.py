"""What one socket is still owed: bounded, conflating.

Only a socket that cannot be written to right now has anything in here; everybody else takes the shared bytes of `realtime.hub`.
Rules of this file:
1. Of a latest topic there is one slot: a newer value replaces the older one, and that is counted as conflated.
2. Of an every topic there is a queue; when it is full the oldest go, never the newest, and one merged `gap` tells which.
   Closed klines have queues too, and go only for other closed klines.
3. Out goes: control (replies, notices), then gaps and snapshots, then trades and closed klines, then the rest.
4. It goes in portions, between which new control overtakes what still waits. The rest of a round goes before what came since,
   so that a stream of trades starves no quote. A slot has its turn in the round, and what it holds by then goes.
5. One bound holds for all that is owed: control, the round that is going out, queues, slots, and what Python adds to each. Only
   queues are cut, down to the newest trade and the newest closed kline of all; control and what is leaving stay.
6. Whoever is owed many answers is not read from (`caught_up`), so that control is bounded as well.
7. A replay goes behind control, before all else, and outside the bound: its updates are shared by all who resume.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import msgspec

from marketdata.topics import DataType
from realtime import protocol

UPDATE_BYTES = 200  # what an update, a message or a slot costs beside its bytes: measured, some 185 in a queue and 105 in a slot
CONTROL_BYTES = 64 * 1024  # a client that is owed more in replies is not read from
BARS = DataType.KLINE + "."


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
        return self.beginning(old.epoch) if old.epoch and not self.epoch else self

    def beginning(self, epoch: str) -> Item:
        """The item as it goes out when the client has yet to be told the epoch."""
        return Item(self.seq, self.body, epoch, self.keep)

    def message(self, topic: str) -> bytes:
        """The item as the client gets it."""
        if self.epoch:
            return protocol.snapshot(topic, self.epoch, self.seq, self.body)
        return protocol.update(topic, self.seq, self.body)


class Gap(msgspec.Struct, gc=False):
    """A stretch of an every topic that this client will not get."""

    body: ClassVar[bytes] = b""  # it waits among items
    epoch: str
    first: int
    last: int
    reason: Literal["overflow", "history", "broker"] = "overflow"

    def message(self, topic: str) -> bytes:
        """The gap as the client gets it."""
        return protocol.gap(topic, self.epoch, self.first, self.last, self.reason)


Owed = tuple[str, Item | Gap]  # with the epoch of the topic


def weight(owed: Iterable[Owed]) -> int:
    """What waiting costs, in bytes."""
    return sum(UPDATE_BYTES + len(item.body) for _, item in owed)


def _answered() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Outbox:
    """What a slow socket is owed.

    Args:
        most_bytes: bound on what is owed. A slot counts without its value, which the hub keeps anyway.
        most_updates: bound on the updates of one queue.

    Attributes:
        size_bytes: what is owed.
        control_bytes: that of it which is control.
        replays: (topic, what it missed), of a client that resumed.
        leaving: the round that is going out: (topic, what is left of its queue), or (topic, None) for the turn of its slot.
        lost: what was cut from queues, by topic and epoch; the next round begins with it.
        untold: topic → epoch that began with an update that was cut: the topic's next one begins it.
    """

    most_bytes: int
    most_updates: int
    size_bytes: int = 0
    control_bytes: int = 0
    conflated: int = 0
    gaps: int = 0
    control: deque[bytes] = field(default_factory=deque)
    replays: deque[tuple[str, deque[Item]]] = field(default_factory=deque)
    leaving: deque[tuple[str, list[Owed] | None]] = field(default_factory=deque)
    slots: dict[str, Item] = field(default_factory=dict)
    trades: dict[str, list[Owed]] = field(default_factory=dict)
    bars: dict[str, list[Owed]] = field(default_factory=dict)
    lost: dict[tuple[str, str], Gap] = field(default_factory=dict)
    untold: dict[str, str] = field(default_factory=dict)
    _answered: asyncio.Event = field(default_factory=_answered)

    def __len__(self) -> int:
        waiting = (*self.trades.values(), *self.bars.values(), *(queue for _, queue in self.leaving if queue is not None))
        replayed = sum(len(items) for _, items in self.replays)
        return len(self.control) + len(self.slots) + replayed + sum(map(len, waiting))

    # In

    def say(self, message: bytes) -> None:
        """Owe a control message; those are never dropped."""
        self.control.append(message)
        self.control_bytes += len(message) + UPDATE_BYTES
        self.size_bytes += len(message) + UPDATE_BYTES
        if self.control_bytes > CONTROL_BYTES:
            self._answered.clear()

    async def caught_up(self) -> None:
        """Wait while so many answers are owed that no further command should be read."""
        await self._answered.wait()

    def give_up(self) -> None:
        """Let nobody wait any more: the connection is being closed."""
        self._answered.set()

    def put(self, topic: str, epoch: str, item: Item) -> None:
        """Owe an update.

        Args:
            topic: of the update.
            epoch: of the topic, for a gap that may have to name it.
            item: the update.
        """
        if self.untold and (begun := self.untold.pop(topic, "")):
            item = item.beginning(item.epoch or begun)
        old = self.slots.pop(topic, None)  # an older value, or an open kline of which this is the close
        if old is not None:
            self.conflated += 1
            self.size_bytes -= UPDATE_BYTES
            item = item.instead_of(old)
        if item.keep:
            self._queue(topic, epoch, item)
        else:
            self.slots[topic] = item
            self.size_bytes += UPDATE_BYTES

    def replay(self, topic: str, items: Iterable[Item]) -> None:
        """Owe what a client missed of a topic that it follows from now on."""
        self.replays.append((topic, deque(items)))

    def skip(self, topic: str, gap: Gap) -> None:
        """Owe the announcement of a loss, behind the updates that came before it."""
        self._queue(topic, gap.epoch, gap)

    def _queue(self, topic: str, epoch: str, item: Item | Gap) -> None:
        queues = self.bars if topic.startswith(BARS) else self.trades
        queue = queues.get(topic)
        if queue is None:
            queue = queues[topic] = []
        queue.append((epoch, item))
        self.size_bytes += UPDATE_BYTES + len(item.body)
        if len(queue) > self.most_updates:
            self._lose(topic, queues)
        while self.size_bytes > self.most_bytes:
            if len(queue) > 1 and queues is self.trades:
                self._lose(topic, queues)
            elif not self._make_room(topic, queues):
                return

    def _make_room(self, topic: str, queues: dict[str, list[Owed]]) -> bool:
        """Cut a topic with trades, or one with closed klines for another such, for this one. False: there is none left to cut."""
        for kind in (self.trades, queues):
            if other := next((name for name in kind if name != topic), None):
                self._lose(other, kind)
                return True
        if len(queues[topic]) > 1:
            self._lose(topic, queues)
            return True
        return False

    def _lose(self, topic: str, queues: dict[str, list[Owed]]) -> None:
        """Cut the oldest of a queue; the next round begins with a gap that takes it in."""
        queue = queues[topic]
        epoch, item = queue.pop(0)
        self.size_bytes -= UPDATE_BYTES + len(item.body)
        last = item.seq if isinstance(item, Item) else item.last
        lost = self.lost.get((topic, epoch))
        if lost is not None:
            lost.last = last
        else:
            self.gaps += 1
            self.size_bytes += UPDATE_BYTES
            self.lost[topic, epoch] = Gap(epoch, item.seq if isinstance(item, Item) else item.first, last)
        if isinstance(item, Item) and item.epoch:
            self._begin_later(topic, item.epoch, queue)
        if not queue:
            del queues[topic]

    def _begin_later(self, topic: str, epoch: str, queue: list[Owed]) -> None:
        """The update with which an epoch began was cut: now it begins with the topic's next."""
        if queue and isinstance(item := queue[0][1], Item):
            queue[0] = (queue[0][0], item.beginning(item.epoch or epoch))
        else:
            self.untold[topic] = epoch

    def forget(self, *topics: str) -> None:
        """Owe nothing of these topics any more: they were unsubscribed."""
        names = set(topics)
        queues = [queue for name, queue in self.leaving if name in names and queue]
        queues += [kind.pop(name) for kind in (self.trades, self.bars) for name in names & kind.keys()]
        slots = [self.slots.pop(name) for name in names & self.slots.keys()]
        lost = [self.lost.pop(key) for key in list(self.lost) if key[0] in names]
        self.size_bytes -= sum(map(weight, queues)) + UPDATE_BYTES * (len(slots) + len(lost))
        self.leaving = deque(turn for turn in self.leaving if turn[0] not in names)
        self.replays = deque(replay for replay in self.replays if replay[0] not in names)
        for name in names & self.untold.keys():
            del self.untold[name]

    # Out

    def take(self, most_bytes: float = math.inf) -> list[bytes]:
        """What leaves next.

        Args:
            most_bytes: no further message is taken once there are so many bytes; control leaves in any case.
        """
        out = list(self.control)
        self.control.clear()
        size = sum(map(len, out))
        self.size_bytes -= self.control_bytes
        self.control_bytes = 0
        self._answered.set()
        while size < most_bytes and (self.replays or self.leaving or self._begin_round()):
            if message := self._replayed() if self.replays else self._next():
                out.append(message)
                size += len(message)
        return out

    def _replayed(self) -> bytes | None:
        topic, items = self.replays[0]
        if not items:
            self.replays.popleft()
            return None
        return items.popleft().message(topic)

    def _next(self) -> bytes | None:
        """The next message of the round; None when the slot whose turn it is holds nothing that may go yet."""
        topic, queue = self.leaving[0]
        if not queue:
            self.leaving.popleft()
            if topic in self.bars or (item := self.slots.pop(topic, None)) is None:  # a kline that has closed since goes first
                return None
            self.size_bytes -= UPDATE_BYTES
            return item.message(topic)
        owed = queue.pop(0)
        if not queue:
            self.leaving.popleft()
        self.size_bytes -= UPDATE_BYTES + len(owed[1].body)
        return owed[1].message(topic)

    def _begin_round(self) -> bool:
        """Have everything that is owed leave, in order. False: nothing is."""
        waiting = {**self.trades, **self.bars}
        fresh = {topic: None for topic, item in self.slots.items() if item.epoch and topic not in waiting}
        self.leaving.extend((topic, [(epoch, gap)]) for (topic, epoch), gap in self.lost.items())
        self.leaving.extend(fresh.items())
        self.leaving.extend(waiting.items())
        self.leaving.extend((topic, None) for topic in self.slots if topic not in fresh)
        self.lost, self.trades, self.bars = {}, {}, {}
        return bool(self.leaving)
