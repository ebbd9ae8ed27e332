"""Every endpoint × method × who, on the shipped server; an endpoint without a line in `permissions.py` fails here."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import URLResolver, get_resolver

from tests.system.conftest import SERVE, Tickwire, run_server
from tests.system.permissions import BODIES, NAMED, NO_ANONYMOUS, PLANT, QUERIES, TABLE, VALUES, WHO

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE")
REFUSED = {401, 403, 405}
ADMIN = {"/admin/^(?P<app_label>marketdata|realtime|auth|monitoring)/$": "/admin/auth/", "/admin/(?P<url>.*)$": "/admin/nothing/"}
TOKEN = "c" * 32
LOGOUTS = {"/admin/logout/", "/logout/"}
_addresses = itertools.count()


def routes(resolver: Any = None, before: str = "/") -> Iterator[str]:
    """Every address of the URL configuration, with `<name>` where something stands in it."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = before + re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, route)
        else:
            yield route


def lines() -> dict[tuple[str, str], dict[str, set[int]]]:
    """Of (method, route): which statuses who may get."""
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    return {
        (method, route): {who: NAMED.get(cell) or {int(cell)} for who, cell in zip(head, cells, strict=True)}
        for method, route, *cells in rows
    }


LINES = lines()
ROUTES = sorted(set(routes()))
ASKED = [(one, method) for one in ROUTES for method in (METHODS[:2] if one.startswith("/admin/") else METHODS)]


def line(method: str, route: str) -> dict[str, set[int]] | None:
    """The line for it, or one with a `*` that covers it."""
    covering = [key for key in LINES if key[1].endswith("*") and route.startswith(key[1][:-1]) and key[0] == method]
    return LINES.get((method, route)) or next((LINES[key] for key in covering), None)


def address(route: str) -> str:
    if route in ADMIN:
        return ADMIN[route]
    path = re.sub(r"<(\w+)>", lambda name: VALUES.get(name[1], "1"), route)
    return f"{path}?{QUERIES[route]}" if route in QUERIES else path


@pytest.fixture(scope="module")
def servers(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tickwire]]:
    """One with and one without an anonymous plan."""
    folder = tmp_path_factory.mktemp("permissions")
    (folder / "none").mkdir()
    usual = run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", SERVE, plant=PLANT)
    closed = run_server(folder / "none", redis_url, f"{folder.name}-none-{os.getpid()}", SERVE, plant=NO_ANONYMOUS)
    yield {"": next(usual), "nobody": next(closed)}
    for server in (usual, closed):
        next(server, None)


def credentials(server: Tickwire, who: str, route: str) -> dict[str, str]:
    """Headers; each request claims an address of its own, so that no bound on guesses or visitors is met."""
    shown = json.loads(server.planted).get({"no-csrf": "user"}.get(who, who), {})
    n = next(_addresses)
    headers = {"X-Forwarded-For": f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "Content-Type": "application/json"}
    if "key" in shown:
        headers["Authorization"] = f"Bearer {shown['key']}"
    if "session" in shown:
        headers["Cookie"] = f"sessionid={shown['leaving' if route in LOGOUTS else 'session']}; csrftoken={TOKEN}"
        headers |= {} if who == "no-csrf" else {"X-CSRFToken": TOKEN}
    return headers


def status(server: Tickwire, who: str, method: str, route: str) -> int:
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    body = json.dumps(BODIES.get(route, {})) if method in ("POST", "PUT", "PATCH") else None
    line.request(method, address(route), body, credentials(server, who, route))
    found = line.getresponse().status
    line.close()
    return found


def test_every_column_is_explained() -> None:
    assert {who for cells in LINES.values() for who in cells} == set(WHO)


def test_every_endpoint_has_a_line() -> None:
    assert [route for route in ROUTES if not any(line(method, route) for method in METHODS)] == []


def test_every_line_has_an_endpoint() -> None:
    assert [route for _, route in LINES if route not in ROUTES and not route.endswith("*")] == []


@pytest.mark.parametrize("who", WHO)
def test_who_may_do_what(servers: dict[str, Tickwire], who: str) -> None:
    server = servers.get(who, servers[""])
    wrong = {}
    for route, method in ASKED:
        found, cells = status(server, who, method, route), line(method, route)
        if found not in (cells[who] if cells else REFUSED):
            wrong[f"{method} {route}"] = found
    assert wrong == {}


@pytest.mark.parametrize("who", WHO)
def test_head_tells_what_get_does(servers: dict[str, Tickwire], who: str) -> None:
    server = servers.get(who, servers[""])
    named = [route for method, route in LINES if method == "GET" and not route.startswith("/admin/")]
    assert [route for route in named if status(server, who, "HEAD", route) != status(server, who, "GET", route)] == []
