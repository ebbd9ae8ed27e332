"""What a process measures at one moment: samples of metrics, and histograms that are filled as things happen."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec

Labels = tuple[tuple[str, str], ...]  # in the order of the metric's labels


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One value of a metric."""

    name: str
    labels: Labels
    value: float


class Buckets(msgspec.Struct, frozen=True, array_like=True):
    """The state of a histogram.

    Attributes:
        counts: of observations in each bucket, not cumulated; the last one's are above all bounds.
        total: of what was observed.
    """

    name: str
    labels: Labels
    counts: tuple[int, ...]
    total: float


class Histogram:
    """Counts observations by size. One step of arithmetic and one of a list for each; belongs to one thread, or to the GIL.

    Args:
        name, labels: of the metric.
        bounds: upper bounds of the buckets, ascending.
    """

    __slots__ = ("bounds", "counts", "labels", "name", "total")

    def __init__(self, name: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self.name = name
        self.labels = labels
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> Buckets:
        """Its state."""
        return Buckets(self.name, self.labels, tuple(self.counts), self.total)


def sample(name: str, value: float, **labels: str) -> Sample:
    """A sample, its labels in the order in which they are given."""
    return Sample(name, tuple(labels.items()), float(value))


def by_label(name: str, label: str, counts: Iterable[tuple[str, float]]) -> list[Sample]:
    """A sample for each value of a label."""
    return [Sample(name, ((label, value),), float(count)) for value, count in counts]
