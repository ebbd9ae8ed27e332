"""Sockets that do not keep up, or were sent all that their plan allows: what they are owed, and their way back to the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from realtime.cohorts import Cohort, Pace
from realtime.connection import Connection
from realtime.outbox import Item, Outbox

if TYPE_CHECKING:
    from realtime.hub import Hub

PORTION_BYTES = 32 * 1024  # of what a slow socket is owed, in one write


class SlowLane:
    """The slow connections of one hub. Each pays for an outbox of its own; nobody else pays anything for them.

    `slow_since` of one that is here says since when its socket is too full, or its losses are its own; None: it is only held back
    by its allowance.

    Args:
        hub: whose connections.
        most_bytes, most_updates: bounds of an outbox.
    """

    def __init__(self, hub: Hub, most_bytes: int, most_updates: int) -> None:
        self.hub = hub
        self.most_bytes, self.most_updates = most_bytes, most_updates
        self._connections: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections))

    def enter(self, connection: Connection) -> None:
        """The socket is full: from now on the connection has an outbox."""
        if connection.cohort is None or connection.slow_since is not None:
            return
        if connection.outbox is None:
            self._enter(connection, connection.cohort)
        connection.slow_since = self.hub.time()
        self.hub.counts["slowed"] += 1

    def hold(self, connection: Connection) -> None:
        """The connection was sent all that its plan allows: from now on it has an outbox, although its socket takes more."""
        if connection.outbox is None and connection.cohort is not None:
            self._enter(connection, connection.cohort)

    def _enter(self, connection: Connection, cohort: Cohort) -> None:
        connection.settle()
        connection.outbox = Outbox(self.most_bytes, self.most_updates)
        cohort.fast.pop(connection, None)
        cohort.slow[connection] = None
        self._connections[connection] = None

    def replay(self, connection: Connection, replies: Iterable[bytes], missed: Iterable[tuple[str, Sequence[Item]]]) -> None:
        """Send replies, then what a connection missed of topics that it follows now: in portions, as its socket takes them.

        What is published meanwhile waits behind that, as for any slow connection.
        """
        if connection.outbox is None and connection.cohort is not None:
            self._enter(connection, connection.cohort)
            connection.slow_since = self.hub.time()
        connection.say(*replies)
        for topic, items in missed:
            if connection.outbox is not None:
                connection.outbox.replay(topic, items)
        if not connection.sink.full:
            self.drain(connection)

    def owe(self, pace: Pace, items: list[Item]) -> None:
        """Put a topic's updates into the outboxes of the slow connections that follow it at that pace."""
        for cohort in pace.cohorts if self._connections else ():
            for connection in cohort.slow:
                assert connection.outbox is not None
                for item in items:
                    connection.outbox.put(pace.entry.name, pace.entry.epoch, item)

    def drain(self, connection: Connection) -> None:
        """The socket takes bytes again: give it what it is owed, and return it to the fast ones when nothing is left.

        It goes in portions, so that a reply never waits behind more than one of them, and no further than the allowance.
        """
        outbox, allowance = connection.outbox, connection.allowance
        if outbox is None:
            return
        if allowance is not None and allowance.on_trial:
            allowance = None
        lost = self._count_losses(connection, outbox)
        if allowance is not None:
            connection.slow_since, connection.noticed = None, False  # it reads, and what it lost may be its plan's doing
        elif not lost:
            connection.slow_since, connection.noticed = self.hub.time(), False  # it reads, and its outbox suffices
        while messages := outbox.take(PORTION_BYTES if allowance is None else min(PORTION_BYTES, allowance.room)):
            self.hub.counts["delivered"] += len(messages)
            connection.write(messages)
            if allowance is not None:
                allowance.spend(connection.sent_bytes)
            if connection.sink.full:
                return
        if allowance is None or (allowance.calm and not len(outbox)):
            self._leave(connection)

    def _leave(self, connection: Connection) -> None:
        """The connection is served like the others again."""
        connection.settle()
        self._connections.pop(connection, None)
        connection.outbox, connection.slow_since, connection.noticed = None, None, False
        if connection.cohort is not None:
            connection.cohort.slow.pop(connection, None)
            connection.cohort.fast[connection] = None
            if connection.allowance is not None:
                self.hub.allowances.watch(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is gone, with what it was owed."""
        self._connections.pop(connection, None)
        if connection.outbox is not None:
            self._count_losses(connection, connection.outbox)
            connection.outbox = None

    def _count_losses(self, connection: Connection, outbox: Outbox) -> int:
        """Add up what was conflated and lost since the last time. Returns how many gaps there are."""
        gaps = outbox.gaps
        connection.conflated += outbox.conflated
        connection.gaps += gaps
        self.hub.counts["conflated"] += outbox.conflated
        self.hub.counts["gaps"] += gaps
        self.hub.counts["gap:overflow"] += gaps
        outbox.conflated = outbox.gaps = 0
        return gaps
