"""Alerts at rest: what the database knows of those that are open, each change of state, and whom it is to be told.

Rules of this file:
1. There is one open alert for a rule and a set of labels, whoever evaluates: the database sees to that. Who comes second with a
   change of state changes nothing and tells nobody.
2. A change and the messages about it are written in one transaction; there is one message for a change and a notifier.
3. Where memory and database disagree the database is right, unless it was away when the memory was made.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from msgspec.structs import replace

from marketdata.database import answering
from monitoring.alerts import Instance, State
from monitoring.judging import Judged, Kept, Memory, key_of
from monitoring.models import Alert, Delivery
from monitoring.notices import message
from monitoring.rulebook import Rulebook
from monitoring.rules import Rule

logger = logging.getLogger(__name__)

KEPT_DAYS = 90
MOST_HISTORY = 50
LATELY = timedelta(hours=1)


def agree(memory: Memory, rules: Sequence[Rule], now: float) -> None:
    """Have the memory agree with the database, and close what no rule watches any more.

    Raises:
        DatabaseUnavailable: it does not answer.
    """
    with answering():
        rows = list(Alert.objects.filter(resolved_at=None))
        in_force = {rule.pk for rule in rules}
        for row in rows:
            if row.rule_id not in in_force:
                _close(row, now)
    known = memory.by_key()
    written = {(row.rule_id, row.key): row for row in rows if row.rule_id in in_force}
    for (pk, key), row in written.items():
        kept = known.get((pk, key))
        if kept is None:
            kept = Kept(row.rule_id or 0, tuple(sorted(row.labels.items())), Instance())
            memory.kept.append(kept)
        kept.instance, kept.recorded = _as_written(row, kept.instance), True
    for place, kept in known.items():
        if kept.recorded and place not in written and kept.instance.state != "inactive":
            kept.instance = replace(kept.instance, state="inactive", well_since=None, told=False)


def _as_written(row: Alert, known: Instance) -> Instance:
    told, escalations = row.told or known.told, max(row.escalations, known.escalations)
    if known.state == row.state:
        return replace(known, told=told, escalations=escalations)
    state: State = "firing" if row.state == Alert.State.FIRING else "pending"
    since = row.since.timestamp()
    firings = known.firings or ((since,) if state == "firing" else ())
    return Instance(state=state, since=since, value=row.value, told=row.told, escalations=row.escalations, firings=firings)


def record(judged: Judged, book: Rulebook, now: float) -> None:
    """Write down what became of an instance, and the messages about it.

    Raises:
        DatabaseUnavailable: it does not answer.
    """
    if judged.step.transition is None and judged.step.notice is None and judged.kept.recorded:
        return
    try:
        with answering(), transaction.atomic():
            row = _moved(judged)
            if row is not None and judged.step.notice is not None and judged.kept.recorded:
                _tell(row, judged, book, now)
    except IntegrityError:  # somebody else wrote the same at the same moment
        logger.info("alert %s was recorded by another process", judged.rule.name)
    judged.kept.recorded = True


def _moved(judged: Judged) -> Alert | None:
    """The row in its new state; None: somebody else was first, or there is nothing to be kept."""
    rule, kept, (instance, transition, _) = judged.rule, judged.kept, judged.step
    row = _open(rule, kept).select_for_update().first()
    if transition == "cleared":
        _open(rule, kept).filter(state=Alert.State.PENDING).delete()
        return None
    state = Alert.State.RESOLVED if transition == "resolved" else Alert.State(instance.state)
    if row is None:
        if kept.recorded and transition in (None, "resolved"):
            return None
        began = time_of(instance.since)
        row = Alert(rule_id=rule.pk, key=key_of(kept.labels)[:300], labels=dict(kept.labels), name=rule.name, began_at=began)
    elif transition is not None and row.state == state:
        return None
    row.told, row.escalations, row.severity = instance.told or row.told, instance.escalations, rule.severity
    if row.state != state:
        _set(row, state, instance.value, instance.since)
    row.save()
    return row


def _set(row: Alert, state: Alert.State, value: float | None, since: float) -> None:
    row.state, row.since, row.value = state, time_of(since), value
    row.history = [*row.history, {"state": str(state), "at": row.since.isoformat(), "value": value}][-MOST_HISTORY:]
    if state == Alert.State.RESOLVED:
        row.resolved_at = row.since


def _open(rule: Rule, kept: Kept) -> QuerySet[Alert]:
    return Alert.objects.filter(rule_id=rule.pk, key=key_of(kept.labels)[:300], resolved_at=None)


def _close(row: Alert, now: float) -> None:
    if row.state == Alert.State.PENDING:
        row.delete()
        return
    _set(row, Alert.State.RESOLVED, row.value, now)
    row.save()


def _tell(row: Alert, judged: Judged, book: Rulebook, now: float) -> None:
    notice, instance = judged.step.notice, judged.step.instance
    assert notice is not None
    text = message(notice, *about(judged), now, instance.escalations)
    before = row.deliveries.exclude(notifier=None).values_list("notifier", flat=True)
    messages = (
        Delivery(
            alert=row,
            notifier_id=recipient.pk,
            name=recipient.name,
            event=notice,
            number=instance.escalations if notice == "escalated" else 0,
            title=text.title,
            body=text.body,
            due_at=time_of(now),
        )
        for recipient in book.told(judged.rule, notice, before)
    )
    Delivery.objects.bulk_create(messages, ignore_conflicts=True)


def about(judged: Judged) -> tuple[Rule, Any, float | None, float]:
    """Rule, labels, value, and since when it fires or fired."""
    since = judged.before.since if judged.step.notice == "resolved" else judged.step.instance.since
    return judged.rule, judged.kept.labels, judged.step.instance.value, since


def undelivered(now: float) -> int:
    """Messages that failed and wait, or were given up within the hour. Those about this very number do not count: one that
    cannot be delivered would keep itself alive.
    """
    waiting = Q(state=Delivery.State.WAITING) & ~Q(attempts=[])
    given_up = Q(state=Delivery.State.FAILED, created_at__gt=time_of(now) - LATELY)
    others = Q(alert__rule__metric="tickwire_undelivered_notifications")
    return Delivery.objects.filter(waiting | given_up).exclude(others).exclude(event=Delivery.Event.TEST).count()


def forget_old(now: float) -> None:
    """Let go of alerts that ended long ago, and of tests."""
    before = time_of(now) - timedelta(days=KEPT_DAYS)
    Alert.objects.filter(resolved_at__lt=before).delete()
    Delivery.objects.filter(alert=None, created_at__lt=before).delete()


def time_of(seconds: float) -> datetime:
    """Wall clock, seconds, as Django has it."""
    return datetime.fromtimestamp(seconds, UTC)
