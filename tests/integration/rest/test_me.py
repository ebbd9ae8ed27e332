"""What whoever asks is told of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from django.contrib.auth.models import User
from django.test import Client

from realtime.codes import Code
from realtime.commands import describe
from realtime.limits import Limits, forget_plans
from realtime.models import Account, Plan
from tests.integration.rest.test_errors import check

LIMITS = "/api/v1/me/limits/"


def told(client: Client) -> Any:
    return client.get(LIMITS).json()


def test_limits_are_those_of_the_sockets_welcome(client: Client) -> None:
    free = describe(Limits.of(Plan.objects.get(name="free")))
    mine = told(client)
    assert mine["plan"] == "free"
    assert free.items() <= mine["limits"].items()


def test_limits_are_all_that_the_plan_states(client: Client) -> None:
    stated = msgspec.json.encode(Limits.of(Plan.objects.get(name="free")), order="deterministic")
    assert msgspec.json.decode(stated).items() <= told(client)["limits"].items()


def test_a_visitor_has_the_limits_of_the_anonymous_plan(anonymous: Client) -> None:
    mine = told(anonymous)
    assert (mine["plan"], mine["limits"]["topics"], mine["limits"]["request_burst"]) == ("anonymous", 10, 40)


def test_a_visitor_of_the_page_has_those_of_its_plan(anonymous: Client) -> None:
    anonymous.get("/")
    assert (told(anonymous)["plan"], told(anonymous)["limits"]["requests_per_second"]) == ("dashboard", 40)


def test_an_edited_plan_shows(key_client: Callable[..., Client]) -> None:
    client = key_client()
    plan = Plan.objects.create(name="gold", topics_per_connection=7)
    Account.objects.create(user=User.objects.get(), plan=plan)
    assert (told(client)["plan"], told(client)["limits"]["topics"]) == ("gold", 7)


def test_without_an_anonymous_plan_a_visitor_has_no_limits(anonymous: Client) -> None:
    Plan.objects.filter(name="anonymous").update(enabled=False)
    forget_plans()
    check(anonymous.get(LIMITS), 401, Code.UNAUTHORIZED)
