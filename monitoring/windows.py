"""What counters showed lately: the few samples that tell how much each of them grew within a window.

Rules of this file:
1. A counter that went back began anew: what it shows counts from zero, as Prometheus counts it.
2. A counter that shows up in a process that was there before is new, and was zero then: its first event is not lost.
3. What a process counted before it went away stays in the window.
4. What counts for the installation, as a feed does, may pause and go on where it was: its last sample is remembered for
   `REMEMBERED_S`, so that all it ever counted is not taken for new.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from operator import sub

import msgspec

from monitoring.samples import Labels

POINTS = 12  # in a window, about
REMEMBERED_S = 86_400.0
Point = tuple[float, tuple[float, ...]]  # when, and what it showed: one number, or a histogram's buckets
Showing = tuple[Labels, tuple[float, ...]]


class Trail(msgspec.Struct):
    """The samples of one counter, ascending in time."""

    name: str
    labels: Labels
    points: list[Point]

    @property
    def process(self) -> str:
        """Whose counter it is; empty: the installation's."""
        return dict(self.labels).get("process", "")

    @property
    def newest(self) -> float:
        """When its last sample was taken."""
        return self.points[-1][0]

    def note(self, at: float, values: tuple[float, ...], keep_s: float) -> None:
        """Add a sample, and let go of those that no window of `keep_s` needs."""
        points = self.points
        crowded = len(points) > 1 and at - points[-2][0] < keep_s / POINTS
        if crowded and not _fell(points[-1][1], values):
            points.pop()
        points.append((at, values))
        while len(points) > 1 and points[1][0] <= at - keep_s:
            points.pop(0)

    def increase(self, now: float, window_s: float) -> tuple[float, ...]:
        """How much it grew since the newest sample that is as old as the window, or since the oldest."""
        first = max((n for n, (at, _) in enumerate(self.points) if at <= now - window_s), default=0)
        within = [values for _, values in self.points[first:]]
        grown = [after if _fell(before, after) else tuple(map(sub, after, before)) for before, after in pairwise(within)]
        return tuple(map(sum, zip(*grown, strict=True))) if grown else (0.0,) * len(within[0])


def _fell(before: tuple[float, ...], after: tuple[float, ...]) -> bool:
    return len(before) != len(after) or any(new < old for old, new in zip(before, after, strict=True))


class Windows(msgspec.Struct):
    """The trails of all counters that a rule asks for. It travels: whoever evaluates next goes on with it.

    Attributes:
        trails: of the counters.
        there: when each process was there last; the installation's own name is empty.
    """

    trails: list[Trail] = []
    there: dict[str, float] = {}

    def note(self, now: float, showing: Iterable[tuple[str, Showing]], processes: Iterable[str], keep_s: float) -> None:
        """Add what all counters show now.

        Args:
            now: seconds.
            showing: metric and sample of each.
            processes: that were asked.
            keep_s: the longest window that is asked for.
        """
        known = {(trail.name, trail.labels): trail for trail in self.trails}
        for name, (labels, values) in showing:
            trail = known.get((name, labels))
            if trail is None:
                trail = known[name, labels] = Trail(name, labels, [])
                before = self.there.get(trail.process)
                if before is not None and before < now:
                    trail.points.append((before, (0.0,) * len(values)))
            trail.note(now, tuple(map(float, values)), keep_s)
        self.trails = [trail for trail in known.values() if trail.newest > now - (keep_s if trail.process else REMEMBERED_S)]
        self.there = {name: at for name, at in self.there.items() if at > now - keep_s} | dict.fromkeys((*processes, ""), now)

    def rates(self, name: str, now: float, window_s: float) -> list[Showing]:
        """The increase per second of each counter of that name. A window that is not full yet counts as whole: a single event
        in the first seconds is no flood.
        """
        return [
            (trail.labels, tuple(grown / window_s for grown in trail.increase(now, window_s)))
            for trail in self.trails
            if trail.name == name and trail.newest > now - window_s
        ]
