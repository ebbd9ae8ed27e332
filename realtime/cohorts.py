"""Who gets what: topics at a pace, and the connections that follow the same ones.

A `Cohort` is all connections with equal subscriptions and equal encoding. Its members receive the same bytes, so what is due is
joined once for all of them; a member costs one write. A connection whose socket is full leaves the fast members for the slow ones
and pays for an outbox of its own until that is drained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from marketdata.topics import Delivery, Topic
from realtime.frames import Encoding
from realtime.outbox import Item

if TYPE_CHECKING:
    from realtime.connection import Connection
    from realtime.delays import Line
    from realtime.replays import Recent


NOTHING = ("", 0, b"")


def is_whole(topic: Topic) -> bool:
    """Whether a hole in a topic's seq matters: of every topics each update does, of klines the closed ones do."""
    return topic.delivery is Delivery.EVERY or topic.interval is not None


class Entry:
    """A topic that this process follows.

    Attributes:
        name: the topic as text.
        every: each update matters, none is conflated.
        whole: a hole in seq is repaired: every topics, and klines for the sake of the closed ones.
        epoch, seq, body: its newest update; epoch is empty while there was none, seq 0 while there was none of this epoch.
        fresh: the epoch, while none of its updates was taken: the first goes out as a snapshot; else empty.
        left: epochs that came before this one, to which it does not go back.
        live: the latest value was read and the group is joined: updates count.
        held: messages that wait, for the latest value or for a hole to be repaired.
        pending: what the next flush delivers.
        paces: max_rate (None: every update) → the topic at that pace.
        recent: its newest updates, while some client resumes.
        lines: what hands its updates on, later, to followers whose plan has a delay.
        line: what feeds it in place of the bus; None: the bus does.
        changed_us: wall clock of the newest update, for staleness.
        idle_since: loop time since which nobody follows it; None while somebody does.
    """

    __slots__ = (
        "body", "changed_us", "channel", "epoch", "every", "fresh", "held", "idle_since",
        "left", "line", "lines", "live", "name", "paces", "pending", "recent", "repairing", "seq", "topic", "whole",
    )  # fmt: skip

    def __init__(self, topic: Topic, channel: bytes) -> None:
        self.topic = topic
        self.name = str(topic)
        self.channel = channel
        self.every = topic.delivery is Delivery.EVERY
        self.whole = is_whole(topic)
        self.epoch = self.fresh = ""
        self.left: tuple[str, ...] = ()
        self.seq = 0
        self.body = b""
        self.live = False
        self.repairing = False
        self.held: list[tuple[str, int, bytes]] = []
        self.pending: list[Item] = []
        self.paces: dict[float | None, Pace] = {}
        self.recent: Recent | None = None
        self.lines: tuple[Line, ...] = ()
        self.line: Line | None = None
        self.changed_us = 0
        self.idle_since: float | None = 0.0

    def pace(self, rate: float | None) -> Pace:
        """The topic at a rate; every topics know no rate."""
        rate = None if self.every else rate
        found = self.paces.get(rate)
        if found is None:
            found = self.paces[rate] = Pace(self, rate)
        return found

    def keep(self, item: Item) -> int:
        """Add an update to what is pending. Returns how many undelivered ones it replaced (0 or 1)."""
        if self.every or not self.pending or self.pending[-1].keep:
            self.pending.append(item)
            return 0
        self.pending[-1] = item.instead_of(self.pending[-1])
        return 1

    def connections(self) -> list[Connection]:
        """Who follows the topic."""
        return [
            connection for pace in self.paces.values() for cohort in pace.cohorts for connection in (*cohort.fast, *cohort.slow)
        ]


