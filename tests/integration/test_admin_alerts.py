"""Alerting in the admin: roles, secret addresses, test messages, silence."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from marketdata.models import JournalEntry
from monitoring.models import Alert, AlertRule, Delivery, Notifier
from tests.integration.admin_parts import ACTION, complaints, member, shown
from tests.integration.alert_parts import Webhook

pytestmark = pytest.mark.django_db

SECRET = "s3cr3tt0ken"
ROLES = ("viewer", "operator", "admin")
MAY = {
    "alertrule": {"viewer": "", "operator": "c", "admin": "acd"},
    "notifier": {"viewer": "", "operator": "", "admin": "acd"},
    "alert": {"viewer": "", "operator": "", "admin": ""},
    "delivery": {"viewer": "", "operator": "", "admin": ""},
}


@pytest.fixture
def rows() -> dict[str, Any]:
    rule, now = AlertRule.objects.get(name="memory"), timezone.now()
    notifier = Notifier.objects.create(name="ops", url=f"json://hooks.example.com/{SECRET}")
    history = [{"state": "firing", "at": now.isoformat(), "value": 3e9}]
    alert = Alert.objects.create(
        rule=rule, name="memory", severity="warning", state="firing", since=now, began_at=now, value=3e9, history=history
    )
    attempt = {"at": now.isoformat(), "took_ms": 7, "error": "it was not taken"}
    delivery = Delivery.objects.create(
        alert=alert, notifier=notifier, name="ops", event="firing", title="[warning] memory", body="<much>", attempts=[attempt]
    )
    return {"alertrule": rule, "notifier": notifier, "alert": alert, "delivery": delivery}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("page", MAY)
def test_a_role_sees_every_page_and_changes_what_is_its_own(rows: dict[str, Any], role: str, page: str) -> None:
    client, row = member(role), f"/admin/monitoring/{page}/{rows[page].pk}"
    assert client.get(f"/admin/monitoring/{page}/").status_code == 200
    assert client.get(f"{row}/change/").status_code == 200
    answers = {
        "a": client.get(f"/admin/monitoring/{page}/add/"),
        "c": client.post(f"{row}/change/", {}),
        "d": client.post(f"{row}/delete/", {"post": "yes"}),
    }
    assert "".join(what for what, answer in answers.items() if answer.status_code != 403) == MAY[page][role]


@pytest.mark.parametrize("role", ROLES)
def test_no_page_shows_an_address(rows: dict[str, Any], role: str) -> None:
    client = member(role)
    for page, row in rows.items():
        for path in (f"/admin/monitoring/{page}/", f"/admin/monitoring/{page}/{row.pk}/change/"):
            assert SECRET not in client.get(path).content.decode()


def test_an_address_that_is_left_empty_stays(rows: dict[str, Any]) -> None:
    client, page = member("admin"), f"/admin/monitoring/notifier/{rows['notifier'].pk}/change/"
    assert "json://••••••" in shown(client.get(page))
    client.post(page, {"name": "ops", "url": "", "enabled": ""})
    notifier = Notifier.objects.get()
    assert (notifier.enabled, SECRET in notifier.url) == (False, True)
    client.post(page, {"name": "ops", "url": "json://elsewhere.example.com/", "enabled": "on"})
    assert Notifier.objects.get().url == "json://elsewhere.example.com/"
    assert SECRET not in str([(entry.before, entry.after) for entry in JournalEntry.objects.all()])


def test_a_new_notifier_needs_an_address_that_apprise_knows(rows: dict[str, Any]) -> None:
    client = member("admin")
    for url in ("", "nothing://x"):
        answer = client.post("/admin/monitoring/notifier/add/", {"name": "more", "url": url, "enabled": "on"})
        assert list(complaints(answer)) == ["url"]


def test_a_rule_that_cannot_be_watched_is_refused_by_field(rows: dict[str, Any]) -> None:
    values = {
        "name": "odd", "metric": "tickwire_connections", "labels": '{"feed": "demo"}', "aggregation": "max", "severity": "info",
        "window_seconds": 300, "comparison": ">", "threshold": 1, "for_seconds": 0, "clear_seconds": 15, "missing": "hold",
    }  # fmt: skip
    client = member("admin")
    assert list(complaints(client.post("/admin/monitoring/alertrule/add/", values))) == ["labels"]
    assert client.post("/admin/monitoring/alertrule/add/", values | {"labels": "{}"}).status_code == 302
    assert AlertRule.objects.get(name="odd").threshold == 1


@pytest.mark.parametrize("role", ["operator", "admin"])
def test_the_button_sends_a_test_message(rows: dict[str, Any], hook: Webhook, role: str) -> None:
    Notifier.objects.update(url=hook.url)
    client, page = member(role), f"/admin/monitoring/notifier/{rows['notifier'].pk}/"
    assert "Send a test message" in shown(client.get(page + "change/"))
    assert "The test message was taken: ops." in shown(client.post(page + "test/", follow=True))
    assert hook.titles == ["[test] Tickwire"]
    assert JournalEntry.objects.filter(action="test", name="ops", who=role).exists()


def test_a_test_message_that_fails_says_why(rows: dict[str, Any], hook: Webhook) -> None:
    Notifier.objects.update(url=hook.url)
    hook.status = 404
    member("admin").post("/admin/monitoring/notifier/", {"action": "send_tests", ACTION: [rows["notifier"].pk]}, follow=True)
    row = Delivery.objects.get(event="test")
    assert (row.state, "404" in row.attempts[0]["error"]) == ("failed", True)


def test_a_viewer_sends_no_test_message(rows: dict[str, Any], hook: Webhook) -> None:
    Notifier.objects.update(url=hook.url)
    client, page = member("viewer"), f"/admin/monitoring/notifier/{rows['notifier'].pk}/"
    assert "Send a test message" not in shown(client.get(page + "change/"))
    assert client.post(page + "test/").status_code == 403
    client.post("/admin/monitoring/notifier/", {"action": "send_tests", ACTION: [rows["notifier"].pk]})
    assert hook.taken == []


def test_an_operator_silences_rules_and_ends_the_silence(rows: dict[str, Any]) -> None:
    client, rule = member("operator"), rows["alertrule"]

    def act(action: str) -> AlertRule:
        client.post("/admin/monitoring/alertrule/", {"action": action, ACTION: [rule.pk]})
        return AlertRule.objects.get(pk=rule.pk)

    until = act("silence_hour").silenced_until
    assert until is not None
    assert 3500 < (until - timezone.now()).total_seconds() <= 3600
    assert act("end_silence").silenced_until is None
    assert [act("disable").enabled, act("enable").enabled] == [False, True]
    said = JournalEntry.objects.filter(kind="alert rule", name="memory").order_by("pk").values_list("action", "who")
    assert list(said) == [(verb, "operator") for verb in ("silence", "end silence", "disable", "enable")]


def test_an_alert_shows_its_history_and_every_attempt(rows: dict[str, Any]) -> None:
    text = shown(member("viewer").get(f"/admin/monitoring/alert/{rows['alert'].pk}/change/"))
    assert "firing, 3 000 000 000" in text
    assert "7 ms: it was not taken" in text
    assert "&lt;much&gt;" in shown(member("operator").get(f"/admin/monitoring/delivery/{rows['delivery'].pk}/change/"))
