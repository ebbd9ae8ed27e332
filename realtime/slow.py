"""Sockets that do not keep up: what they are owed, and their way back to the others."""

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
        if connection.outbox is None and connection.cohort is not None:
            self._enter(connection, connection.cohort)
            self.hub.counts["slowed"] += 1

    def _enter(self, connection: Connection, cohort: Cohort) -> None:
        connection.outbox = Outbox(self.most_bytes, self.most_updates)
        connection.slow_since = self.hub.time()
        cohort.fast.pop(connection, None)
        cohort.slow[connection] = None
        self._connections[connection] = None

    def replay(self, connection: Connection, replies: Iterable[bytes], missed: Iterable[tuple[str, Sequence[Item]]]) -> None:
        """Send replies, then what a connection missed of topics that it follows now: in portions, as its socket takes them.

        What is published meanwhile waits behind that, as for any slow connection.
        """
        if connection.outbox is None and connection.cohort is not None:
            self._enter(connection, connection.cohort)
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

        It goes in portions, so that a reply never waits behind more than one of them.
        """
        outbox = connection.outbox
        if outbox is None:
            return
        if not self._count_losses(connection, outbox):
            connection.slow_since, connection.noticed = self.hub.time(), False  # it reads, and its outbox suffices
        while messages := outbox.take(PORTION_BYTES):
            self.hub.counts["delivered"] += len(messages)
            connection.sink.write(connection.encoding.join([connection.encoding.message(message) for message in messages]))
            if connection.sink.full:
                return
        self._connections.pop(connection, None)
        connection.outbox, connection.slow_since, connection.noticed = None, None, False
        if connection.cohort is not None:
            connection.cohort.slow.pop(connection, None)
            connection.cohort.fast[connection] = None

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
        outbox.conflated = outbox.gaps = 0
        return gaps
