"""Every failure of REST is a coded error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from marketdata import errors as domain
from marketdata import views
from project import errors
from realtime.auth import PAGE_COOKIE
from realtime.codes import Code, CodedError
from realtime.models import Plan
from tests.running import ROOT


def all_below(kind: type[domain.MarketDataError]) -> list[type[domain.MarketDataError]]:
    return [kind, *(found for below in kind.__subclasses__() for found in all_below(below))]


@pytest.mark.parametrize("kind", all_below(domain.MarketDataError))
def test_the_domains_codes_are_those_of_the_protocol(kind: type[domain.MarketDataError]) -> None:
    assert Code(kind.code).label == kind.label


def told(kind: type[domain.MarketDataError]) -> tuple[str, ...]:
    """What a client is told of an error, as a row of the documentation."""
    answer = errors.rest_exception_handler(kind.__new__(kind), {})
    assert answer is not None
    above = kind.__mro__[1].__name__ if kind is not domain.MarketDataError else ""
    again = "yes" if Code(kind.code).temporary else "no"
    return kind.__name__, above, str(kind.code), kind.label, str(answer.status_code), again


def test_the_documentation_has_every_error_with_what_a_client_is_told_of_it() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = [tuple(cell.strip() for cell in line.split("|")[1:7]) for line in text.splitlines() if line.count("|") == 8]
    assert sorted(rows[2:]) == sorted(map(told, all_below(domain.MarketDataError)))


def check(answer: Any, status: int, code: Code) -> None:
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["name"], error["temporary"]) == (int(code), code.label, code.temporary)
    assert error["message"]


def test_a_bad_key_is_401_and_says_what_is_wanted(anonymous: Client) -> None:
    answer = anonymous.get("/api/v1/instruments/", headers={"Authorization": "Bearer tw_aaaaaaaa_" + "x" * 43})
    check(answer, 401, Code.UNAUTHORIZED)
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_without_an_anonymous_plan_visitors_are_401(anonymous: Client) -> None:
    Plan.objects.filter(name="anonymous").update(enabled=False)
    for path in ("instruments/", "snapshots/?topics=quote.AAPL", "quotes/AAPL/", "klines/AAPL/", "me/"):
        check(anonymous.get(f"/api/v1/{path}"), 401, Code.UNAUTHORIZED)


def test_an_address_that_does_not_exist_is_404(anonymous: Client) -> None:
    check(anonymous.get("/api/v1/teapots/"), 404, Code.UNKNOWN_OP)


def test_an_address_outside_the_api_gets_djangos_page(anonymous: Client) -> None:
    answer = anonymous.get("/teapots/")
    assert (answer.status_code, answer["Content-Type"].partition(";")[0]) == (404, "text/html")


def test_a_wrong_method_is_405(client: Client) -> None:
    check(client.delete("/api/v1/quotes/AAPL/"), 405, Code.UNKNOWN_OP)


def test_a_foreign_host_is_400(anonymous: Client) -> None:
    answer = anonymous.get("/api/v1/instruments/", headers={"Host": "evil.example"})
    check(answer, 400, Code.BAD_REQUEST)
    assert "TICKWIRE_ALLOWED_HOSTS" in answer.json()["error"]["message"]


def test_an_unforeseen_failure_is_500_and_logged(client: Client, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(views.history, "klines", broken)
    client.raise_request_exception = False
    answer = client.get("/api/v1/klines/AAPL/")
    check(answer, 500, Code.INTERNAL)
    assert b"secret detail" not in answer.content
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("code", "status"),
    [(Code.TOKEN_EXPIRED, 401), (Code.TOO_MANY_REQUESTS, 429), (Code.OVERLOADED, 503), (Code.UNSUPPORTED_TYPE, 400)],
)
def test_each_code_has_its_status(code: Code, status: int) -> None:
    answer = errors.rest_exception_handler(CodedError(code, "no", retry_after_ms=1200), {})
    assert answer is not None
    assert (answer.status_code, answer["Retry-After"]) == (status, "2")


def test_djangos_pages_for_errors_outside_the_api() -> None:
    request = RequestFactory().get("/elsewhere/")
    assert errors.server_error(request).status_code == 500
    assert errors.bad_request(request, ValueError()).status_code == 400


# who may do what


def test_a_session_must_show_its_csrf_token_to_change_anything(listed: None, store: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_user("ada"))
    answer = client.post("/api/v1/ingest/", b'{"ticks":[]}', content_type="application/json")
    check(answer, 403, Code.PERMISSION_DENIED)
    assert "CSRF" in answer.json()["error"]["message"]
    assert client.get("/api/v1/instruments/").status_code == 200


def test_a_key_needs_no_csrf_token(key_client: Callable[..., Client]) -> None:
    client = key_client(can_publish=True)
    client.handler.enforce_csrf_checks = True
    assert client.post("/api/v1/ingest/", b'{"ticks":[]}', content_type="application/json").status_code == 200


def test_staff_endpoints_are_for_staff(anonymous: Client, client: Client, redis_url: str) -> None:
    check(anonymous.get("/api/v1/admin/feeds/"), 401, Code.UNAUTHORIZED)
    check(client.get("/api/v1/admin/feeds/"), 403, Code.PERMISSION_DENIED)
    staff = Client()
    staff.force_login(User.objects.create_user("boss", is_staff=True))
    assert staff.get("/api/v1/admin/feeds/").status_code == 200


def test_me_tells_visitors_and_users_what_they_may(anonymous: Client, key_client: Callable[..., Client]) -> None:
    visitor = anonymous.get("/api/v1/me/").json()
    assert (visitor["user"], visitor["key"], visitor["plan"], visitor["limits"]["topics"]) == (None, None, "anonymous", 10)
    mine = key_client(can_publish=True).get("/api/v1/me/").json()
    assert mine["user"].startswith("user")
    assert len(mine["key"]) == 8
    assert (mine["plan"], mine["can_publish"], mine["is_staff"]) == ("free", True, False)
    assert set(mine["limits"]["data_types"]) == {"quote", "trade", "depth", "kline", "ticker"}


# the page


def test_the_page_gives_its_visitor_the_dashboard_plan(anonymous: Client) -> None:
    answer = anonymous.get("/")
    assert answer.status_code == 200
    cookie = answer.cookies[PAGE_COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["max-age"]) == (True, "Strict", 86400)
    assert "no-store" in answer["Cache-Control"]
    assert anonymous.get("/api/v1/me/").json()["plan"] == "dashboard"
    assert anonymous.get("/api/v1/depth/AAPL/").status_code == 200


def test_the_page_names_the_listed_instruments(anonymous: Client) -> None:
    answer = anonymous.get("/")
    assert [item["symbol"] for item in answer.context["instruments"]] == ["600519.SH", "AAPL", "BTC-USDT"]
    assert b"Kweichow Moutai" in answer.content


def test_without_a_dashboard_plan_the_page_gives_no_pass(anonymous: Client, settings: Any) -> None:
    serving = dataclasses.replace(settings.TICKWIRE.serving, dashboard_plan="")
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, serving=serving)
    assert PAGE_COOKIE not in anonymous.get("/").cookies
