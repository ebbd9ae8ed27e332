"""The README's examples, run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.system.conftest import ROOT, Tickwire

QUOTE = {"symbol": "AAPL", "ts": 1, "bid": "228.31", "bid_size": "2", "ask": "228.33", "ask_size": "1"}


def block(language: str, server: Tickwire) -> str:
    """The README's code block in that language, with the test server's address."""
    found = re.search(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    return found[1].replace("127.0.0.1:8000", f"127.0.0.1:{server.port}").replace("BTC-USDT", "AAPL")


@pytest.fixture
def moving(tickwire: Tickwire) -> Iterator[Tickwire]:
    """A server on which something is published all the time."""
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            tickwire.publish("trade.AAPL", {"symbol": "AAPL", "price": "228.33"})
            tickwire.publish("quote.AAPL", QUOTE)
            time.sleep(0.05)

    thread = threading.Thread(target=publish)
    thread.start()
    yield tickwire
    stop.set()
    thread.join()


def test_the_python_example_prints_updates(moving: Tickwire) -> None:
    with subprocess.Popen([sys.executable, "-u", "-c", block("python", moving)], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(3)]
        program.terminate()
    assert all(line.startswith("trade.AAPL") and "228.33" in line for line in lines)


@pytest.mark.parametrize("document", ["README.md", "docs/protocol.md"])
def test_what_curl_is_told_to_fetch_is_there(moving: Tickwire, document: str) -> None:
    addresses = re.findall(r'^\$ curl .*"http://127.0.0.1:8000(/.+)"$', (ROOT / document).read_text(), re.MULTILINE)
    assert addresses
    for address in addresses:
        with urllib.request.urlopen(moving.url + address.replace("BTC-USDT", "AAPL")) as answer:
            assert answer.headers["Content-Type"] == "application/json"


ADD_SCRIPT = """([text, nonce]) => {
    const script = Object.assign(document.createElement("script"), { type: "module", nonce, textContent: text });
    document.body.append(script);
}"""


def test_the_browser_example_shows_the_quote_under_the_pages_policy(moving: Tickwire, page: Page) -> None:
    script = re.search(r"<script type=\"module\" nonce=\".+?\">(.*)</script>", block("html", moving), re.DOTALL)
    page.route("**/dashboard/main.js", lambda route: route.abort())  # the page's own script, which the example's would disturb
    answer = page.goto(moving.url)
    assert answer is not None
    nonce = re.search("'nonce-(.+?)'", answer.headers["content-security-policy"])
    assert script is not None
    assert nonce is not None
    page.evaluate(ADD_SCRIPT, [script[1], nonce[1]])
    expect(page.locator("body")).to_contain_text("228.31 / 228.33", timeout=15_000)
