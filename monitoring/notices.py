"""What those are told who are told of an alert: title and body, from the templates in templates/monitoring."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.template import Context
from django.template.loader import get_template

from monitoring.rules import Rule
from monitoring.samples import Labels

MOST_TITLE = 250


class Message(NamedTuple):
    """A message."""

    title: str
    body: str


def message(event: str, rule: Rule, labels: Labels, value: float | None, since: float, now: float, number: int) -> Message:
    """What is told of an alert.

    Args:
        event: firing, escalated or resolved.
        rule, labels: whose alert it is.
        value: the last one; None: there was none.
        since, now: when it fired, and the time; wall clock, seconds.
        number: of the escalation.
    """
    facts = {
        "rule": rule,
        "labels": ", ".join(f"{name} {text}" for name, text in labels),
        "value": "none" if value is None else number_text(value),
        "threshold": number_text(rule.terms.threshold),
        "since": datetime.fromtimestamp(since, UTC),
        "lasting": duration(now - since),
        "number": number,
    }
    return _written(event, facts)


def test_message(notifier: str) -> Message:
    """What is told to see whether anybody hears it."""
    return _written("test", {"notifier": notifier})


def _written(event: str, facts: dict[str, Any]) -> Message:
    title, body = (_text(f"monitoring/{event}.{part}.txt", facts).strip() for part in ("title", "body"))
    return Message(" ".join(title.split())[:MOST_TITLE], body)


def _text(name: str, facts: dict[str, Any]) -> str:
    """Plain text: what is told is no HTML, so nothing is escaped."""
    template: Any = get_template(name)
    return str(template.template.render(Context(facts, autoescape=False)))


def number_text(value: float) -> str:
    """A number as a person reads it."""
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 10_000 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A span of time in its two largest units."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
