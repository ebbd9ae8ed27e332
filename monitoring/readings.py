"""The values that rules compare: samples chosen by label, counters as rates, histograms as quantiles, processes put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from monitoring.metrics import METRICS
from monitoring.reports import Report
from monitoring.rules import Rule
from monitoring.samples import Buckets, Labels, Sample
from monitoring.windows import Showing, Windows

OF_NOTHING = 1e9  # something divided by nothing; JSON knows no infinity
_TOGETHER: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min, "each": max}


class Readings:
    """What there is to compare at one moment.

    Args:
        reports: of the processes.
        samples: of the installation.
    """

    def __init__(self, reports: Sequence[Report], samples: Iterable[Sample]) -> None:
        self.processes = [report.name for report in reports]
        self._showing: dict[str, list[Showing]] = {}
        for name, showing in (*_of_processes(reports), *((each.name, _shown(each, ())) for each in samples)):
            self._showing.setdefault(name, []).append(showing)

    def note_in(self, windows: Windows, rules: Sequence[Rule], now: float) -> None:
        """Keep what these rules' counters show."""
        names = {name for rule in rules for name in rule.counted}
        keep_s = max((rule.window_s for rule in rules if rule.counted), default=0.0)
        windows.note(
            now, [(name, each) for name in sorted(names) for each in self._showing.get(name, ())], self.processes, keep_s
        )

    def of(self, rule: Rule, windows: Windows, now: float) -> dict[Labels, float]:
        """The rule's value for each set of labels that tells its alerts apart."""
        parts = self._parts(rule.metric, rule, windows, now)
        if rule.per:
            parts = list(_divided(parts, self._parts(rule.per, rule, windows, now)))
        groups: dict[Labels, list[tuple[float, ...]]] = {}
        for labels, values in parts:
            groups.setdefault(rule.whose(labels), []).append(values)
        found = ((labels, _value(rule, group)) for labels, group in groups.items())
        return {labels: value for labels, value in found if value is not None}

    def _parts(self, name: str, rule: Rule, windows: Windows, now: float) -> list[Showing]:
        is_gauge = METRICS[name].kind == "gauge"
        every = self._showing.get(name, []) if is_gauge else windows.rates(name, now, rule.window_s)
        wanted = rule.labels.items()
        return [(labels, values) for labels, values in every if wanted <= dict(labels).items()]


def _of_processes(reports: Sequence[Report]) -> Iterator[tuple[str, Showing]]:
    for report in reports:
        whose = (("process", report.name), ("role", report.role))
        yield from ((each.name, _shown(each, whose)) for each in report.samples)
        yield from ((each.name, _shown(each, whose)) for each in report.histograms)


def _shown(measured: Sample | Buckets, whose: Labels) -> Showing:
    values = (measured.value,) if isinstance(measured, Sample) else measured.counts
    return (*whose, *measured.labels), tuple(map(float, values))


def _divided(parts: Sequence[Showing], by: Sequence[Showing]) -> Iterator[Showing]:
    """Each part by the one with the same labels; where there is none, or both are nothing, there is no value."""
    divisors = {labels: values[0] for labels, values in by}
    for labels, (value,) in parts:
        divisor = divisors.get(labels)
        if divisor:
            yield labels, (value / divisor,)
        elif divisor is not None and value:
            yield labels, (OF_NOTHING,)


def _value(rule: Rule, group: Sequence[tuple[float, ...]]) -> float | None:
    if rule.quantile is None:
        return _TOGETHER[rule.aggregation](values[0] for values in group)
    bounds = METRICS[rule.metric].bounds
    fitting = [values for values in group if len(values) == len(bounds) + 1]  # else the process is of another version
    return quantile(rule.quantile, bounds, tuple(map(sum, zip(*fitting, strict=True)))) if fitting else None


def quantile(share: float, bounds: Sequence[float], counts: Sequence[float]) -> float | None:
    """The value below which that share of the observations is, as Prometheus reckons it: evenly spread within a bucket.

    Args:
        share: 0 … 1.
        bounds: upper ones of the buckets.
        counts: of observations in each bucket, and in the last one those above all bounds.

    Returns:
        None where nothing was observed.
    """
    every = sum(counts)
    if not every:
        return None
    rank = share * every
    below = 0.0
    for number, upto in enumerate(accumulate(counts[:-1])):
        if upto >= rank and counts[number]:
            low = bounds[number - 1] if number else 0.0
            return low + (bounds[number] - low) * (rank - below) / counts[number]
        below = upto
    return float(bounds[-1])
