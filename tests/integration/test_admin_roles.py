"""Roles: who sees and does what on every page of the admin."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from marketdata.journal import note
from marketdata.models import Feed, Instrument, JournalEntry, Kline
from realtime.keys import create_key
from realtime.models import Account, ApiKey, Plan, Usage
from realtime.roles import load_roles, note_permissions, permissions_of
from tests.integration.admin_parts import ACTION, member, shown

pytestmark = pytest.mark.django_db

NUMBERS = dict.fromkeys(("open", "high", "low", "close", "volume", "turnover"), "10")
MAY: dict[str, dict[str, str]] = {  # beyond viewing, by page: add, change, delete
    "marketdata/instrument": {"viewer": "", "operator": "acd", "admin": "acd"},
    "marketdata/feed": {"viewer": "", "operator": "acd", "admin": "acd"},
    "marketdata/kline": {"viewer": "", "operator": "", "admin": ""},
    "marketdata/journalentry": {"viewer": "", "operator": "", "admin": ""},
    "realtime/plan": {"viewer": "", "operator": "", "admin": "acd"},
    "realtime/account": {"viewer": "", "operator": "ac", "admin": "acd"},
    "realtime/apikey": {"viewer": "", "operator": "c", "admin": "acd"},
    "realtime/usage": {"viewer": "", "operator": "", "admin": ""},
    "auth/user": {"viewer": "", "operator": "", "admin": "acd"},
    "auth/group": {"viewer": "", "operator": "", "admin": "acd"},
}
ROLES = ("viewer", "operator", "admin")


@pytest.fixture
def rows() -> dict[str, Any]:
    """A row for every page."""
    ada = User.objects.create_user("ada", password="correct horse")
    note("disconnect", "connection", "5f2c81d0")
    return {
        "marketdata/instrument": Instrument.objects.create(symbol="AAPL", kind="stock"),
        "marketdata/feed": Feed.objects.create(name="main", kind="demo"),
        "marketdata/kline": Kline.objects.create(symbol="AAPL", interval="1m", open_time=0, trades=1, ts=1, **NUMBERS),
        "marketdata/journalentry": JournalEntry.objects.all()[0],
        "realtime/plan": Plan.objects.get(name="pro"),
        "realtime/account": Account.objects.create(user=ada, plan=Plan.objects.get(name="free")),
        "realtime/apikey": create_key(ada)[0],
        "realtime/usage": Usage.objects.create(user=ada, day=date(2026, 11, 28)),
        "auth/user": ada,
        "auth/group": Group.objects.create(name="others"),
    }


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("page", MAY)
def test_every_role_sees_every_page(rows: dict[str, Any], role: str, page: str) -> None:
    client = member(role)
    assert client.get(f"/admin/{page}/").status_code == 200
    assert client.get(f"/admin/{page}/{rows[page].pk}/change/").status_code == 200


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("page", MAY)
def test_a_role_adds_changes_and_deletes_what_is_its_own(rows: dict[str, Any], role: str, page: str) -> None:
    client, row = member(role), f"/admin/{page}/{rows[page].pk}"
    answers = {
        "a": client.get(f"/admin/{page}/add/"),
        "c": client.post(f"{row}/change/", {}),
        "d": client.post(f"{row}/delete/", {"post": "yes"}),
    }
    assert "".join(what for what, answer in answers.items() if answer.status_code != 403) == MAY[page][role]


@pytest.mark.parametrize("role", ROLES)
def test_the_actions_of_lists_are_offered_to_who_may_use_them(rows: dict[str, Any], role: str) -> None:
    client = member(role)
    offered = {page: {name for name, _ in _choices(client, page)} for page in MAY}
    assert ({"activate", "deactivate"} <= offered["marketdata/instrument"]) == (role != "viewer")
    assert ("revoke" in offered["realtime/apikey"]) == (role != "viewer")
    assert all(("delete_selected" in offered[page]) == ("d" in MAY[page][role]) for page in MAY)


def _choices(client: Client, page: str) -> list[tuple[str, str]]:
    form = client.get(f"/admin/{page}/").context["action_form"]
    return [choice for choice in form.fields["action"].choices if choice[0]] if form else []


def test_a_viewer_who_asks_for_an_action_anyway_changes_nothing(rows: dict[str, Any]) -> None:
    client = member("viewer")
    client.post("/admin/marketdata/instrument/", {"action": "deactivate", ACTION: [rows["marketdata/instrument"].pk]})
    client.post("/admin/realtime/apikey/", {"action": "revoke", ACTION: [rows["realtime/apikey"].pk]})
    client.post("/admin/marketdata/feed/", {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": 1, "_save": "Save"})
    assert Instrument.objects.get().active
    assert Feed.objects.get().enabled
    assert ApiKey.objects.get().revoked_at is None


def test_an_operator_revokes_a_key(rows: dict[str, Any]) -> None:
    member("operator").post("/admin/realtime/apikey/", {"action": "revoke", ACTION: [rows["realtime/apikey"].pk]})
    assert ApiKey.objects.get().revoked_at is not None


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_who_may_only_look_at_a_user_does_not_see_the_password(rows: dict[str, Any], role: str) -> None:
    page = member(role).get(f"/admin/auth/user/{rows['auth/user'].pk}/change/")
    salt, digest = rows["auth/user"].password.split("$")[2:]
    assert "effective limits" in shown(page).lower()
    assert salt not in page.content.decode()
    assert digest not in page.content.decode()


def test_staff_without_a_role_sees_nothing(rows: dict[str, Any]) -> None:
    client = Client()
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert [page for page in MAY if client.get(f"/admin/{page}/").status_code != 403] == []
    assert "Latest changes" not in shown(client.get("/admin/"))


@pytest.mark.parametrize("page", ["", *MAY])
def test_who_is_not_staff_does_not_get_in(page: str) -> None:
    client = Client()
    client.force_login(User.objects.create_user("ada"))
    assert client.get(f"/admin/{page}/".replace("//", "/")).status_code == 302


# the groups


def test_a_group_that_was_changed_stays_as_it_is() -> None:
    viewer = Group.objects.get(name="viewer")
    viewer.permissions.set(Permission.objects.filter(codename="view_plan"))
    load_roles(apps)
    assert [one.codename for one in viewer.permissions.all()] == ["view_plan"]


def test_what_a_migration_brings_is_given_to_groups_that_exist() -> None:
    viewer, kind = Group.objects.get(name="viewer"), ContentType.objects.get_for_model(Plan)
    viewer.permissions.clear()
    note_permissions("default")
    Permission.objects.create(codename="view_rumour", name="Can view rumour", content_type=kind)
    load_roles(apps)
    assert [one.codename for one in viewer.permissions.all()] == ["view_rumour"]


def test_a_group_that_is_missing_is_made() -> None:
    Group.objects.filter(name="operator").delete()
    load_roles(apps)
    assert Group.objects.get(name="operator").permissions.filter(codename="change_feed").exists()


def test_roles_contain_each_other() -> None:
    viewer, operator, admin = (set(Permission.objects.filter(which)) for which in permissions_of().values())
    assert viewer < operator < admin
    assert {one.codename.partition("_")[0] for one in viewer} == {"view"}
