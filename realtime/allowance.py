"""Bytes that one connection may still be sent, where its plan has `bytes_per_second`.

Rules of this file:
1. Only connections with such a limit pay. The shared path does not know it: what it sent is seen four times a second, in the
   byte counts that are kept anyway.
2. Who was sent too much joins the slow lane until the bucket allows more. What is over is owed: the average holds.
3. That is no slow client: while its socket takes what it is given, it is neither told to be slow nor closed for it.
4. Replies go ahead at once. They count, and what is sent next waits the longer.
5. It goes back to the others when nothing is owed, and they were sent so little for a while that a bucket like its own were full.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from realtime import protocol
from realtime.slow import PORTION_BYTES

if TYPE_CHECKING:
    from realtime.connection import Connection
    from realtime.hub import Hub

LIMIT = "bytes_per_second"
TOLD_EVERY_S = 60.0
TRIED_EVERY_S = 1.0  # where the limit is on trial, it counts this often at most
NOTICE = "your plan's bytes per second are used up: values are conflated, and trades may be lost"


class Allowance:
    """A bucket of bytes that fills by the clock, and what the others who follow the same would leave in one like it.

    Args:
        rate: bytes a second.
        sent: bytes that the connection was sent so far; those do not count.
        now: the caller's monotonic clock, seconds.

    Attributes:
        left: bytes that may be sent; below zero: what was sent too much.
        spare: what would be left of the same bucket on the shared path, zero at least.
        on_trial: nothing is held back, and what would have been is counted.
        told_at: when the client was last told of it.
    """

    __slots__ = ("_looked", "_seen", "left", "on_trial", "rate", "spare", "told_at", "tried_at")

    def __init__(self, rate: int, sent: int, now: float) -> None:
        self.rate = rate
        self.left = self.spare = float(self.burst)
        self.on_trial = False
        self.told_at = self.tried_at = -math.inf
        self._seen = sent
        self._looked = now

    @property
    def burst(self) -> int:
        """Most bytes that are saved up: those of one second, but a whole portion at least."""
        return max(self.rate, PORTION_BYTES)

    @property
    def room(self) -> float:
        """Bytes that may leave now."""
        return math.inf if self.on_trial else max(self.left, 0.0)

    @property
    def calm(self) -> bool:
        """Whether the connection may go back to the shared path."""
        return self.on_trial or (self.left > 0 and self.spare >= self.burst)

    def look(self, sent: int, offered: int, now: float) -> None:
        """Fill by the clock, and take what was sent since the last look.

        Args:
            sent: bytes that the connection was sent so far.
            offered: bytes that those on the shared path were sent since the last look.
            now: the same clock.
        """
        gained = max(0.0, now - self._looked) * self.rate
        self._looked = now
        self.left = min(self.burst, self.left + gained)
        self.spare = max(0.0, min(self.burst, self.spare + gained - offered))
        self.spend(sent)

    def spend(self, sent: int) -> None:
        """Take what was sent since the last look."""
        self.left -= sent - self._seen
        self._seen = sent


class Allowances:
    """The connections of one hub whose bytes are limited."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._offered: dict[Connection, tuple[object, int]] = {}  # the cohort at the last look, and its bytes by then

    def __len__(self) -> int:
        return len(self._offered)

    def mind(self, connection: Connection) -> None:
        """Look after a connection from now on if its plan says so, and no longer if it does not."""
        limits = connection.principal.limits if connection.principal is not None else None
        if limits is None or limits.bytes_per_second is None or connection.cohort is None:
            self._let_go(connection)
            return
        if connection.allowance is None:
            connection.allowance = Allowance(limits.bytes_per_second, connection.sent_bytes, self.hub.time())
            self._note(connection)
        connection.allowance.rate = limits.bytes_per_second
        connection.allowance.on_trial = LIMIT in limits.dry_run

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._offered.pop(connection, None)
        connection.allowance = None

    def _let_go(self, connection: Connection) -> None:
        if connection.allowance is not None:
            self.forget(connection)
            if not connection.blocked:
                self.hub.slow.drain(connection)

    def look(self) -> None:
        """Called by the keeper four times a second."""
        now = self.hub.time()
        for connection in list(self._offered):
            self.mind(connection)  # its limits may be others by now
            if (allowance := connection.allowance) is not None and not connection.closing:
                allowance.look(connection.sent_bytes, self._note(connection), now)
                self._act(connection, allowance, now)

    def _note(self, connection: Connection) -> int:
        """Bytes that the shared path had for such a connection since the last look; where it follows others now, none."""
        cohort = connection.cohort
        before, offered = self._offered.get(connection, (None, 0))
        total = cohort.sent_bytes if cohort is not None else 0
        self._offered[connection] = cohort, total
        return total - offered if cohort is before else 0

    def _act(self, connection: Connection, allowance: Allowance, now: float) -> None:
        if allowance.on_trial:
            self._count(connection, allowance, now)
        elif connection.outbox is None and allowance.left <= 0:
            self._hold(connection, allowance, now)
        if connection.outbox is None:
            return
        if connection.sink.full:
            self.hub.slow.enter(connection)  # it has something to read, which is its own affair
        else:
            self.hub.slow.drain(connection)

    def _count(self, connection: Connection, allowance: Allowance, now: float) -> None:
        """On trial: note that the limit would have been hit, and forget what is owed."""
        if allowance.left > 0:
            return
        allowance.left = 0.0
        if now - allowance.tried_at >= TRIED_EVERY_S and connection.principal is not None:
            allowance.tried_at = now
            connection.principal.refuses(LIMIT)

    def _hold(self, connection: Connection, allowance: Allowance, now: float) -> None:
        self.hub.slow.hold(connection)
        self.hub.counts["limited"] += 1
        allowance.spare = 0.0
        if now - allowance.told_at >= TOLD_EVERY_S:
            allowance.told_at = now
            connection.say(protocol.notice("limits", NOTICE))
