"""The page at `/` in a real browser, on the shipped server."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import msgspec
from playwright.sync_api import Page, expect

from marketdata.store import Update
from tests.system.conftest import SERVE, SYMBOLS, Tickwire, run_server

MINUTE = 60_000_000


def opened(page: Page, server: Tickwire, path: str = "/") -> Page:
    """The page, once it is live."""
    page.goto(server.url + path)
    expect(page.locator("#status")).to_have_attribute("data-state", "live", timeout=15_000)
    return page


def now_us() -> int:
    return time.time_ns() // 1000


def ticker(symbol: str, last: str, change: str = "1.5", percent: str = "0.75") -> dict[str, Any]:
    return {
        "symbol": symbol, "ts": now_us(), "last": last, "open": "100", "high": "2000", "low": "50", "prev_close": "100",
        "change": change, "change_percent": percent, "volume": "1234567", "turnover": "1",
    }  # fmt: skip


def depth(symbol: str, bid: str, ask: str) -> dict[str, Any]:
    return {"symbol": symbol, "ts": now_us(), "bids": [[bid, "7"]], "asks": [[ask, "9"]]}


def trade(symbol: str, id: str, price: str, side: str = "buy") -> dict[str, Any]:
    return {"symbol": symbol, "ts": now_us(), "id": id, "price": price, "size": "3", "side": side}


def kline(symbol: str, opening: int, close: str, *, closed: bool, revision: int = 0) -> dict[str, Any]:
    return {
        "symbol": symbol, "ts": opening + revision, "interval": "1m", "open_time": opening, "close_time": opening + MINUTE,
        "open": "10", "high": "99999", "low": "1", "close": close, "volume": "5", "turnover": "50", "trades": 2,
        "closed": closed, "revision": revision,
    }  # fmt: skip


def publish_bars(server: Tickwire, *bars: dict[str, Any]) -> None:
    """As ticks are written in the product: the hub knows a closed bar by its bytes."""
    server.store.publish([Update(f"kline.1m.{bar['symbol']}", msgspec.json.encode(bar)) for bar in bars])


def row(page: Page, symbol: str) -> Any:
    return page.locator(f'#watchlist [data-symbol="{symbol}"]')


def best_bid(page: Page) -> Any:
    return page.locator("#ladder .bids .price").first


def test_the_page_loads_without_an_error_and_lists_every_instrument(page: Page, tickwire: Tickwire) -> None:
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("response", lambda answer: wrong.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    opened(page, tickwire)
    assert sorted(page.locator("#watchlist .row .symbol").all_text_contents()) == sorted(SYMBOLS)
    expect(page.locator("#chart .stage .note")).not_to_have_text("Loading candles…")
    expect(page.locator("#status .latency")).to_have_text(re.compile(r"^[\d.]+ ms$"))
    assert wrong == []


def test_prices_move_and_say_their_direction_by_sign_as_well(page: Page, tickwire: Tickwire) -> None:
    opened(page, tickwire, "/#AAPL/1m")
    for last in ("189.1", "1189.25"):
        tickwire.publish("ticker.AAPL", ticker("AAPL", last))
        expect(row(page, "AAPL").locator(".last")).to_have_text({"189.1": "189.10", "1189.25": "1,189.25"}[last])
    expect(row(page, "AAPL").locator(".change")).to_have_text("▲ +0.75%")
    expect(page.locator("#symbol [data-part=last]")).to_have_text("1,189.25")
    expect(page).to_have_title("1,189.25 ▲ AAPL · Tickwire")
    tickwire.publish("ticker.AAPL", ticker("AAPL", "98", "-2", "-2"))
    expect(page.locator("#symbol [data-part=change]")).to_have_text("▼ −2.00 (−2.00%)")


def test_a_symbol_switch_changes_chart_ladder_tape_and_address(page: Page, tickwire: Tickwire) -> None:
    for symbol, price in (("AAPL", "111"), ("MSFT", "222")):
        tickwire.publish(f"depth.{symbol}", depth(symbol, price, price + ".5"))
        publish_bars(tickwire, kline(symbol, now_us() // MINUTE * MINUTE, price, closed=False))
        tickwire.publish(f"trade.{symbol}", trade(symbol, f"switch-{symbol}", price))
    opened(page, tickwire, "/#AAPL/1m")
    for symbol, price in (("AAPL", "111.00"), ("MSFT", "222.00")):
        row(page, symbol).click()
        expect(page.locator("#symbol-title")).to_have_text(symbol)
        expect(best_bid(page)).to_have_text(price)
        expect(page.locator("[data-bar=close]")).to_have_text(price)
        expect(page.locator(".trades .price").first).to_have_text(f"▲ {price}")
        assert page.url.endswith(f"#{symbol}/1m")


def test_quick_switching_never_mixes_symbols(page: Page, tickwire: Tickwire) -> None:
    opened(page, tickwire, "/#AAPL/1m")
    for symbol in ("MSFT", "AAPL") * 8:
        row(page, symbol).click(delay=0)
    for n in range(20):
        tickwire.publish("depth.MSFT", depth("MSFT", f"{300 + n}", "400"))
        tickwire.publish("depth.AAPL", depth("AAPL", f"{100 + n}", "200"))
        assert not best_bid(page).text_content().startswith("3")
    expect(best_bid(page)).to_have_text("119.00")
    expect(page.locator("#chart .canvas")).to_have_attribute("aria-label", re.compile("^Candles of AAPL"))


def test_history_and_live_bars_join_without_hole_or_duplicate(page: Page, tickwire: Tickwire) -> None:
    chart, now = page.locator("#chart .canvas"), now_us() // MINUTE * MINUTE

    def publish(*steps: tuple[int, str, int | None]) -> None:
        """Bars of (minute from now, close, revision, or None while open), at once."""
        bars = [
            kline("600519.SH", now + minute * MINUTE, close, closed=revision is not None, revision=revision or 0)
            for minute, close, revision in steps
        ]
        publish_bars(tickwire, *bars)

    publish((-3, "20", 0), (-2, "20", 0), (-1, "20", 0), (0, "21", None))
    opened(page, tickwire, "/#600519.SH/1m")
    expect(chart).to_have_attribute("aria-label", "Candles of 600519.SH, 1m each: 4 bars")
    for steps, close, count in (
        ([(0, "22", 0), (1, "23", None)], "23.00", 5),
        ([(0, "24", 1), (1, "25", None)], "25.00", 5),
        ([(1, "26", 0), (2, "27", 0), (3, "28", 0), (4, "29", None)], "29.00", 8),
    ):
        publish(*steps)
        expect(page.locator("[data-bar=close]")).to_have_text(close)
        expect(chart).to_have_attribute("aria-label", f"Candles of 600519.SH, 1m each: {count} bars")


def test_bars_that_came_while_nothing_was_painted_are_drawn_together(page: Page, tickwire: Tickwire) -> None:
    """As in a tab in the background."""
    now, frames = now_us() // MINUTE * MINUTE, list[str]()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    publish_bars(tickwire, kline("BTC-USDT", now, "21", closed=False))
    opened(page, tickwire, "/#BTC-USDT/1m")
    expect(page.locator("[data-bar=close]")).to_have_text("21.00")
    page.wait_for_load_state("networkidle")
    page.evaluate("() => { real = requestAnimationFrame; held = []; requestAnimationFrame = (paint) => held.push(paint); }")
    bars = [kline("BTC-USDT", now + minute * MINUTE, "22", closed=True) for minute in (0, 1, 2)]
    publish_bars(tickwire, *bars)
    for _ in range(500):
        page.wait_for_timeout(10)
        if "".join(frames).count('"closed":true') == len(bars):
            break
    page.evaluate("() => { requestAnimationFrame = real; held.forEach((paint) => paint(performance.now())); }")
    expect(page.locator("#chart .canvas")).to_have_attribute("aria-label", "Candles of BTC-USDT, 1m each: 3 bars")
    expect(page.locator("[data-bar=close]")).to_have_text("22.00")


def test_a_server_restart_mends_itself(page: Page, own_tickwire: Tickwire) -> None:
    opened(page, own_tickwire, "/#AAPL/1m")
    own_tickwire.publish("ticker.AAPL", ticker("AAPL", "150"))
    expect(row(page, "AAPL").locator(".last")).to_have_text("150.00")
    own_tickwire.stop()
    expect(page.locator("#banner")).to_contain_text("The connection was lost.")
    own_tickwire.publish("ticker.AAPL", ticker("AAPL", "151"))
    own_tickwire.start()
    expect(page.locator("#status")).to_have_attribute("data-state", "live", timeout=35_000)
    expect(page.locator("#banner")).to_be_hidden()
    expect(row(page, "AAPL").locator(".last")).to_have_text("151.00")
    own_tickwire.publish("ticker.AAPL", ticker("AAPL", "152"))
    expect(row(page, "AAPL").locator(".last")).to_have_text("152.00")


def test_trades_of_an_outage_are_read_again(page: Page, own_tickwire: Tickwire) -> None:
    opened(page, own_tickwire, "/#AAPL/1m")
    own_tickwire.publish("trade.AAPL", trade("AAPL", "1", "10"))
    expect(page.locator(".trades .price:visible")).to_have_text(["▲ 10.00"])
    own_tickwire.stop()
    own_tickwire.publish("trade.AAPL", *(trade("AAPL", str(n), f"{n}0", "sell") for n in (2, 3, 4)))
    own_tickwire.start()
    expect(page.locator(".trades .price:visible")).to_have_text(["▼ 40.00", "▼ 30.00", "▼ 20.00", "▲ 10.00"], timeout=35_000)


def test_a_plan_without_depth_says_so(page: Page, redis_url: str, prefix: str, tmp_path: Path) -> None:
    server = run_server(tmp_path, redis_url, prefix, SERVE, TICKWIRE_DASHBOARD_PLAN="")
    opened(page, next(server))
    expect(page.locator("#ladder .note")).to_contain_text("Your plan does not include order-book depth.")
    next(server, None)


def test_slash_finds_and_enter_shows(page: Page, tickwire: Tickwire) -> None:
    opened(page, tickwire, "/#AAPL/5m")
    page.keyboard.press("/")
    page.keyboard.type("600")
    expect(page.locator("#found [role=option]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#symbol-title")).to_have_text("600519.SH")
    assert page.url.endswith("#600519.SH/5m")


def test_arrow_keys_walk_the_watchlist_and_enter_chooses(page: Page, tickwire: Tickwire) -> None:
    opened(page, tickwire, "/#AAPL/1m")
    row(page, "AAPL").focus()
    page.keyboard.press("End")
    last = page.locator("#watchlist .row").last
    expect(last).to_be_focused()
    page.keyboard.press("Enter")
    expect(last).to_have_attribute("aria-selected", "true")


def test_a_narrow_window_shows_one_panel_at_a_time_and_never_scrolls_sideways(page: Page, tickwire: Tickwire) -> None:
    page.set_viewport_size({"width": 380, "height": 740})
    opened(page, tickwire)
    for view, panel in (("markets", "#watchlist"), ("chart", "#chart"), ("ladder", "#ladder"), ("tape", "#tape")):
        page.locator(f"#views [data-value={view}]").click()
        for other in ("#watchlist", "#chart", "#ladder", "#tape"):
            expect(page.locator(other)).to_be_visible(visible=other == panel)
        assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_the_chosen_theme_is_kept(page: Page, tickwire: Tickwire) -> None:
    opened(page, tickwire)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("[data-theme-switch]").click()
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_times_are_the_visitors(page: Page, tickwire: Tickwire) -> None:
    (at,) = (1_767_225_600_000_000,)  # 2026-01-01 00:00 UTC, 09:00 in Tokyo
    tickwire.publish("trade.BTC-USDT", {**trade("BTC-USDT", "zone", "1"), "ts": at})
    opened(page, tickwire, "/#BTC-USDT/1m")
    expect(page.locator(".trades .time").first).to_have_text("09:00:00")
    expect(page.locator("#zone")).to_have_text("Asia/Tokyo")
