"""Plans in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from realtime.models import Account, Plan
from tests.integration.admin_parts import ACTION, complaints, shown, superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return superuser()


def test_plans_are_shown_with_all_they_allow(operator: Client) -> None:
    text = shown(operator.get("/admin/realtime/plan/"))
    assert "quote, ticker, kline, trade" in text
    assert all(name in text for name in ("anonymous", "free", "pro", "dashboard"))


def plan_fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "free", "enabled": "on", "topics_per_connection": 60, "connections_per_user": 2, "max_rate": "",
        "commands_per_second": 10, "command_burst": 40, "data_types": ["quote", "trade"], "priority": 5,
        "requests_per_second": 30, "request_burst": 90, "connection_policy": "reject", "delay_seconds": 0,
        "symbols": "aapl, *-USDT", "dry_run": ["topics"],
    } | changes  # fmt: skip


def test_a_plan_is_edited(operator: Client) -> None:
    free = Plan.objects.get(name="free")
    assert operator.post(f"/admin/realtime/plan/{free.pk}/change/", plan_fields()).status_code == 302
    free.refresh_from_db()
    assert (free.topics_per_connection, free.max_rate, free.data_types) == (60, None, ["quote", "trade"])
    assert (free.symbols, free.dry_run) == (["AAPL", "*-USDT"], ["topics"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("data_types", []), ("data_types", ["rumour"]), ("command_burst", 0), ("max_rate", 0), ("requests_per_second", 0),
     ("symbols", "/"), ("dry_run", ["rumour"]), ("delay_seconds", -1), ("connections_per_user", 0), ("max_rate", "nan"),
     ("topics_per_connection", 0), ("topics_per_connection", "many"), ("max_session_hours", -1), ("bytes_per_second", 10)],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_refused(operator: Client, field: str, value: Any) -> None:
    free = Plan.objects.get(name="free")
    assert field in complaints(operator.post(f"/admin/realtime/plan/{free.pk}/change/", plan_fields(**{field: value})))


def test_a_plan_in_use_is_not_deleted(operator: Client) -> None:
    free = Plan.objects.get(name="free")
    Account.objects.create(user=User.objects.create_user("ada"), plan=free)
    operator.post(f"/admin/realtime/plan/{free.pk}/delete/", {"post": "yes"})
    assert Plan.objects.filter(name="free").exists()


def test_the_plan_of_all_to_whom_none_was_given_is_neither_renamed_nor_deleted(operator: Client) -> None:
    free = Plan.objects.get(name="free")
    assert "name" in complaints(operator.post(f"/admin/realtime/plan/{free.pk}/change/", plan_fields(name="basic")))
    assert operator.post(f"/admin/realtime/plan/{free.pk}/delete/", {"post": "yes"}).status_code == 403
    operator.post("/admin/realtime/plan/", {"action": "delete_selected", ACTION: [free.pk], "post": "yes"})
    assert Plan.objects.filter(name="free").exists()


def test_another_plan_is_renamed(operator: Client) -> None:
    pro = Plan.objects.get(name="pro")
    assert operator.post(f"/admin/realtime/plan/{pro.pk}/change/", plan_fields(name="gold")).status_code == 302
    assert Plan.objects.filter(name="gold").exists()


def test_the_list_of_plans_counts_accounts_and_overrides(operator: Client) -> None:
    pro = Plan.objects.get(name="pro")
    for name, overrides in (("ada", {}), ("bob", {"priority": 3}), ("eve", {})):
        Account.objects.create(user=User.objects.create_user(name), plan=pro, overrides=overrides)
    row = operator.get("/admin/realtime/plan/?name=pro").context["cl"].result_list[0]
    assert (row.users, row.overriding) == (3, 1)


def test_the_form_says_its_units(operator: Client) -> None:
    text = shown(operator.get("/admin/realtime/plan/add/"))
    assert "Delay (seconds)" in text
    assert "Longest session (hours)" in text
