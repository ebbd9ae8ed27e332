"""What anybody may send to the shipped server before saying who it is, and what its answers allow other pages."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from email.message import Message

import pytest

from tests.system.conftest import Tickwire

START = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
ENDLESS = 20  # times six MiB
KEPT = 24 << 20  # bytes that the process may have grown by


def headers(server: Tickwire, path: str) -> Message:
    """Those of an answer, whatever its status."""
    asked = urllib.request.Request(server.url + path, headers={"Origin": "https://evil.example"})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.headers
    except urllib.error.HTTPError as error:
        return error.headers


def send_on(peer: socket.socket, more: bytes) -> None:
    for _ in range(ENDLESS):
        peer.sendall(more)


@pytest.mark.parametrize("begin", [b"GET /", START, START + b"X: "])
def test_a_head_without_end_costs_no_memory(tickwire: Tickwire, begin: bytes) -> None:
    more = (b"a: b\r\n" if begin is START else b"aaaaaa") * (1 << 20)
    before = tickwire.resident_bytes()
    with socket.create_connection(("127.0.0.1", tickwire.port), timeout=20) as peer:
        peer.sendall(begin)
        with pytest.raises(ConnectionError):
            send_on(peer, more)
    assert tickwire.resident_bytes() - before < KEPT
    assert tickwire.get("/health/live")[0] == 200


def test_requests_for_other_hosts_are_a_few_lines_and_no_failures(tickwire: Tickwire) -> None:
    before = tickwire.log.read_text()
    for number in range(60):
        assert tickwire.get("/", Host=f"evil{number}.example")[0] == 400
    lines = [json.loads(line) for line in tickwire.log.read_text().removeprefix(before).splitlines()]
    assert "evil0.example" in lines[0]["message"]
    assert {line["level"] for line in lines} == {"warning"}
    assert not any("exception" in line for line in lines)
    assert len(lines) < 60


@pytest.mark.parametrize("path", ["/static/dashboard/icon.svg", "/api/v1/me/", "/", "/udf/time", "/health/live", "/metrics"])
def test_no_answer_allows_another_origin_to_read_it(tickwire: Tickwire, path: str) -> None:
    assert headers(tickwire, path)["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/static/nothing", "/static/dashboard/icon.svg", "/api/v1/me/", "/health/live", "/metrics"]
)
def test_every_answer_says_what_browsers_shall_refuse(tickwire: Tickwire, path: str) -> None:
    said = headers(tickwire, path)
    assert said["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in said["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in said["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["me/", "me/limits/", "keys/", "admin/stats/", "nodes/best/", "snapshots/?topics=quote.AAPL"])
def test_no_shared_cache_keeps_what_rest_says(tickwire: Tickwire, path: str) -> None:
    assert "private" in headers(tickwire, f"/api/v1/{path}")["Cache-Control"]
