"""Alerting in the admin: roles, secret addresses, test messages, silence."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
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


def test_the_list_of_rules_asks_as_much_of_the_database_however_many_there_are(django_assert_num_queries: Any) -> None:
    client, path = member("viewer"), "/admin/monitoring/alertrule/"
    client.get(path)
    with CaptureQueriesContext(connection) as few:
        client.get(path)
    AlertRule.objects.bulk_create(AlertRule(name=f"more-{n}", metric="tickwire_ready", threshold=1) for n in range(20))
    with django_assert_num_queries(len(few)):
        assert "47 alert rules" in shown(client.get(path))


def test_a_rule_tells_how_many_of_its_alerts_fire(rows: dict[str, Any]) -> None:
    page = member("viewer").get("/admin/monitoring/alertrule/").content.decode()
    assert f'?state__exact=firing&amp;rule__id__exact={rows["alertrule"].pk}">1</a>' in page


@pytest.mark.parametrize(
    ("named", "leads_to"),
    [
        ("docs/operations/runbooks/memory.md", "/monitor/runbooks/memory/"),
        ("https://wiki.example.com/memory", "https://wiki.example.com/memory"),
        ("docs/operations/runbooks/none.md", None),
        ("javascript:alert(1)", None),
    ],
)
def test_an_alert_leads_to_its_runbook(rows: dict[str, Any], named: str, leads_to: str | None) -> None:
    AlertRule.objects.filter(pk=rows["alertrule"].pk).update(runbook=named)
    page = member("viewer").get(f"/admin/monitoring/alert/{rows['alert'].pk}/change/").content.decode()
    assert named in page
    assert (f'<a href="{leads_to}">{named}</a>' in page) is (leads_to is not None)
    assert f'href="{named}"' not in page or leads_to == named
