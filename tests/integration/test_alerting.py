"""Alerting on a real Redis and database: evaluated once, told once, recorded."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from marketdata.feed_status import FeedStatus, note_status
from marketdata.layout import Layout
from marketdata.store import Store, now_us
from monitoring import incidents
from monitoring.evaluation import Evaluator
from monitoring.fallback import Fallback
from monitoring.models import Alert, AlertRule, Delivery
from monitoring.samples import sample
from monitoring.standings import Standing, note_standing, read_standing, standing_key
from tests.integration.alert_parts import Installation, Webhook, deliveries, only_rule, slow, told

pytestmark = pytest.mark.django_db(transaction=True)


# from a value to a webhook


def test_an_alert_fires_into_a_webhook_and_resolves(installation: Installation, hook: Webhook) -> None:
    only_rule(summary="Many clients are slow.", severity="critical", runbook="docs/slow.md", for_seconds=10)
    told(hook.url)
    slow(installation, 12)
    for _ in range(3):
        installation.look()
    slow(installation, 3)
    installation.look()
    assert hook.titles == ["[critical] slow", "[resolved] slow"]
    assert [hook.taken[0]["type"], hook.taken[1]["type"]] == ["failure", "success"]
    for part in ("Many clients are slow.", "Value: 12 ", "> 10", "What to do: docs/slow.md"):
        assert part in hook.taken[0]["message"]
    alert = Alert.objects.get()
    assert [(entry["state"], entry["value"]) for entry in alert.history] == [("pending", 12), ("firing", 12), ("resolved", 3)]
    assert deliveries() == [("firing", "sent"), ("resolved", "sent")]


def test_a_pending_alert_that_clears_leaves_nothing(installation: Installation, hook: Webhook) -> None:
    only_rule(for_seconds=60)
    told(hook.url)
    slow(installation, 12)
    installation.look()
    assert Alert.objects.get().state == "pending"
    slow(installation, 1)
    installation.look()
    assert not Alert.objects.exists()
    assert hook.taken == []


def test_what_is_told_is_not_escaped(installation: Installation, hook: Webhook) -> None:
    only_rule(summary='Is it "slow" & <late>?')
    told(hook.url)
    slow(installation, 12)
    installation.look()
    assert 'Is it "slow" & <late>?' in hook.taken[0]["message"]


def test_each_set_of_labels_is_an_alert_of_its_own(installation: Installation, hook: Webhook) -> None:
    only_rule(metric="tickwire_feed_up", comparison="<", threshold=1)
    told(hook.url)
    for name in ("a", "b"):
        note_status(installation.store, FeedStatus(name=name, kind="k", polled=True, good_until_us=now_us() + 60_000_000))
    installation.look()
    assert sorted(hook.titles) == ["[warning] slow (feed a)", "[warning] slow (feed b)"]


def test_a_rule_with_notifiers_tells_those_only(installation: Installation, hook: Webhook) -> None:
    rule = only_rule()
    told("json://127.0.0.1:9/", "others")
    rule.notifiers.add(told(hook.url))
    slow(installation, 12)
    installation.look()
    assert [row.name for row in Delivery.objects.all()] == ["ops"]


def test_an_escalation_goes_to_others(installation: Installation, hook: Webhook) -> None:
    rule = only_rule(escalate_seconds=10)
    rule.notifiers.add(told(hook.url))
    rule.escalation_notifiers.add(told(hook.url + "/boss", "boss"))
    slow(installation, 12)
    for _ in range(6):
        installation.look()
    assert [(row.event, row.name, row.number) for row in Delivery.objects.order_by("pk")] == [
        ("firing", "ops", 0), ("escalated", "boss", 1), ("escalated", "boss", 2),
    ]  # fmt: skip
    assert hook.titles[1] == "[warning] still: slow, for 10 s"


def test_whoever_was_told_of_an_alert_is_told_of_its_end(installation: Installation, hook: Webhook) -> None:
    rule = only_rule(escalate_seconds=10)
    rule.notifiers.add(told(hook.url))
    rule.escalation_notifiers.add(told(hook.url + "/boss", "boss"))
    slow(installation, 12)
    for _ in range(4):
        installation.look()
    slow(installation, 1)
    installation.look()
    ends = Delivery.objects.filter(event="resolved").order_by("pk")
    assert [(row.name, row.state) for row in ends] == [("ops", "sent"), ("boss", "sent")]


def test_a_silenced_rule_is_recorded_and_told_when_the_silence_ends(installation: Installation, hook: Webhook) -> None:
    rule = only_rule(silenced_until=timezone.now() + timedelta(hours=1))
    told(hook.url)
    slow(installation, 12)
    installation.look()
    assert (Alert.objects.get().state, hook.taken) == ("firing", [])
    AlertRule.objects.filter(pk=rule.pk).update(silenced_until=timezone.now() - timedelta(seconds=1))
    installation.look()
    assert hook.titles == ["[warning] slow"]


@pytest.mark.parametrize("what", ["disabled", "deleted"])
def test_the_alerts_of_a_rule_that_is_gone_end_untold(installation: Installation, hook: Webhook, what: str) -> None:
    rule = only_rule()
    told(hook.url)
    slow(installation, 12)
    installation.look()
    AlertRule.objects.filter(pk=rule.pk).update(enabled=False) if what == "disabled" else rule.delete()
    installation.look()
    assert Alert.objects.get().state == "resolved"
    assert hook.titles == ["[warning] slow"]


def test_a_counter_is_followed_by_whoever_evaluates(installation: Installation, hook: Webhook) -> None:
    only_rule(metric="tickwire_conflated_total", threshold=1, window_seconds=20, aggregation="sum")
    told(hook.url)
    for count in (100, 100, 150, 200):
        installation.report("a", sample("tickwire_conflated_total", count))
        installation.look(evaluator=installation.another())
    assert Alert.objects.get().value == 2.5


# once, whoever evaluates


def test_nobody_evaluates_right_after_another(installation: Installation) -> None:
    only_rule()
    assert installation.look()
    assert not installation.look(1.0, installation.another())
    assert installation.look(3.0, installation.another())


def test_many_at_once_evaluate_once_and_tell_once(installation: Installation, hook: Webhook) -> None:
    only_rule()
    told(hook.url)
    slow(installation, 12)
    barrier, done = threading.Barrier(6), []

    def go() -> None:
        store = Store(installation.redis_url, Layout(installation.prefix))
        evaluator = Evaluator(store, installation.outgoing, lambda: installation.now)
        barrier.wait()
        try:
            done.append(evaluator.round())
        finally:
            store.close()
            connections.close_all()

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    installation.outgoing.wait()
    assert sorted(done) == [False] * 5 + [True]
    assert hook.titles == ["[warning] slow"]


def test_two_who_do_not_know_of_each_other_tell_once(installation: Installation, hook: Webhook) -> None:
    """As where one of them reaches another Redis: the database lets the first one tell."""
    only_rule()
    told(hook.url)
    slow(installation, 12)
    installation.look()
    installation.store.client.delete(f"{installation.prefix}:lease:alerts:note")
    installation.look()
    assert hook.titles == ["[warning] slow"]
    assert Alert.objects.count() == 1


def test_who_dies_after_recording_tells_nobody_twice(installation: Installation, hook: Webhook) -> None:
    only_rule()
    told(hook.url)
    slow(installation, 12)
    note = f"{installation.prefix}:lease:alerts:note"
    installation.look()
    installation.store.client.delete(note)  # it never came to leave its note
    slow(installation, 1)
    installation.look()
    assert hook.titles == ["[warning] slow", "[resolved] slow"]


# where a metric is missing


def test_what_fires_for_a_missing_metric_ends_when_it_is_back(installation: Installation, hook: Webhook) -> None:
    only_rule(metric="tickwire_feed_up", comparison="<", threshold=1, missing="fire")
    told(hook.url)
    installation.look()
    feed = FeedStatus(name="a", kind="k", polled=True, healthy=True, good_until_us=now_us() + 60_000_000)
    note_status(installation.store, feed)
    installation.look()
    assert hook.titles == ["[warning] slow", "[resolved] slow"]


# how alerting stands, and what is forgotten


def test_how_alerting_stands_is_noted_for_everybody(installation: Installation) -> None:
    only_rule(severity="critical")
    slow(installation, 12)
    installation.look()
    standing = read_standing(installation.store.client.get(standing_key(installation.prefix)))
    assert standing is not None
    assert (standing.at, standing.firing) == (installation.now, {"critical": 1})
    assert installation.another().age_s() == 0.0


def test_alerts_that_ended_long_ago_are_forgotten(installation: Installation) -> None:
    old = timezone.now() - timedelta(days=incidents.KEPT_DAYS + 1)
    for ended in (old, None):
        Alert.objects.create(name="slow", state="resolved", since=old, began_at=old, resolved_at=ended, severity="info")
    incidents.forget_old(time.time())
    assert [row.resolved_at for row in Alert.objects.all()] == [None]


# feeds


def test_a_muted_feed_is_flagged_while_a_closed_market_stays_silent(installation: Installation, hook: Webhook) -> None:
    AlertRule.objects.exclude(name="feed-silent").delete()
    told(hook.url)
    now, cadence_s = now_us(), 20.0

    def note(name: str, session: str, silent_s: float) -> None:
        status = FeedStatus(
            name=name, kind="k", polled=False, cadence_s=cadence_s, heard_us=now - round(silent_s * 1e6), sessions=[session],
            good_until_us=now + 60_000_000,
        )  # fmt: skip
        note_status(installation.store, status)

    note_standing(installation.store.client, installation.prefix, Standing(installation.now))
    closed = "us" if not _opens("us", now) else "cn"  # they are never open at once
    note("muted", "always", 2 * cadence_s - 5)
    note("closed", closed, 3600)
    note("lively", "always", 1)
    installation.look()
    assert hook.titles == []
    note("muted", "always", 2 * cadence_s + 1)
    installation.look()
    assert hook.titles == ["[critical] feed-silent (feed muted)"]


def _opens(session: str, now: int) -> bool:
    from marketdata.instruments import is_open

    return is_open(session, now)


# beat


def test_the_fallback_goes_on_until_somebody_else_evaluates(installation: Installation) -> None:
    only_rule()
    other = installation.another()
    installation.look()
    assert (installation.evaluator.age_s(), other.age_s()) == (float("inf"), 0.0)
    installation.look(evaluator=other)
    assert (installation.evaluator.age_s(), other.age_s()) == (0.0, float("inf"))


def test_a_beat_that_stopped_is_found_by_the_fallback(installation: Installation, hook: Webhook) -> None:
    AlertRule.objects.exclude(name="beat-dead").delete()
    AlertRule.objects.update(for_seconds=0)
    told(hook.url)
    installation.beats(ago_s=60)
    fallback = Fallback(Evaluator(installation.store, installation.outgoing), every_s=0.05, patience_s=0.5)
    fallback.start()
    began = time.monotonic()
    while not hook.taken and time.monotonic() - began < 10:
        time.sleep(0.02)
    fallback.stop()
    fallback._thread.join(10)
    assert hook.titles == ["[critical] beat-dead"]


@pytest.mark.parametrize(("patience_s", "looks"), [(0.0, True), (60.0, False)], ids=["impatient", "patient"])
def test_the_fallback_waits_for_celery_after_an_evaluation_and_after_its_own_start(
    installation: Installation, patience_s: float, looks: bool
) -> None:
    only_rule()
    asked = threading.Event()

    class Watched(Evaluator):
        def age_s(self) -> float:
            return float("inf")

        def round(self) -> bool:
            asked.set()
            return True

    fallback = Fallback(Watched(installation.store, installation.outgoing), every_s=0.02, patience_s=patience_s)
    fallback.start()
    assert asked.wait(0.5) == looks
    fallback.stop()
    fallback._thread.join(10)
