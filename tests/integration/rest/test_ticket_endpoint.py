"""`POST auth/ticket/`: who gets a ticket, and what it opens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from realtime.auth import Credentials, resolve
from tests.unit.signing import SECRET, hs256

ADDRESS = "/api/v1/auth/ticket/"


def owner(ticket: str) -> str | None:
    principal = resolve(Credentials(token=ticket))
    assert principal is not None
    return principal.name


def test_a_key_gets_a_ticket_that_is_kept_by_nobody(key_client: Callable[..., Client]) -> None:
    answer = key_client().post(ADDRESS)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert answer.json().keys() == {"ticket", "expires_in"}
    assert answer.json()["expires_in"] == 30
    assert owner(answer.json()["ticket"]) == User.objects.get().username


def test_a_session_gets_one_with_its_csrf_token_only(anonymous: Client) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create_user("ada"))
    assert browser.post(ADDRESS, content_type="application/json").status_code == 403
    browser.cookies["csrftoken"] = "x" * 32
    answer = browser.post(ADDRESS, content_type="application/json", headers={"X-CSRFToken": "x" * 32})
    assert answer.status_code == 200
    assert owner(answer.json()["ticket"]) == "ada"


def test_a_signed_token_gets_one_without_a_csrf_token(anonymous: Client, settings: Any) -> None:
    tokens = dataclasses.replace(settings.TICKWIRE.tokens, secret=SECRET)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, tokens=tokens)
    User.objects.create_user("ada")
    program = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {hs256(plan='pro')}"})
    ticket = program.post(ADDRESS).json()["ticket"]
    principal = resolve(Credentials(token=ticket))
    assert principal is not None
    assert (principal.name, principal.plan_name) == ("ada", "pro")


def test_a_visitor_gets_none(anonymous: Client) -> None:
    refused = anonymous.post(ADDRESS)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, 101)


def test_a_ticket_gets_no_other(key_client: Callable[..., Client]) -> None:
    ticket = key_client().post(ADDRESS).json()["ticket"]
    assert Client(headers={"Authorization": f"Bearer {ticket}"}).post(ADDRESS).status_code == 401


def test_while_redis_is_away_it_says_when_to_ask_again(key_client: Callable[..., Client], settings: Any) -> None:
    client = key_client()
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url="redis://127.0.0.1:9/0")
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    refused = client.post(ADDRESS)
    assert (refused.status_code, refused.json()["error"]["code"], refused["Retry-After"]) == (503, 128, "2")


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_other_methods_are_refused(key_client: Callable[..., Client], method: str) -> None:
    assert getattr(key_client(), method)(ADDRESS).status_code == 405
