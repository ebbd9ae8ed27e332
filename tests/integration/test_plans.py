"""Plans: the first ones, and how a row becomes limits."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.core.exceptions import ValidationError

from marketdata.topics import DataType
from realtime.limits import Limits, forget_plans, load_first_plans, named
from realtime.models import Account, Plan

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_plans()


def test_a_migrated_database_has_the_plans_of_the_protocol() -> None:
    everything = frozenset(DataType)
    basic = everything - {DataType.DEPTH}
    assert named("anonymous") == Limits(10, 5, 2.0, 5.0, 20, basic, 0, 10.0, 40)
    assert named("free") == Limits(50, 2, 5.0, 10.0, 40, everything, 10, 20.0, 80)
    assert named("pro") == Limits(2000, 10, None, 50.0, 200, everything, 20, 100.0, 400)
    assert named("dashboard") == Limits(200, 20, 10.0, 20.0, 80, everything, 10, 40.0, 160)


def test_a_plan_that_the_operator_removed_stays_away() -> None:
    Plan.objects.filter(name="anonymous").delete()
    load_first_plans(apps)
    assert named("anonymous") is None


def test_an_empty_table_gets_the_first_plans_again() -> None:
    Plan.objects.all().delete()
    load_first_plans(apps)
    assert Plan.objects.count() == 4


def test_a_disabled_plan_is_not_found() -> None:
    Plan.objects.filter(name="free").update(enabled=False)
    assert named("free") is None


def test_plans_are_asked_for_once_in_two_seconds(django_assert_num_queries) -> None:
    with django_assert_num_queries(1):
        named("free")
        named("pro")
        named("nothing of the kind")


@pytest.mark.parametrize("types", [[], "quote", ["quote", "rumour"], None])
def test_data_types_must_be_known_ones(types: object) -> None:
    plan = Plan(name="x", data_types=types)
    with pytest.raises(ValidationError) as refused:
        plan.full_clean()
    assert list(refused.value.message_dict) == ["data_types"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("symbols", ["aapl"]), ("symbols", "AAPL"), ("symbols", [""]), ("delay_seconds", -1), ("delay_seconds", 90_000),
        ("max_session_hours", 0), ("bytes_per_second", 10), ("dry_run", ["rumours"]), ("connections_per_user", 0),
        ("topics_per_connection", 0), ("max_rate", -1),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused_by_its_field(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Plan(name="x", **{field: value}).full_clean()
    assert list(refused.value.message_dict) == [field]


@pytest.mark.parametrize(
    "overrides",
    [
        [], {"name": "x"}, {"enabled": False}, {"rumours": 1}, {"topics_per_connection": 0}, {"topics_per_connection": "7"},
        {"topics_per_connection": True}, {"topics_per_connection": None}, {"symbols": "AAPL"}, {"connection_policy": "fight"},
    ],
)  # fmt: skip
def test_overrides_are_fields_of_a_plan_with_values_that_it_would_take(overrides: object, django_user_model) -> None:
    account = Account(user=django_user_model.objects.create(username="ada"), plan=Plan.objects.first(), overrides=overrides)
    with pytest.raises(ValidationError):
        account.full_clean()


def test_overrides_that_make_sense_are_taken(django_user_model) -> None:
    fields = {
        "topics_per_connection": 7,
        "max_rate": None,
        "commands_per_second": 2,
        "symbols": ["AAPL"],
        "bytes_per_second": None,
    }
    account = Account(user=django_user_model.objects.create(username="ada"), plan=Plan.objects.first(), overrides=fields)
    account.full_clean()
