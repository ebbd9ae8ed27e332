"""The rules as the database last said. While it does not answer they stay in force: that it does not is an alert too."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from marketdata.database import answering
from monitoring.alerts import Terms
from monitoring.models import AlertRule, Notifier
from monitoring.rules import Rule, flaws


class Recipient(NamedTuple):
    """A notifier in flight. Its address is a secret."""

    pk: int
    name: str
    url: str

    def __repr__(self) -> str:
        return f"Recipient({self.name!r})"


class Rulebook:
    """The enabled rules and notifiers.

    Attributes:
        rules: by name.
        recipients: by primary key.
        read_at: when the database last said so, seconds of `time.monotonic`; None: it never did.
    """

    def __init__(self) -> None:
        self.rules: Sequence[Rule] = ()
        self.recipients: dict[int, Recipient] = {}
        self.read_at: float | None = None

    def read(self) -> None:
        """Ask the database. Rules whose metric is gone in this version are left out.

        Raises:
            DatabaseUnavailable: it does not answer; what was read before stays.
        """
        with answering():
            rows = AlertRule.objects.filter(enabled=True).prefetch_related("notifiers", "escalation_notifiers")
            rules = [rule_of(row) for row in rows if not flaws(vars(row))]
            found = Notifier.objects.filter(enabled=True).values_list("pk", "name", "url")
            recipients = {pk: Recipient(pk, name, url) for pk, name, url in found}
        self.rules, self.recipients, self.read_at = rules, recipients, time.monotonic()

    def told(self, rule: Rule, event: str, before: Iterable[int] = ()) -> list[Recipient]:
        """Who is told of an event of a rule; those who are not enabled are left out.

        Args:
            rule, event: what is told.
            before: primary keys of those who heard of the same alert before: of its end, they are told too.
        """
        chosen = (event == "escalated" and rule.escalation_notifiers) or rule.notifiers or tuple(self.recipients)
        also = before if event == "resolved" else ()
        return [self.recipients[pk] for pk in dict.fromkeys((*chosen, *also)) if pk in self.recipients]


def rule_of(row: AlertRule) -> Rule:
    """A row in flight."""
    terms = Terms(
        comparison=row.comparison,  # type: ignore[arg-type]  # one of its choices
        threshold=row.threshold,
        for_s=row.for_seconds,
        clear_s=row.clear_seconds,
        escalate_s=row.escalate_seconds,
    )
    return Rule(
        pk=row.pk,
        terms=terms,
        window_s=row.window_seconds,
        silenced_until=row.silenced_until.timestamp() if row.silenced_until else None,
        notifiers=tuple(sorted(each.pk for each in row.notifiers.all())),
        escalation_notifiers=tuple(sorted(each.pk for each in row.escalation_notifiers.all())),
        name=row.name,
        summary=row.summary,
        metric=row.metric,
        labels=row.labels,
        aggregation=row.aggregation,  # type: ignore[arg-type]
        per=row.per,
        quantile=row.quantile,
        missing=row.missing,  # type: ignore[arg-type]
        severity=row.severity,  # type: ignore[arg-type]
        runbook=row.runbook,
    )
