"""Metrics, health and the registry of a running installation: two serving processes, feed, worker and beat."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.metrics import METRICS
from tests.own_redis import OwnRedis
from tests.system.conftest import ROOT, SERVE, SYMBOLS, Tickwire, run_server, wait_for
from tests.system.test_live_limits import bearer

PLANT = f"""
from django.contrib.auth.models import User
from marketdata.models import Instrument
from realtime.keys import create_key
from realtime.models import Plan
for symbol in {SYMBOLS!r}:
    Instrument.objects.get_or_create(symbol=symbol, defaults=dict(name=symbol, kind="stock"))
Plan.objects.update(connections_per_user=100)
print(create_key(User.objects.create_superuser("root"), is_staff=True)[1])
"""
OTHERS = {
    "worker": ["-m", "celery", "--quiet", "-A", "project", "worker", "--pool", "threads", "--concurrency", "2"],
    "beat": ["-m", "celery", "--quiet", "-A", "project", "beat"],
    "feed": ["manage.py", "feed"],
}
BY_EVENT = {  # these appear with the first event of their kind
    "tickwire_closes_total", "tickwire_errors_total", "tickwire_commands_total", "tickwire_task_failures_total",
}  # fmt: skip
ELSEWHERE = {"tickwire_database_pool_connections", "tickwire_alerts_firing"}  # PostgreSQL's; where there are rules


class Installation:
    """A server, its Redis, and the processes beside it."""

    def __init__(self, server: Tickwire, redis: OwnRedis) -> None:
        self.server, self.redis = server, redis

    def scrape(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        status, body = self.server.get("/metrics")
        assert status == 200, body
        return {
            (each.name, tuple(sorted(each.labels.items()))): each.value
            for family in text_string_to_metric_families(body.decode())
            for each in family.samples
        }

    def total(self, name: str, /, **labels: str) -> float:
        """The sum of a metric over its series with these labels."""
        return sum(
            value for (found, has), value in self.scrape().items() if found == name and labels.items() <= dict(has).items()
        )

    def until(self, condition: Any) -> Any:
        return wait_for(condition, self.server, 40)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("metrics")
    redis = OwnRedis(folder / "redis")
    redis.start()
    settings = {"TICKWIRE_FEEDS": "demo", "TICKWIRE_PUBLIC_ADDRESS": "wss://node.example.com"}
    servers = run_server(folder, redis.url, "metrics", [*SERVE, "--workers", "2"], plant=PLANT, **settings)
    server = next(servers)
    with ExitStack() as stack:
        for arguments in OTHERS.values():
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=ROOT, env=server.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
        yield Installation(server, redis)
    next(servers, None)
    redis.kill()


def names(found: Any) -> set[str]:
    """Of the metrics: a histogram's series count for one."""
    suffixes = ("_bucket", "_count", "_sum", "_created")
    return {next((name.removesuffix(end) for end in suffixes if name.removesuffix(end) in METRICS), name) for name, _ in found}


async def test_one_scrape_of_any_process_tells_of_all_roles_and_every_metric(installation: Installation) -> None:
    await asyncio.to_thread(
        installation.until, lambda: all(installation.total("tickwire_processes", role=role) for role in (*OTHERS, "web"))
    )
    assert installation.total("tickwire_processes", role="web") == 2
    async with installation.server.dial() as client:
        await client.ask("subscribe", topics=["quote.AAPL"])
        await client.ask("riot")
        await client.socket.send(b"not text")
        for _ in range(120):
            await client.socket.send("{")
        assert await client.closed() == (4507, "too_many_errors")
    wanted = {"tickwire_commands_total": {"op": "subscribe"}, "tickwire_errors_total": {"name": "unknown_op"}}
    wanted["tickwire_closes_total"] = {"code": "4507"}
    for name, labels in wanted.items():
        await asyncio.to_thread(installation.until, lambda name=name, labels=labels: installation.total(name, **labels))
    await asyncio.to_thread(installation.until, lambda: installation.total("tickwire_task_duration_seconds_count"))
    expected = METRICS.keys() - ELSEWHERE - (BY_EVENT - wanted.keys())
    await asyncio.to_thread(installation.until, lambda: names(installation.scrape()) >= expected)
    found = names(await asyncio.to_thread(installation.scrape))
    assert {name for name in found if name.startswith("tickwire_")} - METRICS.keys() == set()