class Pace:
    """A topic at one rate: when it was last let through, and what has come since.

    Attributes:
        rate: most updates a second; None for all.
        cohorts: who follows the topic at this rate.
        dues: encoding → cohort → its `due`, of those cohorts: what a flush walks through, a million times a second.
        ready_at: loop time from which the next update may pass.
        pending: what waits for that time.
        timed: a timer is set for it.
        let_through: (epoch, seq, body) of the newest update that passed.
    """

    __slots__ = ("cohorts", "dues", "entry", "let_through", "pending", "rate", "ready_at", "timed")

    def __init__(self, entry: Entry, rate: float | None) -> None:
        self.entry = entry
        self.rate = rate
        self.cohorts: set[Cohort] = set()
        self.dues: dict[Encoding, dict[Cohort, list[bytes]]] = {}
        self.ready_at = 0.0
        self.pending: list[Item] = []
        self.timed = False
        self.let_through = NOTHING

    def view(self) -> tuple[str, int, bytes]:
        """The topic as its followers at this rate know it: (epoch, seq, body). Every update still to come has a greater seq.

        Of a topic that has nothing (yet, or in a new epoch) all three are empty.
        """
        if self.pending:
            return self.let_through
        return (self.entry.epoch, self.entry.seq, self.entry.body) if self.entry.seq else NOTHING

    def join(self, cohort: Cohort) -> None:
        """Have a cohort follow the topic at this rate."""
        self.cohorts.add(cohort)
        self.dues.setdefault(cohort.encoding, {})[cohort] = cohort.due

    def leave(self, cohort: Cohort) -> None:
        """Have a cohort follow no longer. The topic forgets a rate at which nobody follows it."""
        self.cohorts.discard(cohort)
        alike = self.dues[cohort.encoding]
        del alike[cohort]
        if not alike:
            del self.dues[cohort.encoding]
        if not self.cohorts:
            self.entry.paces.pop(self.rate, None)

    def admit(self, items: list[Item], now: float) -> list[Item]:
        """Take updates in, and give out what may go now: the newest at most, but every closed kline at once.

        What does not go stays pending until `ready_at`, so that the last value always arrives.
        """
        if self.rate is None:
            return items
        for item in items:
            if self.pending and not self.pending[-1].keep:
                self.pending[-1] = item.instead_of(self.pending[-1])
            else:
                self.pending.append(item)
        kept = [item for item in self.pending if item.keep]
        if not self.pending or (not kept and now < self.ready_at):
            return []
        going, self.pending = (kept, self.pending[len(kept) :]) if now < self.ready_at else (self.pending, [])
        self.ready_at = now + 1.0 / self.rate
        self.let_through = (self.entry.epoch, going[-1].seq, going[-1].body)
        return going


class Cohort:
    """Connections with equal subscriptions and equal encoding.

    Attributes:
        paces: topic → the pace at which all members follow it.
        fast: members that are written to directly.
        slow: members whose socket is full.
        due: encoded messages of the flush that is being made; always this one list, which `Pace.dues` know too.
        sent, sent_bytes: updates that were given to each member since the cohort exists, and their bytes as they leave.
        alarm: of these bytes as many as one member's allowance may not suffice for; where none has one, infinite.
    """

    __slots__ = ("alarm", "due", "encoding", "fast", "paces", "sent", "sent_bytes", "slow")

    def __init__(self, encoding: Encoding, paces: dict[str, Pace]) -> None:
        self.encoding = encoding
        self.paces = paces
        self.fast: dict[Connection, None] = {}
        self.slow: dict[Connection, None] = {}
        self.due: list[bytes] = []
        self.sent = self.sent_bytes = 0
        self.alarm = math.inf

    def __len__(self) -> int:
        return len(self.fast) + len(self.slow)


class Cohorts:
    """All cohorts of a process, each found by what makes it one."""

    def __init__(self) -> None:
        self._known: dict[tuple[Encoding, tuple[Pace, ...]], Cohort] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Cohort]:
        return iter(self._known.values())

    def find(self, encoding: Encoding, paces: dict[str, Pace]) -> Cohort:
        """The cohort of an encoding and a set of paces; a new one registers with its topics."""
        key = _key(encoding, paces)
        cohort = self._known.get(key)
        if cohort is None:
            cohort = self._known[key] = Cohort(encoding, paces)
            for pace in paces.values():
                pace.join(cohort)
                pace.entry.idle_since = None
        return cohort

    def drop_if_empty(self, cohort: Cohort, now: float) -> None:
        """Forget a cohort without members; topics that nobody follows any more are idle from now on."""
        if len(cohort):
            return
        del self._known[_key(cohort.encoding, cohort.paces)]
        for pace in cohort.paces.values():
            pace.leave(cohort)
            if not pace.entry.paces:
                pace.entry.idle_since = now


def _key(encoding: Encoding, paces: dict[str, Pace]) -> tuple[Encoding, tuple[Pace, ...]]:
    return encoding, tuple(sorted(paces.values(), key=id))  # in whatever order; a frozenset is six times as large
