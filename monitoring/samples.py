"""What a process measures at one moment: samples of metrics, and the states of histograms."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from marketdata.histogram import Histogram

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


def buckets(name: str, histogram: Histogram, /, **labels: str) -> Buckets:
    """The state of a histogram."""
    return Buckets(name, tuple(labels.items()), tuple(histogram.counts), histogram.total)


def sample(name: str, value: float, /, **labels: str) -> Sample:
    """A sample, its labels in the order in which they are given."""
    return Sample(name, tuple(labels.items()), float(value))


def by_label(name: str, label: str, counts: Iterable[tuple[str, float]]) -> list[Sample]:
    """A sample for each value of a label."""
    return [Sample(name, ((label, value),), float(count)) for value, count in counts]
