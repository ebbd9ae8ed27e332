"""Reports of all processes as Prometheus reads them: one scrape of any process tells of the whole installation.

Each series of a process is labelled `process` and `role`. A process that is gone has no series any more; one that began anew has
another name, so that no counter goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from monitoring.metrics import METRICS, Metric
from monitoring.reports import Report
from monitoring.samples import Buckets, Labels, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OF_PROCESS = ("process", "role")


def expose(reports: Sequence[Report], installation: Iterable[Sample]) -> bytes:
    """Everything in the text format of Prometheus.

    Args:
        reports: of the processes.
        installation: what is measured once for all of them.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(reports, list(installation)))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, reports: Sequence[Report], installation: Sequence[Sample]) -> None:
        self.reports, self.installation = reports, installation

    def collect(self) -> Iterator[Family]:
        families: dict[str, Family] = {}
        for report in self.reports:
            whose = (report.name, report.role)
            measures: list[Sample | Buckets] = [*report.samples, *report.histograms]
            for measured in measures:
                if (metric := METRICS.get(measured.name)) is not None:
                    family = families.setdefault(metric.name, _family(metric, (*OF_PROCESS, *metric.labels)))
                    _add(family, metric, (*whose, *_values(measured.labels)), measured)
        for sample in self.installation:
            metric = METRICS[sample.name]
            _add(families.setdefault(metric.name, _family(metric, metric.labels)), metric, _values(sample.labels), sample)
        yield from (families[name] for name in METRICS if name in families)


def _values(labels: Labels) -> tuple[str, ...]:
    return tuple(value for _, value in labels)


def _family(metric: Metric, labels: Sequence[str]) -> Family:
    kinds = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}
    family: Family = kinds[metric.kind](metric.name, metric.help, labels=labels)
    return family


def _add(family: Family, metric: Metric, labels: Sequence[str], measured: Sample | Buckets) -> None:
    if isinstance(measured, Sample):
        family.add_metric(labels, measured.value)  # type: ignore[attr-defined]  # of both kinds it can be
    elif len(measured.counts) == len(metric.bounds) + 1:  # else the process is of another version
        bounds = [*map(str, map(float, metric.bounds)), "+Inf"]
        buckets = list(zip(bounds, accumulate(measured.counts), strict=True))
        family.add_metric(labels, buckets, measured.total)  # type: ignore[attr-defined]
