"""The admin in a real browser, on two serving processes: what an operator does there acts on clients that are connected."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, expect
from websockets import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.system.conftest import PLANT, SERVE, SYMBOLS, Tickwire, run_server

PEOPLE = (
    PLANT.format(symbols=SYMBOLS)
    + """
from django.contrib.auth.models import User
from realtime.keys import create_key
from realtime.models import Account, Plan
root = User.objects.create_superuser("root", password="correct horse")
for name in ("ada", "bob", "eve"):
    user = User.objects.create_user(name)
    Account.objects.create(user=user, plan=Plan.objects.create(name=f"plan-{name}", topics_per_connection=10))
    print(create_key(user)[1])
print(create_key(root, is_staff=True)[1])
"""
)
TOPICS = ["quote.AAPL", "quote.MSFT", "quote.BTC-USDT"]
PAGES = (
    "", "realtime/plan/", "realtime/plan/add/", "realtime/account/1/change/", "realtime/apikey/", "auth/user/1/change/",
    "marketdata/journalentry/", "realtime/liveconnection/",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    """Two serving processes; `planted` are the keys of Ada, Bob, Eve and root."""
    folder = tmp_path_factory.mktemp("admin")
    yield from run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", [*SERVE, "--workers", "2"], plant=PEOPLE)


@pytest.fixture
def admin(page: Page, server: Tickwire) -> Iterator[Page]:
    """A browser in which somebody who may do everything is logged in; it complains of nothing."""
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.goto(server.url + "/admin/")
    page.fill("[name=username]", "root")
    page.fill("[name=password]", "correct horse")
    page.click("[type=submit]")
    expect(page.locator("#user-tools")).to_contain_text("root")
    yield page
    assert wrong == []


@contextmanager
def client(server: Tickwire, whose: int) -> Iterator[ClientConnection]:
    """A socket of one of them."""
    key = server.planted.split()[whose]
    with connect(server.socket_url, additional_headers={"Authorization": f"Bearer {key}"}) as socket:
        until(socket, lambda message: message["type"] == "welcome")
        yield socket


def until(socket: ClientConnection, condition: Callable[[Any], object]) -> Any:
    """The first message that meets the condition."""
    while True:
        message = json.loads(socket.recv(timeout=15))
        if condition(message):
            return message


def closed(socket: ClientConnection) -> int:
    """The code with which a socket is closed."""
    with pytest.raises(ConnectionClosed) as end:
        until(socket, lambda message: False)
    assert end.value.rcvd is not None
    return end.value.rcvd.code


def seek(page: Page, server: Tickwire, user: str) -> None:
    """The connections of one user."""
    page.goto(server.url + "/admin/realtime/liveconnection/")
    page.fill("[name=user]", user)
    page.get_by_role("button", name="Search").click()


def dismiss(page: Page, action: str, *, sure: bool = True) -> list[str]:
    """Do something to those that are ticked, or to the first; returns what is asked before."""
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if sure else dialog.dismiss()

    page.once("dialog", answer)
    page.locator("[name=session]").first.check()
    page.select_option("[name=action]", action)
    page.get_by_role("button", name="Go").click()
    return asked


def test_a_limit_that_is_lowered_takes_topics_from_a_live_client(admin: Page, server: Tickwire) -> None:
    with client(server, 0) as socket:
        socket.send(json.dumps({"op": "subscribe", "id": 1, "topics": TOPICS}))
        until(socket, lambda message: message.get("id") == 1)
        admin.goto(server.url + "/admin/realtime/plan/?q=plan-ada")
        admin.click("#result_list tbody th a")
        admin.fill("[name=topics_per_connection]", "1")
        admin.click("[name=_save]")
        lost = {until(socket, lambda message: message["type"] == "evicted")["topic"] for _ in range(2)}
    assert lost == set(TOPICS[1:])
    admin.goto(server.url + "/admin/marketdata/journalentry/?q=plan-ada")
    expect(admin.locator("#result_list tbody tr").first).to_contain_text("topics per connection: 10 → 1")


def test_a_connection_on_any_node_is_found_and_ended(admin: Page, server: Tickwire) -> None:
    with client(server, 1) as one, client(server, 1) as two:
        seek(admin, server, "bob")
        expect(admin.locator("#result_list tbody tr")).to_have_count(2)
        admin.locator("[data-choose-all]").check()
        assert dismiss(admin, "disconnect", sure=False) == ["End what is ticked (2 connections)? Clients may come again."]
        expect(admin.locator(".messagelist")).to_have_count(0)
        dismiss(admin, "disconnect")
        expect(admin.locator(".messagelist")).to_contain_text("2 disconnected")
        assert {closed(one), closed(two)} == {4503}
    admin.goto(server.url + "/admin/marketdata/journalentry/?q=disconnect")
    expect(admin.locator("#result_list tbody tr")).to_have_count(2)
    expect(admin.locator("#result_list tbody tr").first).to_contain_text("root")


def test_a_user_who_is_banned_is_cut_off(admin: Page, server: Tickwire) -> None:
    with client(server, 2) as socket:
        seek(admin, server, "eve")
        dismiss(admin, "ban_user")
        expect(admin.locator(".messagelist")).to_contain_text("Banned: eve.")
        assert closed(socket) >= 4000
    admin.goto(server.url + "/admin/realtime/ban/")
    expect(admin.locator("#result_list tbody tr")).to_contain_text("eve")


def test_keys_are_revoked_only_after_a_second_thought(admin: Page, server: Tickwire) -> None:
    asked: list[str] = []
    for step, state in (("dismiss", "living"), ("accept", "revoked")):
        admin.goto(server.url + "/admin/realtime/apikey/?q=bob")
        admin.once("dialog", lambda dialog, step=step: (asked.append(dialog.message), getattr(dialog, step)()))
        admin.locator(".action-select").check()
        admin.select_option("[name=action]", "revoke")
        admin.get_by_role("button", name="Go").click()
        expect(admin.locator("#result_list .field-state")).to_contain_text(state)
    assert [each.startswith("Revoke what is ticked (1 key)?") for each in asked] == [True, True]


def test_nobody_bans_the_own_address(admin: Page, server: Tickwire) -> None:
    with client(server, 0):
        seek(admin, server, "ada")
        dismiss(admin, "ban_address")
        expect(admin.locator(".messagelist")).to_contain_text("that is you: 127.0.0.1")


@pytest.mark.parametrize("width", [1600, 380])
def test_pages_fit_the_screen(admin: Page, server: Tickwire, width: int) -> None:
    admin.set_viewport_size({"width": width, "height": 900})
    too_wide = {}
    with client(server, 0):
        for path in PAGES:
            admin.goto(f"{server.url}/admin/{path}")
            too_wide[path] = admin.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert {path: by for path, by in too_wide.items() if by > 0} == {}


def test_a_key_is_made_and_shown_once(admin: Page, server: Tickwire) -> None:
    admin.goto(server.url + "/admin/realtime/apikey/add/")
    admin.click(".select2-selection")
    admin.locator(".select2-results__option", has_text="ada").click()
    admin.click("[name=_save]")
    key = admin.locator(".secret").inner_text()
    status, body = server.get("/api/v1/me/", Authorization=f"Bearer {key}")
    assert (status, json.loads(body)["user"]) == (200, "ada")
    admin.get_by_role("link", name=f"Key {key[3:11]}").click()
    expect(admin.locator("body")).not_to_contain_text(key)


def test_what_is_done_over_rest_is_in_the_audit_log_too(admin: Page, server: Tickwire) -> None:
    key = server.planted.split()[3]
    with client(server, 0) as socket:
        (live,) = ask(server, key, "admin/connections/?user=ada")["connections"]
        ask(server, key, f"admin/connections/{live['session']}/", "DELETE")
        assert closed(socket) == 4503
    ask(server, key, f"admin/nodes/{live['node']}/drain/", "POST")
    admin.goto(server.url + "/admin/marketdata/journalentry/")
    rows = admin.locator("#result_list tbody tr")
    expect(rows.nth(0)).to_contain_text(re.compile(rf"root\s*drain\s*node\s*{live['node']}"))
    expect(rows.nth(1)).to_contain_text(re.compile(r"root\s*disconnect\s*connection"))
    expect(admin.locator("body")).not_to_contain_text(live["session"])


def ask(server: Tickwire, key: str, path: str, method: str = "GET") -> Any:
    request = urllib.request.Request(f"{server.url}/api/v1/{path}", method=method, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")
