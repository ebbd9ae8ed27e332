"""What a process does that has too much to do: refuse, then slow down, then let go, the least important clients first.

Rules of this file:
1. Each step of the ladder is announced, counted, and undone by the way back.
2. Staff is neither refused nor shed.
"""

from __future__ import annotations

import ctypes
import heapq
import logging
import math
import os
import random
from collections.abc import Callable
from pathlib import Path

from realtime import limits, protocol
from realtime.announcing import Announcement
from realtime.codes import Close, Code, CodedError
from realtime.connection import Connection
from realtime.hub import Hub
from realtime.ladder import Ladder, Step
from realtime.principal import Principal

logger = logging.getLogger(__name__)

RAISED_S = 0.1  # the pause between two flushes of a process that slows down
SHED_EVERY_S, SHED_SHARE = 1.0, 100  # so often one in so many is let go
TRIM_S = 5.0
SHED = "this server is overloaded and lets connections of low priority go; come again later"
RETRY_MS = (5_000, 15_000)  # where a client is told to wait before it comes again, at random in between


class Overload:
    """Looks at the load of one hub's process, and acts.

    Args:
        hub: whose connections.
        ladder: says when.
        resident: what the process occupies, bytes.

    Attributes:
        announcement: of updates that come less often.
    """

    def __init__(self, hub: Hub, ladder: Ladder, resident: Callable[[], int] | None = None) -> None:
        self.hub = hub
        self.ladder = ladder
        self.announcement = Announcement(hub)
        self._resident = resident or resident_bytes
        self._usual_s = hub.floor_s, hub.ceiling_s
        self._bar = -math.inf  # who is not above it is refused
        self._shed_at = self._trim_at = 0.0
        hub.counts["overload_step"] = 0

    @property
    def step(self) -> Step:
        """How far it has gone."""
        return self.ladder.step

    def refuses(self, principal: Principal | None) -> bool:
        """Whether somebody is not let in just now."""
        return self.step > Step.NORMAL and priority_of(principal) <= self._bar

    def refusal(self) -> CodedError:
        """What one who is refused is told; counts it."""
        self.hub.counts["refused_overload"] += 1
        return CodedError(Code.OVERLOADED, "this server is overloaded; try again later", retry_after_ms=_retry_ms())

    def look(self) -> None:
        """Called by the keeper four times a second."""
        now, before = self.hub.time(), self.step
        step = self.ladder.look(now, self.hub.lags_us[-1], self._memory_bytes(now))
        if step is not before:
            self._go(before, step)
        if step is Step.SHED and now >= self._shed_at:
            self._shed_at = now + SHED_EVERY_S
            self._shed()

    def _memory_bytes(self, now: float) -> int:
        most = self.ladder.most_memory_bytes
        if not most:
            return 0
        found = self._resident()
        if found > most and now >= self._trim_at:
            self._trim_at = now + TRIM_S
            give_back()
            found = self._resident()
        return found

    def _go(self, before: Step, step: Step) -> None:
        """Do what the step asks for, or undo what the last one did."""
        self.hub.counts["overload_step"] = int(step)
        self.hub.counts["overload_changes"] += 1
        found = self.hub.lags_us[-1] / 1000, self._resident() >> 20
        logger.warning("overload: step %d, %s; event loop %d ms late, memory %d MiB", step, step.name.lower(), *found)
        if step is Step.NORMAL:
            self._bar = -math.inf
        elif before is Step.NORMAL:
            self._bar = lowest_priority()
        if step is Step.SLOW and before is Step.REFUSE:
            self._slow_down()
        elif step is Step.REFUSE and before is Step.SLOW:
            self._speed_up()

    def _slow_down(self) -> None:
        self.hub.floor_s, self.hub.ceiling_s = (max(usual, RAISED_S) for usual in self._usual_s)
        self.announcement.begin("this server is overloaded: updates come less often, in larger portions")

    def _speed_up(self) -> None:
        self.hub.floor_s, self.hub.ceiling_s = self._usual_s
        self.announcement.end("updates come as usual again")

    def _shed(self) -> None:
        """Let a few go: of the lowest priority that is left, the newest first. They cannot come back at once."""
        ranked = [(priority_of(each.principal), each) for each in self.hub.connections.values() if not each.closing]
        lowest = min((priority for priority, _ in ranked), default=math.inf)
        if lowest == math.inf:
            return
        self._bar = max(self._bar, lowest)
        among = (connection for priority, connection in ranked if priority == lowest)
        for connection in heapq.nlargest(max(1, len(ranked) // SHED_SHARE), among, key=_opened_us):
            self.hub.counts["shed"] += 1
            connection.close(Close.OVERLOADED, notice_of(CodedError(Code.OVERLOADED, SHED, retry_after_ms=_retry_ms())))


def notice_of(refusal: CodedError) -> bytes:
    """The notice before a close for overload."""
    return protocol.notice("degraded", refusal.message, code=Close.OVERLOADED, retry_after_ms=refusal.retry_after_ms)


def priority_of(principal: Principal | None) -> float:
    """How long somebody is kept: the plan's number; above all plans for staff, the least for who has yet to say who it is."""
    if principal is None:
        return 0
    return math.inf if principal.is_staff else principal.limits.priority


def lowest_priority() -> float:
    """The least that a plan has."""
    return min((plan.priority for plan in (limits.last_known() or {}).values()), default=0)


def resident_bytes() -> int:
    """What this process occupies; 0 where the system does not say it as Linux does."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def give_back() -> None:
    """Hand freed memory back to the system: the C library keeps it, and it would count although nobody uses it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _retry_ms() -> int:
    return random.randint(*RETRY_MS)  # noqa: S311


def _opened_us(connection: Connection) -> int:
    return connection.opened_us
