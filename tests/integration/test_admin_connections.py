"""Live connections and bans in the admin, as far as nobody is connected; tests/system/test_admin.py has those who are."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from marketdata.journal import COMMAND_LINE
from marketdata.models import JournalEntry
from realtime import dismissals
from realtime.admin import connections
from realtime.bans import Bans
from realtime.dismissals import ban_address, ban_user
from realtime.models import Ban
from realtime.orders import Orders
from tests.integration.admin_parts import ACTION, complaints, member, shown, superuser

pytestmark = pytest.mark.django_db
PAGE = "/admin/realtime/liveconnection/"


@pytest.fixture(autouse=True)
def orders(redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation of this test alone, in which no process serves."""
    _give(monkeypatch, Orders(redis_url, prefix))


def _give(monkeypatch: pytest.MonkeyPatch, given: Orders) -> None:
    for module in (connections, dismissals):
        monkeypatch.setattr(module, "orders", lambda: given)


@pytest.fixture
def operator() -> Client:
    return superuser()


def ban(operator: Client, **fields: Any) -> Any:
    return operator.post("/admin/realtime/ban/add/", {"user": "", "network": "", "reason": ""} | fields)


def test_the_page_says_how_many_there_are(operator: Client) -> None:
    assert "0 connections." in shown(operator.get(PAGE))


def test_while_redis_is_away_the_page_says_so(operator: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    _give(monkeypatch, Orders(f"unix://{tmp_path}/none.sock", "gone"))
    answer = operator.get(PAGE)
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.content.decode()
    acted = operator.post(PAGE, {"action": "disconnect", "session": ["one"]})
    assert acted.status_code == 302
    assert JournalEntry.objects.filter(action="disconnect").count() == 0


def test_who_has_gone_already_is_told(operator: Client) -> None:
    operator.post(PAGE, {"action": "disconnect", "session": ["one", "two"]})
    assert JournalEntry.objects.filter(action="disconnect").count() == 0
    page = operator.get("/admin/").content.decode()
    assert "0 disconnected" in page
    assert "2 had gone already" in page


@pytest.mark.parametrize("action", ["disconnect", "ban_user", "ban_address"])
def test_an_action_on_no_connection_is_told_to_have_done_nothing(operator: Client, action: str) -> None:
    operator.post(PAGE, {"action": action, "span": "", "reason": ""})
    page = shown(operator.get("/admin/"))
    assert "No connection was chosen, so nothing was done." in page
    assert "Visitors" not in page
    assert "0 disconnected" not in page


def test_an_action_that_does_not_exist_is_refused(operator: Client) -> None:
    operator.post(PAGE, {"action": "behead", "session": ["one"]})
    assert "Choose what to do" in operator.get("/admin/").content.decode()


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("operator", True), ("admin", True)])
def test_connections_are_ended_by_who_may(role: str, may: bool) -> None:
    client = member(role)
    assert client.get(PAGE).status_code == 200
    for action in ("disconnect", "ban_user", "ban_address"):
        assert client.post(PAGE, {"action": action, "session": ["one"]}).status_code == (302 if may else 403)


@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("operator", True), ("admin", True)])
def test_bans_are_made_and_lifted_by_who_may(role: str, may: bool) -> None:
    client, row = member(role), Ban.objects.create(network="192.0.2.7")
    assert client.get(f"/admin/realtime/ban/{row.pk}/change/").status_code == 200
    assert (client.get("/admin/realtime/ban/add/").status_code == 200) == may
    client.post(f"/admin/realtime/ban/{row.pk}/delete/", {"post": "yes"})
    assert Ban.objects.exists() != may


def test_staff_without_a_role_sees_no_connections() -> None:
    client = Client()
    client.force_login(User.objects.create_user("nobody", is_staff=True))
    assert client.get(PAGE).status_code == 403
    assert client.post(PAGE, {"action": "disconnect"}).status_code == 403


@pytest.mark.parametrize("path", ["add/", "one/change/", "one/delete/", "one/history/"])
def test_there_is_no_page_of_one_connection(operator: Client, path: str) -> None:
    assert operator.get(PAGE + path).status_code in (302, 403)


# bans


def test_a_ban_is_made_and_lifted_and_both_are_noted(operator: Client) -> None:
    ada = User.objects.create_user("ada")
    assert ban(operator, user=ada.pk, reason="floods").status_code == 302
    row = Ban.objects.get()
    operator.post("/admin/realtime/ban/", {"action": "delete_selected", ACTION: [row.pk], "post": "yes"})
    noted = JournalEntry.objects.filter(kind="ban").order_by("pk")
    assert [(entry.action, entry.name, entry.who) for entry in noted] == [
        ("add", "ada", "operator"),
        ("delete", "ada", "operator"),
    ]


@pytest.mark.parametrize("fields", [{}, {"network": "here"}, {"network": "192.0.2.7/8"}])
def test_a_ban_of_nobody_is_refused(operator: Client, fields: dict[str, str]) -> None:
    assert complaints(ban(operator, **fields))


def test_a_ban_of_an_address_or_a_user_is_noted() -> None:
    User.objects.create_user("ada")
    ban_address("2001:db8::7", None, "")
    ban_user("ada", 3600, "floods")
    assert {str(row) for row in Ban.objects.all()} == {"2001:db8::/64", "ada"}
    assert {entry.who for entry in JournalEntry.objects.filter(kind="ban")} == {COMMAND_LINE}
    assert Ban.objects.get(user=None).until is None
    assert Ban.objects.exclude(user=None).get().until is not None


def test_who_is_banned_by_an_ipv6_address_cannot_come_from_the_next_one() -> None:
    ban_address("2001:db8::7", None, "")
    bans = Bans()
    bans.refresh_if_older(0.0)
    assert bans.covers("2001:db8::8", None)
    assert not bans.covers("2001:db8:0:1::7", None)
