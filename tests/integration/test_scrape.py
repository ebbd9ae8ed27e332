"""What `/metrics` tells of a serving process and of Redis, in a process with a Redis of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from marketdata.layer import pack
from marketdata.layout import Layout
from marketdata.store import Store
from monitoring.installation import Snapshot
from monitoring.reports import Report
from monitoring.scrape import Scrape
from monitoring.watch import HEARD_S, Watch, watches
from realtime.connection import Connection
from realtime.frames import encoding
from tests.integration.conftest import ListSink
from tests.own_redis import OwnRedis, running

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    with running(tmp_path_factory.mktemp("scrape") / "redis") as found:
        yield found


@pytest.fixture
async def watch(own_redis: OwnRedis, prefix: str, settings: Any) -> AsyncIterator[Watch]:
    """One that reports only when it is asked."""
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=own_redis.url, prefix=prefix)
    observing = dataclasses.replace(settings.TICKWIRE.observing, reporting=False)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus, observing=observing)
    layer = settings.CHANNEL_LAYERS["default"] | {"CONFIG": {"url": own_redis.url, "prefix": prefix}}
    settings.CHANNEL_LAYERS = {"default": layer}
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("monitoring.registry.store", lambda: Store(own_redis.url, Layout(prefix), 0.2))
    monkeypatch.setattr("monitoring.scrape.store", lambda: Store(own_redis.url, Layout(prefix), 0.2))
    found = await watches.here()
    async with asyncio.timeout(10):
        while not found.canary.alive:
            await asyncio.sleep(0.01)
    yield found
    monkeypatch.undo()


def of(report: Report, name: str, **labels: str) -> float:
    (found,) = [each.value for each in report.samples if each.name == name and dict(each.labels) == labels]
    return found


async def scrape(watch: Watch) -> dict[tuple[str, str], float]:
    """Values by name and role."""
    text = (await Scrape().text(watch)).decode()
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    return {(each.name, each.labels.get("role", "")): each.value for each in samples}


async def test_what_one_process_tells_of_itself_the_next_one_tells_of_it_too(watch: Watch, own_redis: OwnRedis) -> None:
    await watch.write()
    watch.node.hub.counts["delivered"] = 1000
    assert (await scrape(watch))["tickwire_updates_delivered_total", "web"] == 1000
    (others_know,) = Snapshot.take(Store(own_redis.url, watch.node.hub.layout)).reports
    assert of(others_know, "tickwire_updates_delivered_total") == 1000


async def test_the_first_report_knows_that_redis_answers(watch: Watch) -> None:
    found = await scrape(watch)
    assert found["tickwire_redis_up", "web"] == 1
    assert 0 < found["tickwire_redis_round_trip_seconds", "web"] < 5


async def test_who_finds_redis_frozen_says_so_at_once(watch: Watch, own_redis: OwnRedis) -> None:
    assert (await scrape(watch))["tickwire_redis_up", "web"] == 1
    own_redis.freeze()
    try:
        found = await scrape(watch)
    finally:
        own_redis.thaw()
    assert found["tickwire_redis_up", "web"] == 0
    assert ("tickwire_processes", "web") not in found
    assert (await scrape(watch))["tickwire_redis_up", "web"] == 1


async def test_bytes_of_clients_that_came_and_went_between_two_reports_are_counted(watch: Watch) -> None:
    hub = watch.node.hub
    connection = Connection("short", None, ListSink(), encoding(framed=False), opened_us=0)
    hub.attach(connection)
    connection.say(b'{"type":"pong"}')
    sent = of(watch.report(), "tickwire_sent_bytes_total")
    assert sent > 0
    hub.detach(connection)
    hub.detach(connection)
    assert of(watch.report(), "tickwire_sent_bytes_total") == sent


@pytest.mark.parametrize("what", ["commands", "joins"])
async def test_a_breaker_of_the_sockets_is_told_of(watch: Watch, what: str) -> None:
    breaker = {"commands": watch.node.store.breaker, "joins": watch.node.hub.joins}[what]
    assert of(watch.report(), "tickwire_breaker_open", what=what) == 0
    breaker.state = "open"
    assert of(watch.report(), "tickwire_breaker_open", what=what) == 1


async def test_what_a_probe_found_of_the_database_counts_for_a_while(watch: Watch) -> None:
    now = watch.node.hub.time()
    assert of(watch.report(), "tickwire_ready") == 1
    watch.database.note("no answer", now)
    assert watch.failed() == {"database": "no answer"}
    assert of(watch.report(), "tickwire_ready") == 0
    watch.database.note("no answer", now - HEARD_S)
    assert of(watch.report(), "tickwire_ready") == 1


async def test_a_canary_that_is_late_is_measured_from_its_own_start(watch: Watch) -> None:
    watch.canary._back(pack({"type": "canary", "sent": time.perf_counter() - 3}))
    assert watch.canary.latency_s >= 3
