"""The shipped rules as a file of Prometheus' rules, so that somebody outside watches the same.

Prometheus reckons a rate a little differently: it extrapolates to the edges of its window, where Tickwire counts what it saw.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from monitoring.exposition import OF_PROCESS
from monitoring.metrics import METRICS
from monitoring.rules import Rule, labels_of

HEAD = """\
# The alert rules that Tickwire ships, for Prometheus. Written by `make docs` from monitoring/shipped.py; a test compares them.
groups:
  - name: tickwire
    rules:
"""


def document(rules: Sequence[Rule]) -> str:
    """The whole file."""
    return HEAD + "".join(line + "\n" for rule in rules for line in _lines(rule))


def alert_name(rule: Rule) -> str:
    """`loop-lag` as Prometheus' alerts are called: TickwireLoopLag."""
    return "Tickwire" + "".join(part.capitalize() for part in rule.name.split("-"))


def expression(rule: Rule) -> str:
    """The rule as a query of Prometheus."""
    value = _value(rule)
    if rule.per:
        value = f"{value} / {_selected(rule.per, rule)}"
    if rule.quantile is None and rule.aggregation != "each" and "process" in labels_of(rule.metric):
        value = f"{rule.aggregation}{_by(rule)} ({value})"
    condition = f"{value} {rule.terms.comparison} {_number(rule.terms.threshold)}"
    return f"({condition}) or absent({rule.metric}{_selector(rule)})" if rule.missing == "fire" else condition


def _value(rule: Rule) -> str:
    if rule.quantile is None:
        return _selected(rule.metric, rule)
    return f"histogram_quantile({rule.quantile:g}, sum by (le) (rate({rule.metric}_bucket{_selector(rule)}[{rule.window_s:g}s])))"


def _selected(metric: str, rule: Rule) -> str:
    chosen = f"{metric}{_selector(rule)}"
    return chosen if METRICS[metric].kind == "gauge" else f"rate({chosen}[{rule.window_s:g}s])"


def _selector(rule: Rule) -> str:
    pairs = ", ".join(f"{name}={json.dumps(value)}" for name, value in rule.labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _by(rule: Rule) -> str:
    kept = [name for name in labels_of(rule.metric) if name not in OF_PROCESS]
    return f" by ({', '.join(kept)})" if kept else ""


def _lines(rule: Rule) -> Iterator[str]:
    yield f"      - alert: {alert_name(rule)}"
    yield f"        expr: {_quoted(expression(rule))}"
    if rule.terms.for_s:
        yield f"        for: {rule.terms.for_s:g}s"
    if rule.terms.clear_s:
        yield f"        keep_firing_for: {rule.terms.clear_s:g}s"
    yield "        labels:"
    yield f"          severity: {rule.severity}"
    yield "        annotations:"
    yield f"          summary: {_quoted(rule.summary)}"
    yield f"          runbook: {rule.runbook}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def _quoted(text: str) -> str:
    """As YAML has it."""
    return "'" + text.replace("'", "''") + "'"
