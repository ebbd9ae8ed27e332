"""What all endpoints share: refusals are charged, caches are told, bodies of any kind are read or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLResolver, get_resolver
from rest_framework.views import APIView

from marketdata.endpoint import Endpoint
from marketdata.errors import BadTick
from marketdata.ticks import from_json
from realtime.codes import Code
from realtime.keys import create_key
from realtime.limits import forget_plans
from realtime.models import Plan
from realtime.usage import sums
from tests.integration.rest.test_errors import check

DEEP = b"[" * 50_000 + b"]" * 50_000


@pytest.fixture
def chief(listed: None) -> Client:
    """Who may everything, with a key."""
    key = create_key(User.objects.create_superuser("chief"), is_staff=True)[1]
    return Client(headers={"Authorization": f"Bearer {key}"})


def views(resolver: Any = None) -> Iterator[type[APIView]]:
    """Every view of REST."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            yield from views(pattern)
        elif issubclass(found := getattr(pattern.callback, "cls", object), APIView):
            yield found


def test_every_view_but_the_description_and_its_page_is_an_endpoint() -> None:
    others = {one.__name__ for one in views() if not issubclass(one, Endpoint)}
    assert others == {"SchemaView", "DocsView"}


@pytest.mark.parametrize(("path", "status"), [("depth/AAPL/", 403), ("admin/stats/", 401), ("keys/", 401), ("me/usage/", 401)])
def test_who_is_refused_is_charged_as_well(anonymous: Client, path: str, status: int) -> None:
    Plan.objects.filter(name="anonymous").update(requests_per_second=0.1, request_burst=2)
    forget_plans()
    answers = [anonymous.get(f"/api/v1/{path}") for _ in range(3)]
    assert [(one.status_code, one["RateLimit-Remaining"]) for one in answers] == [(status, "1"), (status, "0"), (429, "0")]


def test_a_request_that_is_refused_counts_as_used(client: Client) -> None:
    sums.forget()
    assert client.get("/api/v1/admin/stats/").status_code == 403
    assert [line.amounts[4] for line in sums.take()] == [1]


@pytest.mark.parametrize(
    ("path", "caching"),
    [
        ("me/", "private, no-store"),
        ("me/limits/", "private, no-store"),
        ("admin/stats/", "private, no-store"),
        ("admin/feeds/", "private, no-store"),
        ("admin/alert-rules/", "private, no-store"),
        ("nodes/best/", "private, no-store"),
        ("quotes/AAPL/", "private, no-cache"),
        ("quotes/NOPE/", "private, no-cache"),
    ],
)
def test_no_cache_hands_an_answer_to_another(chief: Client, path: str, caching: str) -> None:
    assert chief.get(f"/api/v1/{path}")["Cache-Control"] == caching


def test_nor_a_refusal(anonymous: Client) -> None:
    assert anonymous.get("/api/v1/admin/stats/")["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize("body", [DEEP, b'{"ticks":[' + DEEP + b"]}", b'{"name":' + DEEP + b"}"])
@pytest.mark.parametrize("path", ["ingest/", "admin/alert-rules/", "admin/notifiers/", "admin/taps/", "admin/trace/"])
def test_a_body_that_is_nested_too_deep_is_a_bad_request(chief: Client, key_client: Any, path: str, body: bytes) -> None:
    client = key_client(can_publish=True) if path == "ingest/" else chief
    check(client.post(f"/api/v1/{path}", body, content_type="application/json"), 400, Code.BAD_REQUEST)


@pytest.mark.parametrize("body", [DEEP, b'{"name":' + DEEP + b"}"])
def test_so_it_is_with_a_session_whose_csrf_token_is_looked_for(listed: None, body: bytes) -> None:
    browser = Client(enforce_csrf_checks=True, headers={"X-CSRFToken": "x" * 32})
    browser.force_login(User.objects.create_user("ada"))
    browser.cookies["csrftoken"] = "x" * 32
    check(browser.post("/api/v1/keys/", body, content_type="application/json"), 400, Code.BAD_REQUEST)


def test_a_tick_that_is_nested_too_deep_is_a_bad_one() -> None:
    with pytest.raises(BadTick, match="recursion"):
        from_json(b'{"more":' + DEEP + b',"type":"trade"}')


@pytest.mark.parametrize("path", ["admin/alert-rules/", "admin/taps/", "admin/trace/"])
def test_a_body_that_is_too_large_is_413(chief: Client, path: str) -> None:
    check(chief.post(f"/api/v1/{path}", b" " * 3_000_000, content_type="application/json"), 413, Code.LIMIT_EXCEEDED)


@pytest.mark.parametrize("path", ["ingest", "keys", "auth/ticket"])
def test_a_post_without_the_slash_goes_on_as_a_post(key_client: Callable[..., Client], path: str, settings: Any) -> None:
    client = key_client(can_publish=True)
    for settings.DEBUG in (False, True):
        straight = client.post(f"/api/v1/{path}/", {"ticks": []}, content_type="application/json")
        sent_on = client.post(f"/api/v1/{path}", {"ticks": []}, content_type="application/json", follow=True)
        assert sent_on.status_code == straight.status_code
        assert [status for _, status in sent_on.redirect_chain] == ([] if path == "auth/ticket" else [308])


def test_a_get_without_the_slash_is_sent_on_as_ever(anonymous: Client) -> None:
    answer = anonymous.get("/api/v1/quotes?symbols=AAPL")
    assert (answer.status_code, answer["Location"]) == (301, "/api/v1/quotes/?symbols=AAPL")
