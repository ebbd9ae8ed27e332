"""Bytes that one connection may still be sent, where its plan has `bytes_per_second`.

Rules of this file:
1. Only connections with such a limit pay. The shared path compares one number per cohort and flush, the bytes that it counts
   anyway, with the `alarm` of whoever has least left there.
2. Who was sent too much joins the slow lane until the bucket allows more, four times a second. What is over is owed: the
   average holds.
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
    from realtime.cohorts import Cohort
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
        told_at, tried_at: when the client was last told, and when the limit on trial was last counted.
    """

    __slots__ = ("_cohort", "_looked", "_offered", "_seen", "left", "on_trial", "rate", "spare", "told_at", "tried_at")

    def __init__(self, rate: int, sent: int, now: float) -> None:
        self.rate = rate
        self.left = self.spare = float(self.burst)
        self.on_trial = False
        self.told_at = self.tried_at = -math.inf
        self._seen = sent
        self._looked = now
        self._cohort: Cohort | None = None
        self._offered = 0  # to that cohort, by the last look

    @property
    def burst(self) -> int:
        """Most bytes that are saved up: those of one second, but a whole portion at least."""
        return max(self.rate, PORTION_BYTES)

    @property
    def room(self) -> float:
        """Bytes that may leave now."""
        return max(self.left, 0.0)

    @property
    def unwatched(self) -> float:
        """Bytes after which to look again: so few that those which came in one go count as that."""
        return max(self.left / 4, self.burst / 16)

    @property
    def calm(self) -> bool:
        """Whether the connection may go back to the shared path."""
        return self.left > 0 and self.spare >= self.burst

    def look(self, sent: int, cohort: Cohort, now: float, lately: int = 0) -> None:
        """Fill by the clock, and take what was sent since the last look.

        Args:
            sent: bytes that the connection was sent so far.
            cohort: whose members are sent what this one follows.
            now: the same clock.
            lately: as many of those bytes came just now; the others came while it filled.
        """
        offered = cohort.sent_bytes - self._offered if cohort is self._cohort else 0
        self._cohort, self._offered = cohort, cohort.sent_bytes
        gained = max(0.0, now - self._looked) * self.rate
        self._looked = now
        self.spend(sent - lately)
        self.left = min(self.burst, self.left + gained)
        self.spend(sent)
        self.spare = max(0.0, min(self.burst, self.spare + gained - offered))

    def spend(self, sent: int) -> None:
        """Take what was sent since the last look."""
        self.left -= sent - self._seen
        self._seen = sent


class Allowances:
    """The connections of one hub whose bytes are limited."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def mind(self, connection: Connection) -> None:
        """Limit a connection from now on as its plan says, if it does; called when that may have changed."""
        limits = connection.principal.limits if connection.principal is not None else None
        if limits is None or limits.bytes_per_second is None or connection.cohort is None:
            self._let_go(connection)
            return
        allowance = connection.allowance
        if allowance is None:
            allowance = connection.allowance = Allowance(limits.bytes_per_second, connection.sent_bytes, self.hub.time())
        allowance.rate = limits.bytes_per_second
        allowance.on_trial = LIMIT in limits.dry_run
        self.watch(connection)

    def _let_go(self, connection: Connection) -> None:
        if connection.allowance is not None:
            connection.allowance = None
            if not connection.blocked:
                self.hub.slow.drain(connection)

    # On the shared path

    def watch(self, connection: Connection) -> None:
        """Have the hub call `spent` when the connection's cohort was sent so much that its allowance may not suffice."""
        cohort, allowance = connection.cohort, connection.allowance
        if cohort is not None and allowance is not None and connection.outbox is None:
            cohort.alarm = min(cohort.alarm, cohort.sent_bytes + allowance.unwatched)

    def spent(self, cohort: Cohort, size: int) -> None:
        """Called by the hub behind a write of so many bytes: hold back whose allowance is used up, watch the others."""
        now, cohort.alarm = self.hub.time(), math.inf
        for connection in [member for member in cohort.fast if member.allowance is not None]:
            allowance = self._look(connection, now, size)
            if allowance is not None and allowance.left <= 0 and not allowance.on_trial and not connection.closing:
                self._hold(connection, allowance, now)
            self.watch(connection)

    def _look(self, connection: Connection, now: float, lately: int = 0) -> Allowance | None:
        allowance, cohort = connection.allowance, connection.cohort
        if allowance is None or cohort is None:
            return None
        allowance.look(connection.sent_bytes, cohort, now, lately)
        if allowance.on_trial and allowance.left <= 0:
            allowance.left = 0.0
            if now - allowance.tried_at >= TRIED_EVERY_S and connection.principal is not None:
                allowance.tried_at = now
                connection.principal.refuses(LIMIT)  # which counts it
        return allowance

    def _hold(self, connection: Connection, allowance: Allowance, now: float) -> None:
        self.hub.slow.hold(connection)
        self.hub.counts["limited"] += 1
        allowance.spare = 0.0
        if now - allowance.told_at >= TOLD_EVERY_S:
            allowance.told_at = now
            connection.say(protocol.notice("limits", NOTICE))

    # In the slow lane

    def look(self) -> None:
        """Called by the keeper four times a second: give those what they may be sent by now that wait for it."""
        now = self.hub.time()
        for connection in self.hub.slow:
            if connection.allowance is None or connection.closing:
                continue
            self.mind(connection)  # its limits may be others by now
            self._look(connection, now)
            if connection.sink.full:
                self.hub.slow.enter(connection)  # it has something to read, which is its own affair
            else:
                self.hub.slow.drain(connection)
