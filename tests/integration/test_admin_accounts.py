"""Accounts in the admin: overrides by field, and what comes of them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from realtime.admin.effective import limit, shown
from realtime.limits import Limits
from realtime.models import Account, Plan, overridable
from tests.integration.admin_parts import complaints, superuser
from tests.integration.admin_parts import shown as text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return superuser()


@pytest.fixture
def account() -> Account:
    return Account.objects.create(user=User.objects.create_user("ada"), plan=Plan.objects.get(name="free"))


def save(operator: Client, account: Account, **fields: Any) -> Any:
    whole = {"user": account.user_id, "plan": account.plan_id} | fields
    return operator.post(f"/admin/realtime/account/{account.pk}/change/", whole)


@pytest.mark.parametrize(
    ("fields", "overrides"),
    [
        ({}, {}),
        ({"own_topics_per_connection": "7"}, {"topics_per_connection": 7}),
        ({"own_priority": "0", "own_delay_seconds": "0"}, {"priority": 0, "delay_seconds": 0}),
        ({"own_max_rate": "2.5"}, {"max_rate": 2.5}),
        ({"without_max_rate": "on", "without_bytes_per_second": "on"}, {"max_rate": None, "bytes_per_second": None}),
        ({"without_symbols": "on", "without_dry_run": "on"}, {"symbols": [], "dry_run": []}),
        ({"own_symbols": "aapl, *-USDT"}, {"symbols": ["AAPL", "*-USDT"]}),
        ({"own_data_types": ["quote", "trade"]}, {"data_types": ["quote", "trade"]}),
        ({"own_connection_policy": "take_over"}, {"connection_policy": "take_over"}),
        ({"own_dry_run": ["topics"]}, {"dry_run": ["topics"]}),
    ],
)
def test_what_is_given_is_different_and_what_is_empty_is_as_planned(
    operator: Client, account: Account, fields: dict[str, Any], overrides: dict[str, Any]
) -> None:
    assert save(operator, account, **fields).status_code == 302
    account.refresh_from_db()
    assert account.overrides == overrides


def test_emptying_a_field_takes_the_override_away(operator: Client, account: Account) -> None:
    Account.objects.update(overrides={"topics_per_connection": 7, "max_rate": None})
    save(operator, account, without_max_rate="on")
    account.refresh_from_db()
    assert account.overrides == {"max_rate": None}


def test_the_form_begins_with_what_is_stored(operator: Client, account: Account) -> None:
    Account.objects.update(overrides={"topics_per_connection": 7, "max_rate": None, "symbols": ["AAPL"]})
    form = operator.get(f"/admin/realtime/account/{account.pk}/change/").context["adminform"].form
    assert form["own_topics_per_connection"].value() == 7
    assert form["without_max_rate"].value() is True
    assert form["own_symbols"].value() == "AAPL"
    assert form["own_priority"].value() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("topics_per_connection", "0"), ("topics_per_connection", "-3"), ("connections_per_user", "many"), ("max_rate", "0"),
     ("delay_seconds", "86401"), ("data_types", ["rumour"]), ("symbols", "/"), ("dry_run", ["rumour"]),
     ("connection_policy", "perhaps"), ("bytes_per_second", "10"), ("priority", "-1")],
)  # fmt: skip
def test_an_override_that_makes_no_sense_is_refused_at_its_field(
    operator: Client, account: Account, name: str, value: Any
) -> None:
    assert list(complaints(save(operator, account, **{f"own_{name}": value}))) == [f"own_{name}"]
    account.refresh_from_db()
    assert account.overrides == {}


def test_a_value_and_none_at_once_are_refused(operator: Client, account: Account) -> None:
    answer = save(operator, account, own_max_rate="3", without_max_rate="on")
    assert "not both" in str(complaints(answer)["own_max_rate"])


def test_the_form_says_what_the_plan_says(operator: Client, account: Account) -> None:
    form = operator.get(f"/admin/realtime/account/{account.pk}/change/").context["adminform"].form
    assert form.fields["own_topics_per_connection"].help_text == "Plan: 50."
    assert form.fields["own_max_session_hours"].help_text == "Plan: no end."


def test_an_account_is_made_with_overrides_at_once(operator: Client) -> None:
    user = User.objects.create_user("bob")
    fields = {"user": user.pk, "plan": Plan.objects.get(name="pro").pk, "own_priority": "3"}
    assert operator.post("/admin/realtime/account/add/", fields).status_code == 302
    assert user.account.overrides == {"priority": 3}


def test_effective_limits_are_shown_beside_those_of_the_plan(operator: Client, account: Account) -> None:
    Account.objects.update(overrides={"topics_per_connection": 7})
    for page in (f"realtime/account/{account.pk}", f"auth/user/{account.user_id}"):
        assert "Topics per connection 50 7 7" in text_of(operator.get(f"/admin/{page}/change/"))
        assert "Connections per user 2 – 2" in text_of(operator.get(f"/admin/{page}/change/"))


def test_every_field_that_can_be_different_has_an_effective_limit() -> None:
    limits = Limits.of(Plan(name="any"))
    assert all(shown(field.name, limit(limits, field.name)) for field in overridable())


def test_a_user_without_an_account_has_the_default_plan(operator: Client) -> None:
    user = User.objects.create_user("bob")
    page = operator.get(f"/admin/auth/user/{user.pk}/change/")
    assert "Topics per connection 50 – 50" in text_of(page)
    assert f"/admin/realtime/account/add/?user={user.pk}" in page.content.decode()
