"""The page at `/chart/` in a real browser: what it asks of the UDF endpoints, and what it shows."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from playwright.sync_api import Page, expect

from marketdata.store import Update
from tests.system.conftest import SERVE, Tickwire, run_server

MINUTE = 60_000_000
MINUTES = 1300  # bars at rest, a weekend between the older and the newer half
PLANT = f"""
import time
from marketdata import bars
from marketdata.models import Instrument
from marketdata.ticks import Kline
from marketdata.topics import Interval
listed = (("AAPL", "Apple Inc.", "NASDAQ"), ("MSFT", "Microsoft", "NASDAQ"), ("EMPTY", "", ""), ("LIVE", "", ""))
for symbol, name, venue in listed:
    Instrument.objects.create(symbol=symbol, name=name, kind="stock", venue=venue, simulated=symbol == "MSFT")
now = time.time_ns() // 1000
def bar(symbol, interval, back, close):
    start = now // interval.length_us * interval.length_us - back * interval.length_us
    return Kline(symbol, start, interval, start, start + interval.length_us, "100", "130", "90", close, "5", "50", 2, True)
weekend = 2 * 24 * 60
minutes = [n if n <= {MINUTES} // 2 else n + weekend for n in range(1, {MINUTES} + 1)]
bars.save(bar("AAPL", Interval.M1, back, str(100 + back % 20)) for back in minutes)
bars.save(bar("AAPL", Interval.D1, back, "111") for back in range(1, 31))
bars.save(bar("MSFT", Interval.M1, back, "222.25") for back in range(1, 11))
"""


@pytest.fixture(scope="module")
def charted(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    """A server with bars at rest."""
    folder = tmp_path_factory.mktemp("charted")
    yield from run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", SERVE, plant=PLANT)


def opened(page: Page, server: Tickwire, query: str = "?symbol=AAPL") -> list[tuple[str, dict[str, str]]]:
    """Open the chart; returns the UDF requests that it makes, as they are made: (endpoint, query)."""
    asked: list[tuple[str, dict[str, str]]] = []

    def note(request: Any) -> None:
        address = urlsplit(request.url)
        if address.path.startswith("/udf/"):
            asked.append((address.path[5:], {name: values[0] for name, values in parse_qs(address.query).items()}))

    page.on("request", note)
    page.goto(f"{server.url}/chart/{query}")
    return asked


def canvas(page: Page) -> Any:
    return page.locator("#chart .canvas")


def expect_bars(page: Page, symbol: str, label: str, count: int) -> None:
    expect(canvas(page)).to_have_attribute("aria-label", f"Candles of {symbol}, {label} each: {count} bars")


def expect_live(page: Page, timeout: float = 20_000) -> None:
    """After failures the page asks less often."""
    expect(page.locator("#status")).to_have_attribute("data-state", "live", timeout=timeout)


def open_bar(close: str) -> dict[str, Any]:
    now = time.time_ns() // 1000
    start = now // MINUTE * MINUTE
    return {
        "symbol": "LIVE", "ts": now, "interval": "1m", "open_time": start, "close_time": start + MINUTE, "open": "100",
        "high": "130", "low": "90", "close": close, "volume": "5", "turnover": "50", "trades": 2, "closed": False, "revision": 0,
    }  # fmt: skip


def ticker(last: str) -> dict[str, Any]:
    return {
        "symbol": "LIVE", "ts": time.time_ns() // 1000, "last": last, "open": "100", "high": "130", "low": "90",
        "prev_close": "100", "change": "1.5", "change_percent": "1.5", "volume": "1234567", "turnover": "1",
    }  # fmt: skip


def test_it_begins_with_the_newest_page_and_without_an_error(page: Page, charted: Tickwire) -> None:
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    asked = opened(page, charted)
    expect_bars(page, "AAPL", "1m", 500)
    expect_live(page)
    assert {name for name, _ in asked} == {"config", "time", "symbols", "quotes", "history"}
    assert next(query for name, query in asked if name == "history")["countback"] == "500"
    assert page.locator("#resolutions button").all_text_contents() == ["1m", "5m", "15m", "30m", "1h", "4h", "1d"]
    expect(page.locator("#symbol [data-part=about]")).to_have_text("Apple Inc. · NASDAQ · USD")
    expect(page).to_have_title("AAPL 1m · Tickwire")
    assert wrong == []


def test_scrolling_left_reads_older_bars_over_the_weekend_until_there_are_none(page: Page, charted: Tickwire) -> None:
    asked = opened(page, charted)
    expect_bars(page, "AAPL", "1m", 500)
    canvas(page).hover()
    for _ in range(8):
        page.mouse.wheel(-6000, 0)
        page.wait_for_timeout(150)
    expect_bars(page, "AAPL", "1m", MINUTES)
    pages = [int(query["to"]) for name, query in asked if name == "history" and "countback" in query]
    assert len(pages) == 4  # 500, 500, 300, and that there are no more
    assert pages == sorted(set(pages), reverse=True)


def test_the_open_bar_and_the_price_come_by_asking_again(page: Page, charted: Tickwire) -> None:
    opened(page, charted, "?symbol=LIVE")
    expect(page.locator("#chart .note")).to_have_text("No candles yet.")
    for close, last in (("120.5", "120.75"), ("121.5", "1121.75")):
        charted.store.publish([Update("kline.1m.LIVE", msgspec.json.encode(open_bar(close)))])
        charted.publish("ticker.LIVE", ticker(last))
        expect(page.locator("[data-bar=close]")).to_have_text(f"{close}0")
        expect(page.locator("#symbol [data-part=last]")).to_have_text({"120.75": "120.75", "1121.75": "1,121.75"}[last])
    expect(page.locator("#symbol [data-part=change]")).to_have_text("▲ +1.50 (+1.50%)")


def test_a_search_asks_the_server_and_enter_shows_what_it_found(page: Page, charted: Tickwire) -> None:
    asked = opened(page, charted)
    expect_live(page)
    page.keyboard.press("/")
    page.keyboard.type("micro")
    expect(page.locator("#found li")).to_have_text([re.compile("MSFT")])
    page.keyboard.press("Enter")
    expect_bars(page, "MSFT", "1m", 10)
    assert ("search", {"query": "micro", "limit": "8"}) in asked
    expect(page.locator("#symbol-title")).to_have_text("MSFT")
    expect(page.locator("#symbol [data-part=simulated]")).to_be_visible()
    assert page.url.endswith("/chart/?symbol=MSFT&resolution=1")


def test_another_resolution_is_drawn_and_the_way_back_leads_to_the_one_before(page: Page, charted: Tickwire) -> None:
    opened(page, charted)
    expect_bars(page, "AAPL", "1m", 500)
    page.get_by_role("radio", name="1d").click()
    expect_bars(page, "AAPL", "1d", 30)
    expect(page.get_by_role("radio", name="1d")).to_have_attribute("aria-checked", "true")
    page.go_back()
    expect_bars(page, "AAPL", "1m", 500)


def test_a_symbol_without_bars_and_one_that_does_not_exist_are_said(page: Page, charted: Tickwire) -> None:
    note = page.locator("#chart .note")
    opened(page, charted, "?symbol=EMPTY")
    expect(note).to_have_text("No candles yet.")
    opened(page, charted, "?symbol=NOPE")
    expect(note).to_have_text("there is no instrument 'NOPE'")
    page.locator("#search input").fill("AAPL")
    expect(page.locator("#found b")).to_have_text(["AAPL"])
    page.keyboard.press("Enter")
    expect_bars(page, "AAPL", "1m", 500)


def test_while_the_server_does_not_answer_the_page_says_so_and_goes_on_by_itself(page: Page, charted: Tickwire) -> None:
    opened(page, charted)
    expect_live(page)
    page.route("**/udf/**", lambda route: route.abort())
    expect(page.locator("#status")).to_have_attribute("data-state", "waiting")
    expect(page.locator("#status")).to_have_text(re.compile("No answer"))
    told = r"^The server cannot be reached\. Prices are those of \d\d:\d\d:\d\d\.$"
    expect(page.locator("#banner")).to_have_text(re.compile(told))
    expect(page.locator("body")).to_have_class(re.compile("offline"))
    page.unroute("**/udf/**")
    expect_live(page)
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("body")).not_to_have_class(re.compile("offline"))


def test_prices_of_a_server_that_says_nothing_at_all_are_not_called_live(page: Page, charted: Tickwire) -> None:
    opened(page, charted)
    expect_live(page)
    page.route("**/udf/**", lambda _: None)
    expect(page.locator("#status")).to_have_attribute("data-state", "waiting", timeout=20_000)
    expect(page.locator("#banner")).to_have_text(re.compile(r"^The server does not answer\. Prices are those of "))


def test_enter_shows_what_is_typed_and_not_what_was_found_before_it(page: Page, charted: Tickwire) -> None:
    opened(page, charted)
    expect_live(page)
    page.focus("#search input")
    expect(page.locator("#found b").first).to_have_text("AAPL")
    page.fill("#search input", "MSFT")
    page.keyboard.press("Enter")
    expect_bars(page, "MSFT", "1m", 10)


def test_a_narrow_window_shows_everything_and_never_scrolls_sideways(page: Page, charted: Tickwire) -> None:
    page.set_viewport_size({"width": 380, "height": 740})
    opened(page, charted)
    expect_bars(page, "AAPL", "1m", 500)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    assert canvas(page).bounding_box()["height"] > 350
    for part in ("#symbol [data-part=ask]", "#resolutions button:last-child", "#search input", "#status"):
        box = page.locator(part).bounding_box()
        assert box["x"] >= 0, part
        assert box["x"] + box["width"] <= 380, part


def test_the_dashboard_leads_to_the_chart_of_the_shown_symbol(page: Page, charted: Tickwire) -> None:
    page.goto(f"{charted.url}/#MSFT/1m")
    page.get_by_role("link", name="Chart", exact=True).click()
    expect_bars(page, "MSFT", "1m", 10)
    page.locator("footer").get_by_role("link", name="Markets").click()
    expect(page.locator("#symbol-title")).to_have_text("MSFT")


@pytest.mark.parametrize(("path", "ways"), [
    ("/", ["Chart", "Monitor", "Admin", "API", "TradingView"]),
    ("/chart/", ["Markets", "Monitor", "Admin", "API", "TradingView"]),
])  # fmt: skip
def test_every_page_leads_to_the_others_and_fits_them_in(page: Page, charted: Tickwire, path: str, ways: list[str]) -> None:
    page.set_viewport_size({"width": 380, "height": 740})
    page.goto(charted.url + path)
    links = page.locator("footer a")
    assert [text.split()[-1] for text in links.all_inner_texts()] == ways
    expect(page.locator("#zone")).to_have_text("Asia/Tokyo")
    for part in [page.locator("#zone"), *links.all()]:
        box = part.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 380
