"""The audit log: who, what, before, after, whichever way it was done."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketdata.feeds import Listing
from marketdata.instruments import list_instruments
from marketdata.journal import COMMAND_LINE, HIDDEN, forget, note
from marketdata.models import Feed, Instrument, JournalEntry
from marketdata.tasks import shorten_journal
from realtime.keys import create_key, find_key, revoke
from realtime.models import Account, ApiKey, Plan
from realtime.rights import PUBLISH, grant
from tests.integration.admin_parts import ACTION, superuser

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_noted(db: None) -> None:
    """The roles of the staff are made anew behind tests that empty the database, and that is noted."""
    JournalEntry.objects.all().delete()


@pytest.fixture
def ada() -> User:
    user = User.objects.create_user("ada", password="correct horse")
    JournalEntry.objects.all().delete()
    return user


def entries(**which: Any) -> list[tuple[str, str, Any, Any]]:
    """(action, name, before, after), oldest first."""
    return [(row.action, row.name, row.before, row.after) for row in JournalEntry.objects.filter(**which).order_by("pk")]


def test_a_change_is_noted_with_what_was_before_and_is_after(ada: User) -> None:
    free = Plan.objects.get(name="free")
    free.topics_per_connection, free.symbols = 7, ["AAPL"]
    free.save()
    before, after = {"topics_per_connection": 50, "symbols": []}, {"topics_per_connection": 7, "symbols": ["AAPL"]}
    assert entries() == [("change", "free", before, after)]


def test_saving_without_a_change_notes_nothing(ada: User) -> None:
    Plan.objects.get(name="free").save()
    assert entries() == []


def test_what_is_added_and_deleted_is_noted_whole(ada: User) -> None:
    row = Account.objects.create(user=ada, plan=Plan.objects.get(name="free"), overrides={"priority": 3})
    row.delete()
    whole = {"user": "ada", "plan": "free", "overrides": {"priority": 3}}
    assert entries() == [("add", "ada on free", None, whole), ("delete", "ada on free", whole, None)]


def test_what_vanishes_with_a_user_is_noted_too(ada: User) -> None:
    Account.objects.create(user=ada, plan=Plan.objects.get(name="free"))
    create_key(ada)
    JournalEntry.objects.all().delete()
    ada.delete()
    assert {(row.action, row.kind) for row in JournalEntry.objects.all()} == {
        ("delete", "account"), ("delete", "API key"), ("delete", "user"),
    }  # fmt: skip


def test_secrets_stay_out(ada: User) -> None:
    ada.set_password("battery staple")
    ada.save()
    row, _ = create_key(ada)
    assert entries(kind="user") == [("change", "ada", {"password": HIDDEN}, {"password": HIDDEN})]
    assert row.hash not in str(entries(kind="API key"))


def test_what_the_server_writes_by_itself_is_not_noted_and_costs_nothing(ada: User) -> None:
    _, key = create_key(ada)
    JournalEntry.objects.all().delete()
    find_key(key)  # notes its last use
    list_instruments([Listing("AAPL", "Apple", "stock", "XNAS", "USD", 2, 0)])
    Feed.objects.bulk_create([Feed(name="demo", kind="demo")])
    with CaptureQueriesContext(connection) as queries:
        ada.save(update_fields=["last_login"])
    assert entries() == []
    assert [query["sql"].split()[0] for query in queries if "SAVEPOINT" not in query["sql"]] == ["UPDATE"]


def test_membership_of_a_group_is_noted(ada: User) -> None:
    ada.groups.add(Group.objects.get(name="viewer"))
    ada.groups.clear()
    assert entries() == [
        ("change", "ada", {"groups": []}, {"groups": ["viewer"]}),
        ("change", "ada", {"groups": ["viewer"]}, {"groups": []}),
    ]


def test_membership_is_noted_from_the_groups_side(ada: User) -> None:
    Group.objects.get(name="viewer").user_set.add(ada)
    assert entries() == [("change", "viewer", {"user_set": []}, {"user_set": ["ada"]})]


def test_permissions_are_noted(ada: User) -> None:
    grant(ada, PUBLISH)
    ((_, _, before, after),) = entries()
    assert before == {"user_permissions": []}
    assert "publish" in after["user_permissions"][0]


def test_a_revoked_key_is_noted_once(ada: User) -> None:
    row, _ = create_key(ada)
    JournalEntry.objects.all().delete()
    assert (revoke(ApiKey.objects.all()), revoke(ApiKey.objects.all())) == (1, 0)
    ((action, name, before, after),) = entries()
    assert (action, before) == ("revoke", {"revoked_at": None})
    assert row.prefix in name
    assert after["revoked_at"].startswith("20")


def test_instruments_changed_together_are_noted_one_by_one(ada: User) -> None:
    rows = [Instrument.objects.create(symbol=symbol, kind="stock", active=symbol != "IBM") for symbol in ("AAPL", "MSFT", "IBM")]
    JournalEntry.objects.all().delete()
    superuser().post("/admin/marketdata/instrument/", {"action": "deactivate", ACTION: [row.pk for row in rows], "index": 0})
    assert sorted(entries(kind="instrument")) == [
        ("deactivate", symbol, {"active": True}, {"active": False}) for symbol in ("AAPL", "MSFT")
    ]


def test_rows_deleted_together_are_noted_one_by_one(ada: User) -> None:
    rows = [Feed.objects.create(name=name, kind="demo") for name in ("one", "two")]
    fields = {"action": "delete_selected", ACTION: [row.pk for row in rows], "post": "yes"}
    superuser().post("/admin/marketdata/feed/", fields)
    assert sorted(row.name for row in JournalEntry.objects.filter(action="delete")) == ["one", "two"]


def test_the_command_line_is_named_as_such(ada: User) -> None:
    call_command("issue_key", "ada", "--plan", "pro", "--publish", "--staff", stdout=StringIO(), stderr=StringIO())
    rows = JournalEntry.objects.all()
    assert {(row.who, row.user_id, row.address) for row in rows} == {(COMMAND_LINE, None, "")}
    assert {(row.action, row.kind) for row in rows} == {("add", "account"), ("change", "user"), ("add", "API key")}


def test_a_change_in_the_admin_has_its_user_address_and_request(ada: User) -> None:
    client = superuser("root")
    fields = {"symbol": "AAPL", "kind": "stock", "currency": "USD", "price_decimals": 2, "size_decimals": 0, "session": "always"}
    client.post("/admin/marketdata/instrument/add/", fields, headers={"X-Request-ID": "request-7"}, REMOTE_ADDR="192.0.2.7")
    row = JournalEntry.objects.get(kind="instrument")
    assert (row.who, row.address, row.correlation) == ("root", "192.0.2.7", "request-7")
    assert row.user_id == User.objects.get(username="root").pk


def test_a_change_over_rest_has_the_user_of_its_key(ada: User) -> None:
    row, key = create_key(ada)
    JournalEntry.objects.all().delete()
    answer = Client().delete(f"/api/v1/keys/{row.prefix}/", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 204
    entry = JournalEntry.objects.get()
    assert (entry.who, entry.user_id, entry.action) == ("ada", ada.pk, "revoke")


def test_who_acted_is_known_when_that_user_is_gone(ada: User) -> None:
    client = superuser("root")
    client.post("/admin/auth/group/add/", {"name": "auditors"})
    User.objects.get(username="root").delete()
    assert JournalEntry.objects.get(kind="group").who == "root"


def test_after_a_request_nobody_acts(ada: User) -> None:
    superuser("root").get("/admin/")
    note("drain", "node", "one")
    assert JournalEntry.objects.get(kind="node").who == COMMAND_LINE


def test_an_action_without_a_row_is_noted(ada: User) -> None:
    note("disconnect", "connection", "5f2c81d0", before={"user": "ada", "topics": 7})
    assert entries() == [("disconnect", "5f2c81d0", {"user": "ada", "topics": 7}, None)]


def test_a_change_that_is_undone_was_never_noted(ada: User) -> None:
    with transaction.atomic():
        Feed.objects.create(name="one", kind="demo")
        transaction.set_rollback(True)
    assert entries() == []


def _old(days: int) -> None:
    note("ban", "address", f"{days} days old")
    JournalEntry.objects.filter(name=f"{days} days old").update(at=timezone.now() - timedelta(days=days))


def _keep(settings: Any, days: int) -> None:
    observing = replace(settings.TICKWIRE.observing, audit_days=days)
    settings.TICKWIRE = replace(settings.TICKWIRE, observing=observing)


@pytest.mark.parametrize(("days", "left"), [(0, [500, 300, 1]), (400, [300, 1]), (30, [1])])
def test_old_entries_go_where_a_setting_says_so(settings: Any, days: int, left: list[int]) -> None:
    _keep(settings, days)
    for age in (500, 300, 1):
        _old(age)
    shorten_journal()
    assert [name for _, name, _, _ in entries()] == [f"{age} days old" for age in left]


def test_so_many_old_entries_go_at_once_and_the_oldest_first() -> None:
    for age in (500, 499, 498):
        _old(age)
    assert [forget(timezone.now(), most=2), forget(timezone.now(), most=2), forget(timezone.now(), most=2)] == [2, 1, 0]


def test_an_audit_log_that_cannot_be_shortened_now_is_later(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _keep(settings, 400)
    _old(500)
    with monkeypatch.context() as away:
        away.setattr(JournalEntry.objects, "filter", _fail)
        shorten_journal()
    assert JournalEntry.objects.count() == 1
    shorten_journal()
    assert JournalEntry.objects.count() == 0


def _fail(**_: Any) -> None:
    raise DatabaseError("it does not answer")
