"""What the pages' headers keep out, in a real browser on the shipped server."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from django.contrib import admin
from playwright.sync_api import Page, Response, expect

from tests.system.conftest import PLANT, SERVE, SYMBOLS, Tickwire, run_server

STAFF = (
    PLANT.format(symbols=SYMBOLS)
    + """
from django.contrib.auth.models import User
User.objects.create_superuser("ada", password="correct horse")
"""
)
PAGES = ["/", "/chart/", "/login/", "/admin/login/", "/api/docs/"]
INJECTED = "const it = document.createElement('script'); it.textContent = 'window.ran = true'; document.body.append(it)"


@pytest.fixture(scope="module")
def server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    folder = tmp_path_factory.mktemp("pages")
    yield from run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", SERVE, plant=STAFF)


@pytest.fixture
def wrong(page: Page) -> list[str]:
    """What the browser complains of."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    return found


def opened(page: Page, server: Tickwire, path: str) -> Response:
    """The page, once its own script has done its work."""
    answer = page.goto(server.url + path)
    assert answer is not None
    ready = {"/": "#status[data-state=live]", "/chart/": "#status[data-state=live]", "/api/docs/": ".opblock"}
    expect(page.locator(ready.get(path, "body")).first).to_be_visible()
    page.wait_for_load_state("load")
    return answer


def logged_in(page: Page, server: Tickwire) -> None:
    page.goto(server.url + "/admin/")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", "correct horse")
    page.click("[type=submit]")
    expect(page.locator("#user-tools")).to_contain_text("ada")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_works_under_its_own_policy(page: Page, server: Tickwire, wrong: list[str], path: str) -> None:
    opened(page, server, path)
    assert wrong == []


@pytest.mark.parametrize("path", PAGES)
def test_a_script_that_was_put_into_a_page_does_not_run(page: Page, server: Tickwire, wrong: list[str], path: str) -> None:
    opened(page, server, path)
    page.evaluate(INJECTED)
    assert page.evaluate("window.ran") is None
    assert "Content Security Policy" in "".join(wrong)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_says_what_browsers_shall_refuse(page: Page, server: Tickwire, path: str) -> None:
    told = opened(page, server, path).headers
    policy = {part.split()[0]: part.split()[1:] for part in told["content-security-policy"].split(";")}
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:"} & {source for sources in policy.values() for source in sources}
    none = ("default-src", "object-src", "base-uri", "frame-ancestors")
    assert [policy[name] for name in none] == [["'none'"]] * len(none)
    assert (policy["connect-src"], policy["form-action"]) == (["'self'"], ["'self'"])
    assert "camera=()" in told["permissions-policy"]
    assert told["cross-origin-opener-policy"] == "same-origin"
    assert told["x-content-type-options"] == "nosniff"
    assert told["referrer-policy"] == "same-origin"


def test_each_answer_has_a_nonce_of_its_own(server: Tickwire) -> None:
    nonces = {re.search(rb'nonce="([^"]+)"', server.get("/")[1])[1] for _ in range(3)}  # type: ignore[index]
    assert len(nonces) == 3


def test_the_admin_works_under_the_policy(page: Page, server: Tickwire, wrong: list[str]) -> None:
    logged_in(page, server)
    lists = [f"{model._meta.app_label}/{model._meta.model_name}/" for model in admin.site._registry]
    for path in (*lists, "auth/user/add/", "realtime/apikey/add/", "realtime/plan/1/change/", "marketdata/instrument/1/change/"):
        opened(page, server, f"/admin/{path}")
    assert wrong == []


def test_no_other_site_may_frame_a_page(page: Page, server: Tickwire, wrong: list[str]) -> None:
    page.set_content(f"<iframe src='{server.url}/'></iframe>")
    page.wait_for_load_state("networkidle")
    assert "frame-ancestors" in "".join(wrong)


def test_a_request_of_the_api_page_goes_through(page: Page, server: Tickwire, wrong: list[str]) -> None:
    opened(page, server, "/api/docs/")
    block = page.locator("#operations-instruments-instruments")
    block.locator(".opblock-summary").click()
    block.locator(".try-out__btn").click()
    block.locator(".execute").click()
    expect(block.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    assert wrong == []
