"""The times of updates in a process, and how often topics have any."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from marketdata.errors import StoreUnavailable
from marketdata.store import now_us
from monitoring.latency import KEPT, LatencyProbe
from realtime import rates as rates_module
from realtime.census import topics
from realtime.orders import FindHops, TraceNext
from realtime.rates import Rates
from realtime.steward import Steward
from tests.integration.conftest import Desk

QUOTE = '{"symbol":"AAPL","ts":%d,"bid":"1"}'


class Here:
    """As much of a node as the probe knows."""

    name = "here"

    def __init__(self, desk: Desk) -> None:
        self.hub = desk.hub
        self.steward = Steward(desk.hub, self.name, None, None, 1.0)  # type: ignore[arg-type]  # neither is asked


@pytest.fixture
def probe(desk: Desk) -> LatencyProbe:
    return LatencyProbe(Here(desk))  # type: ignore[arg-type]


async def follow(desk: Desk, *names: str, rate: float | None = None) -> Any:
    connection = desk.connect()
    await desk.subscribe(connection, *names, rate=rate)
    return connection


async def publish(desk: Desk, name: str) -> int:
    """Publish one and wait until it was flushed; its event time."""
    ts, seq, flushes = now_us(), desk.hub.entries[name].seq, desk.hub.counts["flushes"]
    await desk.publish(name, QUOTE % ts)
    await desk.until(lambda: desk.hub.entries[name].seq > seq and desk.hub.counts["flushes"] > flushes)
    return ts


async def test_a_sample_has_the_times_of_all_its_hops_in_order(desk: Desk, probe: LatencyProbe) -> None:
    await follow(desk, "quote.AAPL")
    await probe.look()
    ts = await publish(desk, "quote.AAPL")
    await probe.look()
    (sample,) = probe.samples
    assert (sample.topic, sample.seq, sample.node, sample.event_us, sample.asked) == ("quote.AAPL", 1, "here", ts, False)
    assert sample.published_us is not None
    assert sample.received_us is not None
    assert sample.written_us is not None
    assert ts <= sample.published_us <= sample.received_us <= sample.written_us
    assert sum(probe.histogram.counts) == 1


async def test_one_update_is_noted_between_two_looks(desk: Desk, probe: LatencyProbe) -> None:
    await follow(desk, "quote.AAPL")
    await probe.look()
    await publish(desk, "quote.AAPL")
    assert not desk.hub.hops.wanted
    await publish(desk, "quote.AAPL")
    await probe.look()
    assert [sample.seq for sample in probe.samples] == [1]


async def test_the_last_hundred_samples_are_kept(desk: Desk, probe: LatencyProbe) -> None:
    await follow(desk, "quote.AAPL")
    for _ in range(KEPT + 3):
        await probe.look()
        await publish(desk, "quote.AAPL")
    await probe.look()
    assert [sample.seq for sample in probe.samples] == list(range(4, KEPT + 4))


async def test_the_next_update_of_a_topic_is_traced_when_somebody_asks(desk: Desk, probe: LatencyProbe) -> None:
    await follow(desk, "quote.AAPL", "quote.MSFT")
    assert probe._trace(TraceNext("", "quote.AAPL", 5.0))
    await publish(desk, "quote.MSFT")
    for _ in range(2):
        await publish(desk, "quote.AAPL")
    await probe.look()
    assert [(traced.topic, traced.seq, traced.asked) for traced in probe.asked] == [("quote.AAPL", 1, True)]
    found = probe._find(FindHops(reply_to="", topic="quote.AAPL", asked=True))
    assert (found.node, found.seq, [each.seq for each in found.traced]) == ("here", 2, [1])


async def test_a_trace_that_nothing_comes_for_is_forgotten(desk: Desk, probe: LatencyProbe) -> None:
    await follow(desk, "quote.AAPL")
    assert probe._trace(TraceNext("", "quote.AAPL", 0.0))
    await probe.look()
    await publish(desk, "quote.AAPL")
    await probe.look()
    assert not probe.asked


async def test_where_nobody_follows_a_topic_nothing_is_traced(desk: Desk, probe: LatencyProbe) -> None:
    connection = await follow(desk, "quote.AAPL")
    desk.hub.unsubscribe(connection, ["quote.AAPL"])
    assert not probe._trace(TraceNext("", "quote.AAPL", 5.0))
    assert not probe._trace(TraceNext("", "quote.MSFT", 5.0))
    assert probe._find(FindHops(reply_to="", topic="quote.AAPL")).seq is None


async def test_an_update_that_nobody_wants_so_soon_has_no_time_of_writing(desk: Desk, probe: LatencyProbe) -> None:
    await follow(desk, "quote.AAPL", rate=0.1)
    for _ in range(2):
        probe._trace(TraceNext("", "quote.AAPL", 5.0))
        await publish(desk, "quote.AAPL")
        await probe.look()
    assert [(bool(traced.received_us), bool(traced.written_us)) for traced in probe.asked] == [(True, True), (True, False)]


async def test_while_the_store_is_away_no_sample_is_taken(
    desk: Desk, probe: LatencyProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    await follow(desk, "quote.AAPL")
    await probe.look()
    await publish(desk, "quote.AAPL")

    async def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("Redis: away")

    monkeypatch.setattr(desk.store, "history", away)
    await probe.look()
    assert not probe.samples


async def test_topics_are_ranked_by_what_is_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "SHORT_S", 0.1)
    await follow(desk, "quote.AAPL")
    for _ in range(2):
        await follow(desk, "quote.MSFT")
    for name in ("quote.AAPL", "quote.MSFT"):
        await publish(desk, name)
    rates = Rates(desk.hub)
    measuring = asyncio.create_task(rates.measure())
    await asyncio.sleep(0)
    for _ in range(5):
        await publish(desk, "quote.AAPL")
    found = await measuring
    assert found["quote.MSFT"] == 0
    assert 5 / 2 < found["quote.AAPL"] <= 5 / 0.1
    ranked = {by: [row.topic for row in topics(desk.hub, 9, by, found).topics] for by in ("subscribers", "rate", "bytes")}  # type: ignore[arg-type]
    assert ranked == {
        "subscribers": ["quote.MSFT", "quote.AAPL"],
        "rate": ["quote.AAPL", "quote.MSFT"],
        "bytes": ["quote.AAPL", "quote.MSFT"],
    }
    row = topics(desk.hub, 1, "rate", found).topics[0]
    assert row.bytes == pytest.approx(row.rate * len(QUOTE % now_us()), rel=0.01)


async def test_who_asks_soon_after_another_gets_the_same_rates(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "SHORT_S", 0.05)
    await follow(desk, "quote.AAPL")
    rates = Rates(desk.hub)
    first, second = await asyncio.gather(rates.measure(), rates.measure())
    assert first is second


async def test_a_new_epoch_gives_no_rate(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates_module, "SHORT_S", 0.05)
    await follow(desk, "quote.AAPL")
    await publish(desk, "quote.AAPL")
    rates = Rates(desk.hub)
    measuring = asyncio.create_task(rates.measure())
    await asyncio.sleep(0)
    desk.hub.deliver(desk.hub.entries["quote.AAPL"], "zzzzzz", 900, b"{}")
    assert "quote.AAPL" not in await measuring
