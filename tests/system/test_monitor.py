"""The operator's pages under `/monitor/` in a real browser, beside a running installation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.own_redis import OwnRedis
from tests.system.conftest import PLANT, ROOT, SERVE, SYMBOLS, Tickwire, run_server

STAFF = (
    PLANT.format(symbols=SYMBOLS)
    + """
from django.contrib.auth.models import Group, User
from realtime.keys import create_key
print(create_key(User.objects.create_superuser("ada", password="correct horse"))[1])
viewer = User.objects.create_user("vera", password="correct horse", is_staff=True)
viewer.groups.add(Group.objects.get(name="viewer"))
User.objects.create_user("eve", password="correct horse")
"""
)
RESOLVED = """
from django.utils.timezone import now
from monitoring.models import Alert, AlertRule
memory = AlertRule.objects.get(name="memory")
times = {"since": now(), "began_at": now(), "resolved_at": now()}
Alert.objects.get_or_create(rule=memory, name="memory", severity="warning", state="resolved", defaults=times)
"""
TABS = ("overview", "connections", "topics", "feeds", "alerts")
WIDTHS = (380, 1600)


class Installation:
    """A server with its own Redis, and a feed beside it."""

    def __init__(self, server: Tickwire, redis: OwnRedis) -> None:
        self.server, self.redis = server, redis

    def logged_in(self, page: Page, name: str = "ada", tab: str = "") -> None:
        """Go to the pages as nobody, log in, and come back to them."""
        page.goto(f"{self.server.url}/monitor/{tab}")
        page.fill("[name=username]", name)
        page.fill("[name=password]", "correct horse")
        page.click("[type=submit]")
        expect(page).to_have_url(f"{self.server.url}/monitor/{tab}")

    @contextmanager
    def following(self, *topics: str) -> Iterator[Any]:
        """A client that follows topics as often as they change."""
        headers = {"Authorization": f"Bearer {self.server.planted}"}
        with connect(self.server.socket_url, additional_headers=headers) as socket:
            socket.send(json.dumps({"op": "subscribe", "id": 1, "topics": topics}))
            while json.loads(socket.recv(10)).get("id") != 1:
                pass
            yield socket


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("monitor")
    redis = OwnRedis(folder / "redis")
    redis.start()
    servers = run_server(folder, redis.url, "monitor", SERVE, plant=STAFF, TICKWIRE_FEEDS="demo")
    server = next(servers)
    with ExitStack() as stack:
        with (folder / "feed.log").open("ab") as log:
            feed = subprocess.Popen([sys.executable, "manage.py", "feed"], cwd=ROOT, env=server.environ, stdout=log, stderr=log)
        stack.callback(feed.wait, 20)
        stack.callback(feed.terminate)
        yield Installation(server, redis)
    for _ in servers:
        pass
    redis.kill()


@pytest.fixture
def wrong(page: Page) -> list[str]:
    """What the browser complains of; Chromium tells of sockets that were refused as errors, which tests of faults expect."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("response", lambda answer: found.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    return found


def code_of(socket: Any) -> int:
    """The code with which the server closes a socket."""
    try:
        while True:
            socket.recv(10)
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else 1006


def expect_state(page: Page, state: str, timeout: float = 15_000) -> None:
    expect(page.locator("#status")).to_have_attribute("data-state", state, timeout=timeout)


def tile(page: Page, series: str) -> Locator:
    return page.locator(f".tiles [data-series={series}] dd")


def open_tab(page: Page, tab: str) -> None:
    page.locator(f"#tabs [data-tab={tab}]").click()
    expect(page.locator(f"#{tab}")).to_be_visible()


