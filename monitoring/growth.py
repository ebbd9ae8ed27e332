"""By how much counters and histograms grew lately: rates and percentiles from what processes report in turn. Pure.

Rules of this file:
1. A growth is between two reports of one process, by that process's clock. Reading the same report twice changes nothing.
2. A counter that went back began anew: what it had before counts for nothing, and never is a rate negative.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Sequence
from itertools import accumulate
from typing import NamedTuple

Counts = tuple[float, ...]


class Grown(NamedTuple):
    """What some counters grew by.

    Attributes:
        seconds: in how long.
        counts: of each.
    """

    seconds: float
    counts: Counts


class Growth:
    """Of anything that counts up, by name.

    Args:
        window_s: over so long it is looked at, or over the last two reports where these are further apart.
    """

    def __init__(self, window_s: float) -> None:
        self._window_us = window_s * 1e6
        self._points: dict[Hashable, deque[tuple[int, Counts]]] = {}

    def note(self, name: Hashable, at_us: int, *counts: float) -> None:
        """Take down what something has counted so far."""
        points = self._points.setdefault(name, deque())
        if points and at_us <= points[-1][0]:
            return
        if points and not _goes_on(points[-1][1], counts):
            points.clear()
        points.append((at_us, tuple(map(float, counts))))
        while len(points) > 2 and at_us - points[1][0] >= self._window_us:
            points.popleft()

    def keep(self, names: Collection[Hashable]) -> None:
        """Forget everything but these."""
        self._points = {name: points for name, points in self._points.items() if name in names}

    def of(self, name: Hashable) -> Grown | None:
        """By how much something grew; None: it was noted once, or never."""
        points = self._points.get(name)
        if points is None or len(points) < 2:
            return None
        (began_us, first), (ended_us, last) = points[0], points[-1]
        return Grown((ended_us - began_us) / 1e6, tuple(now - before for before, now in zip(first, last, strict=True)))

    def per_second(self, name: Hashable) -> float | None:
        """The rate of a single counter; None: not known yet."""
        grown = self.of(name)
        return grown.counts[0] / grown.seconds if grown is not None else None


def _goes_on(before: Sequence[float], now: Sequence[float]) -> bool:
    return len(before) == len(now) and all(old <= new for old, new in zip(before, now, strict=True))


def added(counts: Sequence[Counts]) -> Counts:
    """Buckets of several processes as one histogram's."""
    return tuple(map(sum, zip(*counts, strict=True)))


def quantile(bounds: Sequence[float], counts: Sequence[float], share: float) -> float | None:
    """What so large a share of the observations does not exceed; None: there are none.

    Within a bucket observations are taken to lie evenly. Those above all bounds are taken to be
    at the last one.

    Args:
        bounds: upper bounds of the buckets, ascending.
        counts: of observations in each bucket and, last, above all bounds; not cumulated.
        share: 0.99 for p99.
    """
    upto = list(accumulate(counts))
    if not upto or upto[-1] <= 0:
        return None
    wanted = share * upto[-1]
    for number, bound in enumerate(bounds):
        if upto[number] >= wanted and counts[number]:
            below = bounds[number - 1] if number else 0.0
            return below + (bound - below) * (wanted - (upto[number] - counts[number])) / counts[number]
    return bounds[-1]
