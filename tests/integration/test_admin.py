"""What holds for every page of the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from marketdata.journal import note
from marketdata.models import Feed, Instrument, JournalEntry
from realtime.keys import create_key
from realtime.models import Account, Plan
from tests.integration.admin_parts import shown, superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return superuser()


LISTS = (
    "marketdata/instrument", "marketdata/feed", "marketdata/kline", "marketdata/journalentry",
    "realtime/plan", "realtime/account", "realtime/apikey", "auth/user", "auth/group",
)  # fmt: skip
INLINE = re.compile(r"<style|\bstyle=|\bon\w+=\"|<script(?![^>]*(?:\bsrc=|application/json|text/html))")


def rows() -> dict[str, Any]:
    """A row for every list but that of bars."""
    ada = User.objects.create_user("ada")
    note("disconnect", "connection", "5f2c81d0", before={"user": "ada"})
    return {
        "marketdata/instrument": Instrument.objects.create(symbol="AAPL", kind="stock"),
        "marketdata/feed": Feed.objects.create(name="main", kind="demo"),
        "marketdata/journalentry": JournalEntry.objects.all()[0],
        "realtime/plan": Plan.objects.get(name="free"),
        "realtime/account": Account.objects.create(user=ada, plan=Plan.objects.get(name="free")),
        "realtime/apikey": create_key(ada)[0],
        "auth/user": ada,
        "auth/group": Group.objects.get(name="viewer"),
    }


def test_the_admin_is_tickwires(operator: Client) -> None:
    assert "Tickwire" in shown(operator.get("/admin/"))


def test_the_first_page_leads_to_the_other_pages(operator: Client) -> None:
    page = operator.get("/admin/").content.decode()
    assert all(f'href="{address}"' in page for address in ("/", "/chart/", "/api/docs/", "/admin/marketdata/journalentry/"))


@pytest.mark.parametrize("page", LISTS)
def test_every_list_opens_and_can_be_searched(operator: Client, page: str) -> None:
    assert operator.get(f"/admin/{page}/").status_code == 200
    assert operator.get(f"/admin/{page}/?q=AAPL").status_code == 200


def test_no_page_has_a_script_or_a_style_within(operator: Client) -> None:
    pages = ["/admin/", *(f"/admin/{page}/" for page in LISTS)]
    for page, row in rows().items():
        pages += [f"/admin/{page}/{row.pk}/change/", *([] if "journal" in page else [f"/admin/{page}/add/"])]
    found = {page: INLINE.findall(operator.get(page).content.decode()) for page in pages}
    assert {page: what for page, what in found.items() if what} == {}


def test_the_history_of_a_row_is_in_the_audit_log(operator: Client) -> None:
    for page, row in rows().items():
        if "journal" not in page:
            answer = operator.get(f"/admin/{page}/{row.pk}/history/", follow=True)
            assert (
                answer.context["cl"].result_count == JournalEntry.objects.filter(kind=row._meta.verbose_name, key=row.pk).count()
            )


def test_lists_cost_a_bounded_number_of_queries(operator: Client, django_assert_max_num_queries: Any) -> None:
    for n in range(30):
        user = User.objects.create_user(f"user{n}")
        Account.objects.create(user=user, plan=Plan.objects.get(name="free"))
        create_key(user)
    for page in ("realtime/plan", "realtime/account", "realtime/apikey"):
        with django_assert_max_num_queries(12):
            operator.get(f"/admin/{page}/")
