"""A user who is no staff, in a real browser: logs in, makes an API key on the API's page, uses it, logs out."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.system.conftest import PLANT, SERVE, SYMBOLS, Tickwire, run_server

CAROL = (
    PLANT.format(symbols=SYMBOLS)
    + """
from django.contrib.auth.models import User
User.objects.create_user("carol", password="correct horse")
"""
)


@pytest.fixture(scope="module")
def server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    folder = tmp_path_factory.mktemp("login")
    yield from run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", SERVE, plant=CAROL)


def made_key(page: Page) -> str:
    """A key, made by trying `POST keys/` out as the page offers it."""
    operation = page.locator("#operations-keys-make_key")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("textarea").first.fill('{"name": "notebook"}')
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response").first
    expect(answer.locator(".response-col_status")).to_contain_text("201")
    key: str = json.loads(answer.locator(".highlight-code code").first.inner_text())["key"]
    return key


def test_a_user_logs_in_makes_a_key_and_logs_out(page: Page, server: Tickwire) -> None:
    page.goto(server.url + "/login/")
    page.fill("[name=username]", "carol")
    page.fill("[name=password]", "correct horse")
    page.click("[type=submit]")
    expect(page.locator("#content-main")).to_contain_text("You are logged in as carol")
    page.get_by_role("link", name="API's page").click()
    asked = urllib.request.Request(f"{server.url}/api/v1/me/", headers={"Authorization": f"Bearer {made_key(page)}"})
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer)["user"] == "carol"
    page.goto(server.url + "/login/")
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("[name=password]")).to_be_visible()
    assert page.request.get(server.url + "/api/v1/keys/").status == 401
