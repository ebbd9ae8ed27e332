"""Redis away at the start, and away later: health says so, clients stay, the service resumes by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.own_redis import OwnRedis
from tests.system.conftest import PLANT, SERVE, SYMBOLS, Tickwire, wait_for


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path / "redis")
    yield server
    server.kill()


@pytest.fixture
def server(own_redis: OwnRedis, tmp_path: Path, free_port: int) -> Iterator[Tickwire]:
    found = Tickwire(tmp_path, f"unix://{own_redis.path}", "away", SERVE, port=free_port)
    found.manage("migrate", "-v0")
    found.manage("shell", "-v0", "-c", PLANT.format(symbols=SYMBOLS))
    yield found
    if found.process is not None and found.process.poll() is None:
        found.stop()
    found.store.close()


def health(server: Tickwire, path: str) -> tuple[int, Any]:
    status, body = server.get(f"/health/{path}")
    return status, json.loads(body or b"{}")


async def test_the_server_waits_for_redis_and_survives_it(server: Tickwire, own_redis: OwnRedis) -> None:
    starting = asyncio.create_task(asyncio.to_thread(server.start))
    await asyncio.to_thread(wait_for, lambda: health(server, "live")[0] == 200, server)
    status, report = health(server, "ready")
    assert (status, list(report["failed"])) == (503, ["canary"])
    async with server.dial() as client:
        assert (await client.receive())["type"] == "welcome"
        reply = await client.ask("subscribe", topics=["trade.AAPL"])
        assert [(refused["code"], refused["name"]) for refused in reply["rejected"]] == [(126, "feed_unavailable")]

    own_redis.start()
    await starting  # ready at last
    assert "Redis" in server.log.read_text()
    async with server.dial() as client:
        assert (await client.ask("subscribe", topics=["trade.AAPL"]))["accepted"]
        server.publish("trade.AAPL", {"n": 1})
        first = await client.until(lambda message: message.get("topic") == "trade.AAPL")

        own_redis.kill()
        await asyncio.to_thread(wait_for, lambda: health(server, "ready")[0] == 503, server)
        assert health(server, "live")[0] == 200
        status, body = server.get("/api/v1/snapshots/?topics=trade.AAPL")
        assert (status, [(found["data"], found["stale"]) for found in json.loads(body)["snapshots"]]) == (200, [({"n": 1}, True)])
        assert server.get("/api/v1/snapshots/?topics=trade.MSFT")[0] == 503
        assert (await client.ask("ping"))["type"] == "pong"

        own_redis.start()
        await asyncio.to_thread(wait_for, lambda: health(server, "ready")[0] == 200, server)
        server.publish("trade.AAPL", {"n": 2})
        again = await client.until(lambda message: message.get("topic") == "trade.AAPL")
    assert (again["type"], again["data"]) == ("snapshot", {"n": 2})
    assert again["epoch"] != first["epoch"]
