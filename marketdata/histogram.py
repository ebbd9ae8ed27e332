"""Counts observations by size: a histogram that whatever measures something fills as things happen, and the observer reads."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class Histogram:
    """Some sizes, and how many observations there were up to each.

    Args:
        bounds: upper bounds of the buckets, ascending.

    Attributes:
        counts: of observations in each bucket, not cumulated; the last one's are above all bounds.
        total: the sum of what was observed.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
