"""The shipped server, traced: what it delivers reaches a collector."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.system.conftest import SERVE, Tickwire, run_server, wait_for


class Collector:
    """Takes what exporters send."""

    def __init__(self) -> None:
        self.taken = b""
        collector = self

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.taken += self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def traced(collector: Collector, redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    endpoint = f"http://127.0.0.1:{collector.server.server_port}/v1/traces"
    yield from run_server(tmp_path, redis_url, prefix, SERVE, TICKWIRE_TRACING_ENDPOINT=endpoint, TICKWIRE_TRACING_RATIO="1")


async def test_what_a_server_delivers_is_a_span_that_a_collector_gets(traced: Tickwire, collector: Collector) -> None:
    async with traced.dial() as client:
        await client.ask("subscribe", topics=["trade.AAPL"])
        traced.publish("trade.AAPL", {"price": 1})
        await client.until(lambda message: message.get("seq") == 1)
    wait_for(lambda: b"deliver" in collector.taken and b"trade.AAPL" in collector.taken, traced)
