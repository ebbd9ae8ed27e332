"""Alerting while Redis or the database is away, and right afterwards: nothing is lost, forgotten, or told for nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError

from marketdata import database
from marketdata.errors import DatabaseUnavailable
from marketdata.feed_status import FeedStatus, note_status
from marketdata.store import now_us
from monitoring.alerts import HOLD_S
from monitoring.models import Alert, AlertRule
from monitoring.rulebook import Rulebook
from monitoring.samples import sample
from monitoring.standings import Standing, note_standing, read_standing, standing_key
from tests.integration.alert_parts import Installation, Webhook, only_rule, slow, told
from tests.own_redis import running

pytestmark = pytest.mark.django_db(transaction=True)

SLOW = "tickwire_slow_connections"


@pytest.mark.parametrize(("looks", "ends"), [(1, 1), (4, 2)], ids=["not escalated", "escalated"])
def test_without_the_database_too_the_end_is_told_to_whoever_was_told(
    installation: Installation, hook: Webhook, monkeypatch: pytest.MonkeyPatch, looks: int, ends: int
) -> None:
    rule = only_rule(escalate_seconds=10)
    rule.notifiers.add(told(hook.url))
    rule.escalation_notifiers.add(told(hook.url + "/boss", "boss"))
    slow(installation, 12)
    for _ in range(looks):
        installation.look()
    monkeypatch.setattr(Rulebook, "read", lambda self: _fail())
    slow(installation, 1)
    installation.look()
    assert hook.titles.count("[resolved] slow") == ends


def test_redis_that_is_away_is_told_and_everything_else_stays(tmp_path: Any, hook: Webhook, prefix: str) -> None:
    only_rule(name="redis-down", metric="tickwire_redis_up", aggregation="min", comparison="<", threshold=1)
    AlertRule.objects.create(name="slow", metric=SLOW, threshold=10, clear_seconds=0)
    AlertRule.objects.create(name="beat-dead", metric="tickwire_beat_age_seconds", threshold=15, missing="fire", for_seconds=5)
    told(hook.url)
    with running(tmp_path) as server:
        installation = Installation(server.url, prefix)
        installation.report("a", sample(SLOW, 12), sample("tickwire_redis_up", 1))
        installation.beats()
        installation.look()
        server.stop()
        assert installation.evaluator.age_s() == float("inf")
        assert installation.look()
        assert not installation.look(1.0, installation.another())
        assert installation.look()
        assert hook.titles == ["[warning] slow", "[warning] redis-down"]
        server.start()
        installation.report("a", sample(SLOW, 12), sample("tickwire_redis_up", 1))
        installation.beats()
        installation.look()
        assert hook.titles == ["[warning] slow", "[warning] redis-down", "[resolved] redis-down"]
        installation.close()


def test_while_the_database_is_away_alerts_are_told_once_and_recorded_later(
    installation: Installation, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_rule()
    told(hook.url)
    installation.look()
    other = installation.another()
    installation.look(evaluator=other)
    slow(installation, 12)
    with monkeypatch.context() as away:
        away.setattr(Rulebook, "read", lambda self: _fail())
        installation.look()
        installation.look(evaluator=other)
        fired = installation.now - 5
    assert hook.titles == ["[warning] slow"]
    assert not Alert.objects.exists()
    installation.look()
    alert = Alert.objects.get()
    assert (alert.state, alert.told, alert.since.timestamp()) == ("firing", True, pytest.approx(fired, abs=1))
    slow(installation, 1)
    installation.look()
    assert hook.titles == ["[warning] slow", "[resolved] slow"]


def test_all_that_fires_at_once_while_the_database_is_away_is_told(
    installation: Installation, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_rule(metric="tickwire_feed_up", comparison="<", threshold=1)
    told(hook.url)
    installation.look()
    for name in "abcdefgh":
        note_status(installation.store, FeedStatus(name=name, kind="k", polled=True, good_until_us=now_us() + 60_000_000))
    monkeypatch.setattr(Rulebook, "read", lambda self: _fail())
    installation.look()
    assert sorted(hook.titles) == [f"[warning] slow (feed {name})" for name in "abcdefgh"]


def test_who_knows_no_rules_forgets_nothing_while_the_database_is_away(
    installation: Installation, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_rule(for_seconds=15)
    told(hook.url)
    installation.look()
    slow(installation, 12)
    monkeypatch.setattr(Rulebook, "read", lambda self: _fail())
    for _ in range(3):
        installation.look()
        with pytest.raises(DatabaseUnavailable):
            installation.look(evaluator=installation.another())
    assert hook.titles == ["[warning] slow"]


def test_who_has_learnt_the_rules_tells_while_the_database_is_away(
    installation: Installation, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_rule()
    told(hook.url)
    installation.evaluator.learn()
    slow(installation, 12)
    monkeypatch.setattr(Rulebook, "read", lambda self: _fail())
    installation.evaluator.learn()
    installation.look()
    assert hook.titles == ["[warning] slow"]


def _fail() -> None:
    with database.answering():
        raise DatabaseError("it does not answer")


def test_redis_that_forgets_everything_ends_no_alert(installation: Installation, hook: Webhook) -> None:
    only_rule()
    told(hook.url)
    slow(installation, 12)
    installation.look()
    installation.now += 2 * HOLD_S
    installation.store.client.flushdb()
    installation.look()
    slow(installation, 12)
    installation.look()
    assert hook.titles == ["[warning] slow"]


def test_how_alerting_stands_is_noted_while_the_database_is_away(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_rule(severity="critical")
    installation.look()
    slow(installation, 12)
    monkeypatch.setattr(Rulebook, "read", lambda self: _fail())
    installation.look()
    standing = read_standing(installation.store.client.get(standing_key(installation.prefix)))
    assert standing is not None
    assert (standing.at, standing.firing) == (installation.now, {"critical": 1})


def test_a_feed_that_could_not_be_heard_was_not_silent(installation: Installation, hook: Webhook) -> None:
    """As right after Redis was away, or the installation off: what was noted before says nothing."""
    AlertRule.objects.exclude(name="feed-silent").delete()
    told(hook.url)
    note_standing(installation.store.client, installation.prefix, Standing(installation.now - 60))
    heard_us = now_us() - 60_000_000
    feed = FeedStatus(
        name="a", kind="k", polled=False, cadence_s=5.0, heard_us=heard_us, sessions=["always"], good_until_us=heard_us
    )
    note_status(installation.store, feed)
    installation.look()
    assert hook.titles == []
