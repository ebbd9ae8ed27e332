"""What a rule watches, in flight: which metric, of whom, put together how, and when its alerts fire."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from monitoring.alerts import Terms
from monitoring.exposition import OF_PROCESS
from monitoring.metrics import INSTALLATION, METRICS
from monitoring.samples import Labels

Aggregation = Literal["sum", "max", "min", "each"]
Missing = Literal["hold", "fire"]
Severity = Literal["critical", "warning", "info"]
_OF_INSTALLATION = frozenset(metric.name for metric in INSTALLATION)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule.

    Attributes:
        pk: of its row; 0 before there is one.
        name, summary: its name and what it says, in a sentence.
        metric: what is watched, one of `METRICS`. Of a counter, its increase per second is; of a histogram, a quantile.
        labels: only samples that have these.
        aggregation: how those of all processes are put together; `each`: not at all. Other labels are never put together: each
            set of them is an alert of its own.
        per: the metric by which it is divided; empty: by none.
        quantile: of a histogram: 0.99.
        window_s: over which counters and histograms are looked at.
        terms: when its alerts fire and end.
        missing: what a metric without any sample means.
        silenced_until: wall clock, seconds; nobody is told before.
        notifiers, escalation_notifiers: primary keys of those who are told; none: all.
    """

    name: str
    summary: str
    metric: str
    terms: Terms
    severity: Severity
    pk: int = 0
    labels: dict[str, str] = {}
    aggregation: Aggregation = "max"
    per: str = ""
    quantile: float | None = None
    window_s: float = 300.0
    missing: Missing = "hold"
    runbook: str = ""
    silenced_until: float | None = None
    notifiers: tuple[int, ...] = ()
    escalation_notifiers: tuple[int, ...] = ()

    @property
    def counted(self) -> tuple[str, ...]:
        """The metrics whose past it needs."""
        return tuple(name for name in (self.metric, self.per) if name and METRICS[name].kind != "gauge")

    def whose(self, labels: Labels) -> Labels:
        """The labels by which its alerts differ, of those that a sample has."""
        put_together = () if self.aggregation == "each" or self.metric in _OF_INSTALLATION else OF_PROCESS
        return tuple(sorted((name, value) for name, value in labels if name not in put_together))


def labels_of(metric: str) -> tuple[str, ...]:
    """Every label that samples of a metric have."""
    own = METRICS[metric].labels
    return own if metric in _OF_INSTALLATION else (*OF_PROCESS, *own)


def flaws(watched: dict[str, Any]) -> dict[str, str]:
    """What is wrong with the metric, labels, divisor and quantile of a rule to be: sentences by field.

    Args:
        watched: its `metric`, `labels`, `per` and `quantile`.
    """
    metric, per = watched["metric"], watched["per"]
    if metric not in METRICS:
        return {"metric": f"There is no metric {metric!r}; docs/metrics.md lists them."}
    found = {}
    known = labels_of(metric)
    labels = watched["labels"]
    if not isinstance(labels, dict) or not all(isinstance(text, str) for pair in labels.items() for text in pair):
        found["labels"] = 'Give an object of texts: {"role": "web"}.'
    elif unknown := [name for name in labels if name not in known]:
        found["labels"] = f"{metric} has no label {unknown[0]!r}; it has {', '.join(known) or 'none'}."
    is_histogram = METRICS[metric].kind == "histogram"
    if is_histogram != (watched["quantile"] is not None):
        found["quantile"] = "A histogram needs one." if is_histogram else f"{metric} is no histogram."
    if per and (flaw := _flaw_of_divisor(metric, per)):
        found["per"] = flaw
    return found


def _flaw_of_divisor(metric: str, per: str) -> str:
    if per not in METRICS:
        return f"There is no metric {per!r}."
    if "histogram" in (METRICS[metric].kind, METRICS[per].kind):
        return "A histogram is not divided, and divides nothing."
    return "" if labels_of(metric) == labels_of(per) else f"Its labels are not those of {metric}."