async def test_what_is_delivered_is_counted_and_its_latency_sampled(installation: Installation) -> None:
    before = installation.total("tickwire_delivery_latency_seconds_count")
    async with installation.server.dial() as client:
        await client.ask("subscribe", topics=["trade.MSFT"])
        delivered = installation.total("tickwire_updates_delivered_total")
        for number in range(40):
            installation.server.publish("trade.MSFT", {"id": number})
            await client.until(lambda message: message["type"] in ("update", "snapshot"))
            await asyncio.sleep(0.05)
        assert installation.total("tickwire_connections") >= 1
        assert installation.total("tickwire_subscriptions") >= 1
        await asyncio.to_thread(
            installation.until, lambda: installation.total("tickwire_updates_delivered_total") >= delivered + 40
        )
        await asyncio.to_thread(
            installation.until, lambda: installation.total("tickwire_delivery_latency_seconds_count") > before
        )


def test_metrics_are_for_inner_networks(installation: Installation) -> None:
    status, body = installation.server.get("/metrics", **{"X-Forwarded-For": "203.0.113.9"})
    assert (status, b"TICKWIRE_METRICS_NETWORKS" in body) == (403, True)


def test_processes_are_listed_and_the_one_with_most_room_is_named(installation: Installation) -> None:
    key = installation.server.planted
    installation.until(lambda: len(_nodes(installation, key)) == 5)
    assert sorted(node["role"] for node in _nodes(installation, key)) == ["beat", "feed", "web", "web", "worker"]
    assert json.loads(installation.server.get("/api/v1/nodes/best/")[1]) == {"address": "wss://node.example.com"}
    assert installation.server.get("/api/v1/admin/nodes/")[0] == 401


def _nodes(installation: Installation, key: str) -> list[dict[str, Any]]:
    status, body = installation.server.get("/api/v1/admin/nodes/", **bearer(key))
    return list(json.loads(body)["nodes"]) if status == 200 else []


async def test_connections_are_spread_again(installation: Installation) -> None:
    server, clients = installation.server, []
    try:
        for _ in range(12):
            dialled = server.dial()
            client = await dialled.__aenter__()
            clients.append((dialled, client, (await client.receive())["node"]))
        node = max({node for *_, node in clients}, key=lambda name: sum(node == name for *_, node in clients))
        for dialled, _, where in clients:
            if where != node:
                await dialled.__aexit__(None, None, None)
        stay = [client for _, client, where in clients if where == node]
        await asyncio.to_thread(installation.until, lambda: _counts(installation).get(node) == len(stay))
        said = await asyncio.to_thread(server.manage, "rebalance", "--percent", "20", "--over", "0.5")
        assert said == f"{node}: {len(stay) - len(stay) / 2:.0f} connections" or said.startswith(f"{node}: ")
        ends = await asyncio.gather(*(_end(client) for client in stay))
        assert ends.count((4001, "rebalance")) == int(said.split()[1])
    finally:
        for dialled, *_ in clients:
            await dialled.__aexit__(None, None, None)


async def _end(client: Any) -> tuple[int, str] | None:
    try:
        async with asyncio.timeout(6):
            return tuple(await client.closed())  # type: ignore[return-value]
    except TimeoutError:
        return None


def _counts(installation: Installation) -> dict[str, int]:
    return {node["name"]: node["connections"] for node in _nodes(installation, installation.server.planted)}


def test_a_frozen_redis_makes_processes_unready_and_alive_until_it_thaws(installation: Installation) -> None:
    server = installation.server
    assert server.get("/health/ready")[0] == 200
    installation.redis.freeze()
    try:
        installation.until(lambda: "canary" in json.loads(server.get("/health/ready")[1] or "{}").get("failed", {}))
        assert server.get("/health/live")[0] == 200
        down = installation.until(lambda: installation.total("tickwire_redis_up") == 0 and installation.scrape())
        assert {dict(labels).get("role") for name, labels in down if name == "tickwire_redis_up"} == {"web"}
    finally:
        installation.redis.thaw()
    installation.until(lambda: server.get("/health/ready")[0] == 200)
    installation.until(lambda: installation.total("tickwire_redis_up") == 5)
