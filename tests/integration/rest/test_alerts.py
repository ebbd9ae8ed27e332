"""Alert rules, notifiers and alerts over REST: who may do what, what is refused and how, and that addresses stay secret."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from marketdata.models import JournalEntry
from monitoring.models import Alert, AlertRule, Delivery, Notifier
from monitoring.shipped import SHIPPED
from realtime.codes import Code
from realtime.keys import create_key
from tests.integration.alert_parts import Webhook
from tests.integration.rest.test_errors import check

RULES, NOTIFIERS, ALERTS = ("/api/v1/admin/" + name for name in ("alert-rules/", "notifiers/", "alerts/"))
NEW = {"name": "crowded", "metric": "tickwire_connections", "threshold": 9000}
HOOK = {"name": "ops", "url": "json://hooks.example.com/s3cr3tt0ken"}
ROLES = ("viewer", "operator", "admin")


def staff(role: str = "") -> Client:
    user = User.objects.create_user(role or "nobody", is_staff=True)
    if role:
        user.groups.add(Group.objects.get(name=role))
    return Client(headers={"Authorization": f"Bearer {create_key(user, is_staff=True)[1]}"})


def send(client: Client, method: str, path: str, body: Any = None) -> Any:
    return client.generic(method, path, b"" if body is None else _json(body), content_type="application/json")


def _json(body: Any) -> bytes:
    import msgspec

    return msgspec.json.encode(body)


@pytest.fixture
def admin(listed: None, store: Any) -> Client:
    return staff("admin")


@pytest.fixture
def rows(listed: None, store: Any) -> tuple[AlertRule, Notifier]:
    return AlertRule.objects.get(name="memory"), Notifier.objects.create(**HOOK)


# who may do what


@pytest.mark.parametrize("path", [RULES, NOTIFIERS, ALERTS])
def test_visitors_and_users_see_nothing(anonymous: Client, client: Client, path: str) -> None:
    assert (anonymous.get(path).status_code, client.get(path).status_code) == (401, 403)


@pytest.mark.parametrize(
    ("role", "statuses"),
    [
        ("", [200, 200, 200, 403, 403, 403, 403, 403, 403]),
        ("viewer", [200, 200, 200, 403, 403, 403, 403, 403, 403]),
        ("operator", [200, 200, 200, 403, 200, 403, 403, 403, 403]),
        ("admin", [200, 200, 200, 201, 200, 204, 201, 200, 204]),
    ],
)
def test_reading_is_for_staff_and_writing_needs_the_permission(rows: Any, role: str, statuses: list[int]) -> None:
    rule, notifier = rows
    client = staff(role)
    calls = [
        ("GET", RULES, None), ("GET", NOTIFIERS, None), ("GET", ALERTS, None),
        ("POST", RULES, NEW), ("PATCH", f"{RULES}{rule.pk}/", {"threshold": 5}), ("DELETE", f"{RULES}{rule.pk}/", None),
        ("POST", NOTIFIERS, HOOK | {"name": "more"}), ("PATCH", f"{NOTIFIERS}{notifier.pk}/", {"enabled": False}),
        ("DELETE", f"{NOTIFIERS}{notifier.pk}/", None),
    ]  # fmt: skip
    assert [send(client, *call).status_code for call in calls] == statuses


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("operator", 200), ("admin", 200)])
def test_a_test_message_needs_its_permission(rows: Any, hook: Webhook, role: str, status: int) -> None:
    Notifier.objects.update(url=hook.url)
    assert send(staff(role), "POST", f"{NOTIFIERS}{rows[1].pk}/test/").status_code == status


# rules


def test_the_shipped_rules_are_there_after_migrate(admin: Client) -> None:
    rules = admin.get(RULES).json()["rules"]
    assert [rule["name"] for rule in rules] == sorted(rule.name for rule in SHIPPED)


def test_a_rule_is_added_with_defaults_and_changed(admin: Client, rows: Any) -> None:
    made = send(admin, "POST", RULES, NEW | {"notifiers": ["ops"]}).json()
    assert (made["comparison"], made["severity"], made["notifiers"], made["silenced_until"]) == (">", "warning", ["ops"], None)
    until = 1_900_000_000_123_456
    changed = send(admin, "PATCH", f"{RULES}{made['id']}/", {"silenced_until": until, "labels": {"role": "web"}}).json()
    assert (changed["silenced_until"], changed["labels"], changed["threshold"]) == (until, {"role": "web"}, 9000)
    assert admin.get(f"{RULES}{made['id']}/").json() == changed


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metric": "tickwire_nothing"}, "metric"),
        ({"labels": {"feed": "demo"}}, "labels"),
        ({"labels": "web"}, "labels"),
        ({"per": "tickwire_feed_up"}, "per"),
        ({"quantile": 0.9}, "quantile"),
        ({"comparison": "="}, "comparison"),
        ({"threshold": "much"}, "threshold"),
        ({"threshold": None}, "threshold"),
        ({"threshold": "5"}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"enabled": 1}, "enabled"),
        ({"for_seconds": "5"}, "for_seconds"),
        ({"for_seconds": 10**20}, "for_seconds"),
        ({"name": 5}, "name"),
        ({"notifiers": "ops"}, "notifiers"),
        ({"for_seconds": -1}, "for_seconds"),
        ({"escalate_seconds": 1}, "escalate_seconds"),
        ({"window_seconds": 0}, "window_seconds"),
        ({"severity": "bad"}, "severity"),
        ({"name": "not a slug"}, "name"),
        ({"name": "memory"}, "name"),
        ({"notifiers": ["nobody"]}, "notifiers"),
        ({"silenced_until": "tomorrow"}, "silenced_until"),
        ({"silenced_until": 10**20}, "silenced_until"),
        ({"treshold": 1}, "treshold"),
    ],
)
def test_what_is_wrong_with_a_rule_is_told_by_field(admin: Client, change: dict[str, Any], field: str) -> None:
    answer = send(admin, "POST", RULES, NEW | change)
    check(answer, 400, Code.BAD_REQUEST)
    error = answer.json()["error"]
    assert list(error["details"]["fields"]) == [field]
    assert error["message"] == f"{field}: {error['details']['fields'][field][0]}"
    assert all(text.endswith(".") for text in error["details"]["fields"][field])


@pytest.mark.parametrize("body", [[], "x", 1, None])
def test_a_body_that_is_no_object_is_refused(admin: Client, body: Any) -> None:
    check(admin.post(RULES, _json(body), content_type="application/json"), 400, Code.BAD_REQUEST)


def test_a_body_that_is_nested_too_deeply_is_refused(admin: Client) -> None:
    check(admin.post(RULES, b'{"name":' * 100_000, content_type="application/json"), 400, Code.BAD_REQUEST)


@pytest.mark.parametrize("path", [RULES, NOTIFIERS])
def test_what_does_not_exist_is_not_found(admin: Client, path: str) -> None:
    assert [send(admin, method, f"{path}999/", {}).status_code for method in ("GET", "PATCH", "DELETE")] == [404] * 3


# notifiers


def test_an_address_is_never_read_again(admin: Client) -> None:
    made = send(admin, "POST", NOTIFIERS, HOOK)
    pk = made.json()["id"]
    answers = [
        made, admin.get(NOTIFIERS), admin.get(f"{NOTIFIERS}{pk}/"), send(admin, "PATCH", f"{NOTIFIERS}{pk}/", {"enabled": False}),
    ]  # fmt: skip
    assert made.json() == {"id": pk, "name": "ops", "address": "json://••••••", "enabled": True}
    assert not any(b"s3cr3tt0ken" in answer.content for answer in answers)


@pytest.mark.parametrize("url", ["", "nothing://s3cr3tt0ken", "s3cr3tt0ken", "json://"])
def test_an_address_that_apprise_does_not_know_is_refused_without_being_repeated(admin: Client, url: str) -> None:
    answer = send(admin, "POST", NOTIFIERS, HOOK | {"url": url})
    check(answer, 400, Code.BAD_REQUEST)
    assert list(answer.json()["error"]["details"]["fields"]) == ["url"]
    assert b"s3cr3tt0ken" not in answer.content


def test_the_audit_log_has_changes_and_tests_without_the_address(admin: Client, hook: Webhook) -> None:
    pk = send(admin, "POST", NOTIFIERS, HOOK).json()["id"]
    send(admin, "PATCH", f"{NOTIFIERS}{pk}/", {"url": hook.url})
    send(admin, "POST", f"{NOTIFIERS}{pk}/test/")
    rule = send(admin, "POST", RULES, NEW).json()["id"]
    send(admin, "PATCH", f"{RULES}{rule}/", {"notifiers": ["ops"], "threshold": 5})
    entries = list(JournalEntry.objects.filter(kind__in=["notifier", "alert rule"]).order_by("pk"))
    said = [(entry.action, entry.kind, entry.name, entry.who) for entry in entries]
    assert said == [
        ("add", "notifier", "ops", "admin"), ("change", "notifier", "ops", "admin"), ("test", "notifier", "ops", "admin"),
        ("add", "alert rule", "crowded", "admin"), ("change", "alert rule", "crowded", "admin"),
        ("change", "alert rule", "crowded", "admin"),
    ]  # fmt: skip
    assert not any("s3cr3tt0ken" in str((entry.before, entry.after)) for entry in entries)


def test_a_test_message_arrives_and_is_in_the_log(admin: Client, rows: Any, hook: Webhook) -> None:
    Notifier.objects.update(url=hook.url)
    assert send(admin, "POST", f"{NOTIFIERS}{rows[1].pk}/test/").json() == {"ok": True, "error": ""}
    assert hook.titles == ["[test] Tickwire"]
    assert [(row.event, row.state, len(row.attempts)) for row in Delivery.objects.all()] == [("test", "sent", 1)]


def test_a_test_message_that_fails_says_why_without_the_address(admin: Client, rows: Any, hook: Webhook) -> None:
    Notifier.objects.update(url=hook.url)
    hook.status = 500
    answer = send(admin, "POST", f"{NOTIFIERS}{rows[1].pk}/test/")
    assert answer.json()["ok"] is False
    assert "500" in answer.json()["error"]
    assert b"s3cr3tt0ken" not in answer.content


# alerts


def test_alerts_are_shown_with_their_history_and_who_was_told(admin: Client, rows: Any) -> None:
    now = timezone.now()
    alert = Alert.objects.create(
        rule=rows[0], name="memory", severity="warning", state="firing", since=now, began_at=now, value=3.0, labels={"feed": "x"},
        history=[{"state": "firing", "at": now.isoformat(), "value": 3.0}],
    )  # fmt: skip
    attempt = {"at": now.isoformat(), "took_ms": 5, "error": "no"}
    Delivery.objects.create(alert=alert, notifier=rows[1], name="ops", event="firing", title="", body="", attempts=[attempt])
    (shown,) = admin.get(ALERTS).json()["alerts"]
    at = int(now.timestamp() * 1e6)
    assert abs(shown["since"] - at) <= 1
    assert (shown["rule"], shown["state"], shown["labels"], shown["runbook"]) == (
        "memory", "firing", {"feed": "x"}, "docs/operations/runbooks/memory.md",
    )  # fmt: skip
    assert [change["state"] for change in shown["history"]] == ["firing"]
    assert [(told["notifier"], told["event"], told["attempts"][0]["error"]) for told in shown["told"]] == [
        ("ops", "firing", "no")
    ]


def test_alerts_are_chosen_by_state_severity_and_rule(admin: Client) -> None:
    now = timezone.now()
    for name, state, severity in (("a", "firing", "critical"), ("b", "resolved", "warning")):
        Alert.objects.create(name=name, severity=severity, state=state, since=now, began_at=now, resolved_at=now)
    chosen = {
        query: [alert["rule"] for alert in admin.get(f"{ALERTS}?{query}").json()["alerts"]]
        for query in ("", "state=firing", "severity=warning", "rule=a", "limit=1", "state=pending")
    }
    assert chosen == {
        "": ["b", "a"], "state=firing": ["a"], "severity=warning": ["b"], "rule=a": ["a"], "limit=1": ["b"], "state=pending": [],
    }  # fmt: skip


@pytest.mark.parametrize("query", ["state=odd", "rule=%00", "limit=0", "limit=x", "sort=name"])
def test_a_question_that_makes_no_sense_is_refused(admin: Client, query: str) -> None:
    check(admin.get(f"{ALERTS}?{query}"), 400, Code.BAD_REQUEST)