def test_nobody_and_users_are_sent_to_the_login_and_staff_come_back(page: Page, installation: Installation) -> None:
    page.goto(f"{installation.server.url}/monitor/topics/")
    expect(page).to_have_url(f"{installation.server.url}/admin/login/?next=/monitor/topics/")
    page.fill("[name=username]", "eve")
    page.fill("[name=password]", "correct horse")
    page.click("[type=submit]")
    expect(page.locator(".errornote")).to_be_visible()
    installation.logged_in(page, tab="topics/")
    expect(page.locator("#topics")).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_every_tab_lives_within_its_width_and_without_a_complaint(
    page: Page, installation: Installation, wrong: list[str], width: int, tmp_path: Path
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    installation.logged_in(page)
    for tab in TABS:
        open_tab(page, tab)
        expect_state(page, "live")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        for link in page.locator("#tabs a").all():
            box = link.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= width, tab
        page.reload()
        expect(page.locator(f"#{tab}")).to_be_visible()
    assert wrong == []


def test_numbers_move_while_something_is_published(page: Page, installation: Installation) -> None:
    installation.logged_in(page)
    with installation.following("quote.BTC-USDT", "trade.BTC-USDT", "kline.1m.BTC-USDT"):
        expect(tile(page, "connections")).to_have_text("1")
        expect(tile(page, "delivered")).to_have_text(re.compile(r"^[1-9].*/s$"))
        expect(tile(page, "sent_bytes")).to_have_text(re.compile(r"^[1-9].* k?B/s$"))
        expect(tile(page, "latency_p99")).to_have_text(re.compile(r"^[\d.]+ (µs|ms|s)$"))
        shown = tile(page, "sent_bytes").text_content()
        assert shown is not None
        expect(tile(page, "sent_bytes")).not_to_have_text(shown)
        expect(page.locator("#overview [data-part=processes] td:nth-child(2)")).to_have_text(["web", "feed"])
        expect(page.locator("#overview [data-part=feeds] td:first-child")).to_have_text(["demo"])
        expect(page.locator(".plot").first.locator("[role=img]")).to_have_attribute(
            "aria-label", re.compile(r"^Updates a second: Out [1-9].*/s, In [1-9].*/s; [1-9]\d* points$")
        )
        open_tab(page, "topics")
        row = page.locator("#topics tbody tr", has_text="quote.BTC-USDT")
        expect(row.locator("td").nth(1)).to_have_text("1")
        expect(row.locator("td").nth(2)).to_have_text(re.compile(r"^[\d.]+/s$"))
        open_tab(page, "feeds")
        expect(page.locator("#feeds table[data-part=feeds] td").nth(4)).to_have_text(re.compile(r"^[1-9].*/s$"))


def test_the_history_is_there_when_the_page_is_opened_again(page: Page, installation: Installation) -> None:
    installation.logged_in(page)
    expect_state(page, "live")
    page.wait_for_timeout(12_000)  # the server saves every ten seconds
    page.reload()
    label = page.locator(".plot").first.locator("[role=img]")
    expect(label).to_have_attribute("aria-label", re.compile(r"; [1-9]\d+ points$"))
    page.get_by_role("radio", name="24 h").click()
    expect(page.locator("[data-part=history]")).to_have_text("")
    expect(page.get_by_role("radio", name="24 h")).to_have_attribute("aria-checked", "true")


def test_connections_are_filtered_sorted_and_ended(page: Page, installation: Installation) -> None:
    installation.logged_in(page, tab="connections/")
    rows = page.locator("#connections tbody tr")
    with installation.following("quote.BTC-USDT", "trade.BTC-USDT"), installation.following("quote.AAPL") as other:
        expect(rows).to_have_count(2)
        page.get_by_role("button", name="Topics").click()
        expect(rows.locator("td:nth-child(7)")).to_have_text(["2", "1"])
        expect(page.locator("#connections th", has_text="Topics")).to_have_attribute("aria-sort", "descending")
        page.get_by_role("button", name="Topics").press("Enter")
        expect(rows.locator("td:nth-child(7)")).to_have_text(["1", "2"])
        page.fill("[name=plan]", "nonesuch")
        expect(page.locator("#connections .note")).to_be_visible()
        page.fill("[name=plan]", "")
        expect(rows).to_have_count(2)
        button = rows.first.get_by_role("button", name="Disconnect")
        button.click()
        expect(button).to_have_text("Really?")
        button.click()
        expect(page.locator("[data-part=told]")).to_have_text(re.compile("is closed"))
        expect(rows).to_have_count(1)
        assert code_of(other) == 4503


def test_who_may_not_disconnect_has_no_button(page: Page, installation: Installation) -> None:
    installation.logged_in(page, "vera", "connections/")
    with installation.following("quote.AAPL"):
        expect(page.locator("#connections tbody tr")).to_have_count(1)
        expect(page.get_by_role("button", name="Disconnect")).to_have_count(0)


def test_a_tab_is_an_address_and_the_way_back_leads_to_the_one_before(page: Page, installation: Installation) -> None:
    installation.logged_in(page)
    page.locator("#tabs [data-tab=topics]").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{installation.server.url}/monitor/topics/")
    expect(page.locator("#tabs [data-tab=topics]")).to_have_attribute("aria-current", "page")
    expect(page).to_have_title("Topics · Tickwire monitor")
    page.go_back()
    expect(page.locator("#overview")).to_be_visible()


def test_while_redis_is_frozen_the_page_says_so_and_goes_on_by_itself(page: Page, installation: Installation) -> None:
    installation.logged_in(page)
    expect_state(page, "live")
    installation.redis.freeze()
    try:
        expect(page.locator("#banner")).to_have_text(
            re.compile(
                r"^(Redis does not answer\.|The server has said nothing for \d+ s\.) What is shown is as of \d\d:\d\d:\d\d\.$"
            )
        )
        expect(page.locator("#banner")).to_have_text(re.compile("^Redis does not answer"))
        expect_state(page, "stale")
        expect(page.locator("body")).to_have_class(re.compile("stale"))
    finally:
        installation.redis.thaw()
    expect_state(page, "live", 30_000)
    expect(page.locator("#banner")).to_be_hidden()


def test_a_lost_server_is_told_at_once_and_dialled_again(page: Page, installation: Installation) -> None:
    installation.logged_in(page)
    expect_state(page, "live")
    installation.server.stop()
    expect_state(page, "stale")
    expect(page.locator("#banner")).to_have_text(re.compile("The connection was lost"))
    installation.server.start()
    expect_state(page, "live", 30_000)


def test_who_is_no_longer_staff_is_told_within_seconds(page: Page, installation: Installation) -> None:
    installation.logged_in(page, "vera")
    expect_state(page, "live")
    shell = "from django.contrib.auth.models import User; User.objects.filter(username='vera').update(is_staff={})"
    installation.server.manage("shell", "-v0", "-c", shell.format(False))
    try:
        expect_state(page, "ended")
        expect(page.locator("#banner")).to_have_text(re.compile("You are not logged in as staff any more"))
    finally:
        installation.server.manage("shell", "-v0", "-c", shell.format(True))


def test_the_admin_leads_there(page: Page, installation: Installation) -> None:
    installation.logged_in(page)
    page.goto(f"{installation.server.url}/admin/")
    expect(page.locator(".ways").get_by_role("link", name=re.compile("^Monitor"))).to_be_visible()
    page.locator("#user-tools").get_by_role("link", name="Monitor").click()
    expect(page).to_have_url(f"{installation.server.url}/monitor/")


def test_colours_change_and_plots_with_them(browser: Browser, installation: Installation) -> None:
    page = browser.new_page(color_scheme="light", viewport={"width": 1600, "height": 900})
    installation.logged_in(page)
    expect_state(page, "live")
    expect(page.locator(".plot canvas").first).to_be_visible()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.locator("[data-theme-switch]").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(page.locator(".plot canvas")).to_have_count(9)
    page.close()


@pytest.mark.parametrize(("name", "silences"), [("ada", 1), ("vera", 0)])
def test_an_alert_leads_to_its_runbook_and_who_may_to_its_silence(
    page: Page, installation: Installation, name: str, silences: int
) -> None:
    installation.server.manage("shell", "-v0", "-c", RESOLVED)
    installation.logged_in(page, name, "alerts/")
    row = page.locator("#alerts tbody tr", has_text="memory")
    expect(row.get_by_role("link", name="Silence memory in the admin")).to_have_count(silences)
    row.get_by_role("link", name="Runbook of memory").click()
    expect(page).to_have_url(f"{installation.server.url}/monitor/runbooks/memory/")
    expect(page.locator("article")).to_contain_text("What to do")
    page.locator("footer").get_by_role("link", name="Monitor").click()
    expect(page.locator("#overview")).to_be_visible()
    expect(page.locator("footer #zone")).to_have_text("Asia/Tokyo")
    assert page.locator("footer a").all_inner_texts() == ["Markets", "Chart", "Admin", "API"]
