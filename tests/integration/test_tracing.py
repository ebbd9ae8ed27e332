"""Spans of updates that go from a publisher through a real Redis to sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from marketdata import hops
from marketdata.batch import Mark
from marketdata.layout import Layout
from marketdata.publisher import AsyncPublisher, Publisher
from marketdata.store import AsyncStore, Store, Update, now_us
from marketdata.ticks import Quote
from monitoring import tracing
from monitoring.tracing import Tracing
from realtime.hub import Hub
from tests.integration.conftest import Desk, messages


class Traced:
    """A tracing whose spans are kept."""

    def __init__(self, ratio: float = 1.0) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(self.exporter, ratio, "web")

    def spans(self, name: str = "") -> list[ReadableSpan]:
        self.tracing.provider.force_flush()
        return [span for span in self.exporter.get_finished_spans() if name in ("", span.name)]


@pytest.fixture
def traced() -> Iterator[Traced]:
    found = Traced()
    hops.follow(found.tracing)
    yield found
    hops.follow(None)
    found.tracing.stop()


@pytest.fixture
async def traced_desk(traced: Traced, desk: Desk, redis_url: str, prefix: str) -> Desk:
    """A hub that was made while tracing was on."""
    assert desk.hub.traced is not None
    return desk


async def test_one_update_is_one_trace_from_publish_to_deliver(traced_desk: Desk, traced: Traced) -> None:
    connection = traced_desk.connect()
    await traced_desk.subscribe(connection, "quote.AAPL")
    began_us = now_us()
    await traced_desk.publish("quote.AAPL", '{"bid":1}')
    await traced_desk.until(lambda: traced.spans("deliver"))
    ended_us = now_us()

    publish, store, deliver = (traced.spans(name)[0] for name in ("publish", "store", "deliver"))
    assert len({span.context.trace_id for span in (publish, store, deliver)}) == 1
    assert publish.parent is None
    assert {span.parent.span_id for span in (store, deliver) if span.parent} == {publish.context.span_id}
    assert (publish.kind, store.kind, deliver.kind) == (SpanKind.PRODUCER, SpanKind.CLIENT, SpanKind.CONSUMER)
    times = [began_us * 1000, publish.start_time, store.start_time, deliver.start_time, deliver.end_time, ended_us * 1000]
    assert times == sorted(times)
    assert store.start_time <= store.end_time <= publish.end_time <= ended_us * 1000
    (kept,) = (await traced_desk.store.history("quote.AAPL")).updates
    assert store.start_time == kept.published_us * 1000


async def test_spans_say_which_update_and_how_many(traced_desk: Desk, traced: Traced) -> None:
    connections = [traced_desk.connect() for _ in range(3)]
    for connection in connections:
        await traced_desk.subscribe(connection, "trade.AAPL")
    await traced_desk.publish("trade.AAPL", '{"price":1}', '{"price":2}')
    await traced_desk.until(lambda: len(traced.spans("deliver")) == 2)
    epoch = traced_desk.hub.entries["trade.AAPL"].epoch
    stamps = {"tickwire.topic": "trade.AAPL", "tickwire.epoch": epoch}
    for name, size in {
        "publish": {"tickwire.batch": 2},
        "store": {"tickwire.batch": 2},
        "deliver": {"tickwire.receivers": 3},
    }.items():
        assert [dict(span.attributes or {}) for span in traced.spans(name)] == [
            stamps | {"tickwire.seq": seq} | size for seq in (1, 2)
        ]


async def test_publisher_and_hub_pick_the_same_updates_and_no_others(desk: Desk, redis_url: str, prefix: str) -> None:
    publishing, serving = Traced(0.2), Traced(0.2)
    hops.follow(serving.tracing)
    hub = Hub(desk.hub.bus, desk.store, desk.hub.layout)
    hops.follow(publishing.tracing)
    try:
        other = Desk(hub, desk.store, desk.layer)
        connection = other.connect()
        await other.subscribe(connection, "trade.AAPL")
        await other.publish("trade.AAPL", *(f'{{"price":{number}}}' for number in range(200)))
        await other.until(lambda: len(messages(connection)) == 200)
        await other.until(lambda: len(serving.spans("deliver")) == len(publishing.spans("store")))
    finally:
        hops.follow(None)
        await hub.stop()
    found = {span.context.trace_id for span in serving.spans()}
    assert found == {span.context.trace_id for span in publishing.spans()}
    assert 10 < len(found) < 90
    assert {span.name for span in serving.spans()} == {"deliver"}
    publishing.tracing.stop()
    serving.tracing.stop()


async def test_what_waits_for_a_rate_is_not_said_to_be_delivered(traced_desk: Desk, traced: Traced) -> None:
    connection = traced_desk.connect()
    await traced_desk.subscribe(connection, "quote.AAPL", rate=0.01)
    await traced_desk.publish("quote.AAPL", '{"bid":1}')
    await traced_desk.publish("quote.AAPL", '{"bid":2}')
    await traced_desk.until(
        lambda: traced_desk.hub.entries["quote.AAPL"].seq == 2 and not traced_desk.hub.entries["quote.AAPL"].pending
    )
    assert traced.spans("deliver") == []
    assert len(traced.spans("publish")) == 2


async def test_both_publishers_are_traced(traced: Traced, redis_url: str, prefix: str) -> None:
    quote = Quote(symbol="AAPL", ts=1, bid=1.0, ask=2.0, bid_size=1.0, ask_size=1.0)
    Publisher(Store(redis_url, Layout(prefix))).publish([quote])
    store = AsyncStore(redis_url, Layout(prefix))
    await AsyncPublisher(store).publish([quote])
    await store.close()
    assert [(span.attributes or {})["tickwire.seq"] for span in traced.spans("publish")] == [1, 2]


async def test_a_batch_that_was_refused_has_no_spans(traced: Traced, redis_url: str, prefix: str) -> None:
    store = AsyncStore(redis_url, Layout(prefix))
    for _ in range(2):
        await store.publish([Update("trade.AAPL", b"{}")], mark=Mark("writer", 1))
    await store.close()
    assert len(traced.spans("publish")) == 1


async def test_without_tracing_a_hub_has_nothing_to_tell(desk: Desk) -> None:
    assert hops.follower() is None
    assert desk.hub.traced is None


class Collector(BaseHTTPRequestHandler):
    """Takes what an exporter sends."""

    taken: list[tuple[str, bytes]] = []

    def do_POST(self) -> None:
        self.taken.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_spans_reach_a_collector_before_the_process_ends() -> None:
    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = tracing.start(f"http://127.0.0.1:{server.server_port}/v1/traces", 1.0, "feed")
    try:
        found.published([Update("trade.AAPL", b"{}")], "k3x9qa", [1], now_us(), now_us())
        found.stop()
    finally:
        hops.follow(None)
        server.shutdown()
        server.server_close()
    ((path, body),) = Collector.taken
    assert path == "/v1/traces"
    assert body.count(b"trade.AAPL") == 2


@pytest.mark.timeout(30)
def test_a_collector_that_never_answers_does_not_keep_the_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = tracing.start(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces", 1.0, "feed")
        try:
            found.published([Update("trade.AAPL", b"{}")], "k3x9qa", [1], now_us(), now_us())
            found.stop()
        finally:
            hops.follow(None)
        silent.settimeout(5)
        asking, _ = silent.accept()
        with asking:
            assert asking.recv(4) == b"POST"
