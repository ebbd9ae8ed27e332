"""Notes when updates came into this process and left it: one now and then for who samples, and those that somebody asked for.

Nobody pays for it but the flush in which one is noted: a topic knows when its newest update came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from marketdata.store import now_us
from realtime.cohorts import Entry


class Hop(NamedTuple):
    """An update in this process; times are wall clock.

    Attributes:
        received_us: the bus brought it.
        written_us: it was written to sockets; None: to none, those that follow the topic want fewer updates.
    """

    topic: str
    epoch: str
    seq: int
    received_us: int
    written_us: int | None


class Hops:
    """Of one hub.

    Attributes:
        wanted: a flush shall tell what it wrote.
        newest: of the last flush that was asked; None: it has yet to come.
        traced: of topics that were asked for, until somebody takes them.
    """

    def __init__(self) -> None:
        self.wanted = False
        self.newest: Hop | None = None
        self.traced: list[Hop] = []
        self._asked: dict[str, float] = {}

    def next(self) -> Hop | None:
        """The one that was noted since the last time; and have another one noted."""
        noted, self.newest = self.newest, None
        self.wanted = True
        return noted

    def trace(self, topic: str, until: float) -> None:
        """Have the next update of a topic noted, if it comes before that time of the event loop."""
        self._asked[topic] = until
        self.wanted = True

    def take_traced(self, now: float) -> list[Hop]:
        """Those that were asked for; and forget what did not come in time."""
        self._asked = {topic: until for topic, until in self._asked.items() if until > now}
        traced, self.traced = self.traced, []
        return traced

    def note(self, entries: Sequence[Entry]) -> None:
        """Called by a flush, behind its writes, with the topics that had something new: one or more."""
        now, newest = now_us(), entries[-1]
        if newest.line is None and _is_written(newest):
            self.newest = _hop(newest, now)
        for entry in entries if self._asked else ():
            if entry.line is None and self._asked.pop(entry.name, None) is not None:
                self.traced.append(_hop(entry, now if _is_written(entry) else None))
        self.wanted = self.newest is None or bool(self._asked)


def _is_written(entry: Entry) -> bool:
    """Whether the flush let the newest update pass, at any rate."""
    newest = entry.epoch, entry.seq
    return any(pace.rate is None or pace.let_through[:2] == newest for pace in entry.paces.values())


def _hop(entry: Entry, written_us: int | None) -> Hop:
    return Hop(entry.name, entry.epoch, entry.seq, entry.changed_us, written_us)
