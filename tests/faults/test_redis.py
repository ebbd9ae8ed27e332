"""Redis fails in every way it knows, with clients connected throughout: what they end up with is what the store has."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis

from tests.faults.conftest import TOPICS, Database, Scene, playing, serving
from tests.faults.witness import eventually, watching
from tests.own_redis import Guarded, OwnRedis, watched_over
from tests.running import ROOT

LONG_S = 20  # how long Redis is frozen


def gaps(scene: Scene) -> int:
    """How many losses were announced."""
    return sum(len(tape.gaps) for client in scene.clients for tape in client.tapes.values())


def answers_loading(own_redis: OwnRedis) -> bool:
    """Whether it says that it still reads its file."""
    try:
        own_redis.ask("PING")
    except redis.BusyLoadingError:
        return True
    except redis.RedisError:
        pass
    return False


async def test_a_killed_bus_connection_costs_no_update(scene: Scene, own_redis: OwnRedis) -> None:
    for _ in range(5):
        own_redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await scene.flows()
    await scene.nothing_was_lost_in_silence()
    assert gaps(scene) == 0


async def test_a_bus_connection_that_fell_behind_costs_no_update(scene: Scene, own_redis: OwnRedis) -> None:
    own_redis.config("client-output-buffer-limit", "pubsub 16kb 0 0")
    for _ in range(3):
        await asyncio.to_thread(scene.publishing.publish, 200)  # in one step of Redis, which then drops its reader
    own_redis.config("client-output-buffer-limit", "pubsub 32mb 8mb 60")
    await scene.flows()
    await scene.nothing_was_lost_in_silence()
    assert (await asyncio.to_thread(scene.server.stats, scene.server.planted))["resyncs"] > 1
    assert gaps(scene) == 0


async def test_a_wiped_store_begins_anew_with_snapshots(scene: Scene, own_redis: OwnRedis) -> None:
    own_redis.ask("FLUSHALL")
    await scene.flows()
    await scene.nothing_was_lost_in_silence(epochs=2)


@pytest.mark.parametrize("end", [OwnRedis.stop, OwnRedis.kill], ids=["stopped", "killed"])
@pytest.mark.parametrize("remembers", [False, True], ids=["empty", "with a file"])
async def test_a_restarted_store_begins_anew_with_snapshots(
    scene: Scene, own_redis: OwnRedis, end: Callable[[OwnRedis], None], remembers: bool
) -> None:
    if remembers:
        own_redis.save()
        await scene.flows()  # what the file does not have
    own_redis.restart(end)
    await scene.flows()
    await scene.nothing_was_lost_in_silence(epochs=2)


async def test_a_store_that_goes_back_to_an_old_file_takes_no_client_back(scene: Scene, own_redis: OwnRedis) -> None:
    own_redis.save()
    for _ in range(3):  # the file is read each time
        await scene.flows()
        own_redis.restart(OwnRedis.kill)
    await scene.flows()
    await scene.nothing_was_lost_in_silence(epochs=4)


async def test_clients_learn_that_redis_is_away_and_that_it_is_back(scene: Scene, own_redis: OwnRedis) -> None:
    own_redis.kill()
    await scene.told("degraded")
    async with watching(scene.server, TOPICS[:1]) as late:  # it is followed already, so its last value can be had
        await eventually(lambda: late.notices == ["degraded"])
        assert late.tapes[TOPICS[0]].n == scene.clients[0].tapes[TOPICS[0]].n
        refused = await late.ask("subscribe", topics=["trade.S0003"])
        assert [(item["code"], item["name"]) for item in refused["rejected"]] == [(126, "feed_unavailable")]
        own_redis.start()
        await scene.told("restored")
        await eventually(lambda: late.notices == ["degraded", "restored"])
    await scene.nothing_was_lost_in_silence(epochs=2)
    assert all(client.notices == ["degraded", "restored"] for client in scene.clients)


async def test_rest_serves_the_last_known_values_meanwhile(scene: Scene, own_redis: OwnRedis) -> None:
    own_redis.kill()
    await scene.told("degraded")
    status, body = await asyncio.to_thread(scene.server.get, f"/api/v1/snapshots/?topics={','.join(TOPICS)},quote.S0003")
    answer = json.loads(body)
    assert status == 200
    assert {found["topic"]: found["data"]["n"] for found in answer["snapshots"]} == {
        topic: tape.n for topic, tape in scene.clients[0].tapes.items()
    }
    assert all(found["stale"] for found in answer["snapshots"])
    assert [(item["topic"], item["code"]) for item in answer["rejected"]] == [("quote.S0003", 126)]


async def test_a_redis_without_memory_refuses_updates_and_loses_none(scene: Scene, own_redis: OwnRedis) -> None:
    refused = scene.publishing.refused
    own_redis.config("maxmemory", "1mb")
    await eventually(lambda: scene.publishing.refused > refused + 5)
    known = await asyncio.to_thread(scene.server.get, f"/api/v1/snapshots/?topics={TOPICS[0]}")
    assert json.loads(known[1])["snapshots"][0]["stale"] is False  # reads go on
    own_redis.config("maxmemory", "0")
    await scene.flows()
    await scene.nothing_was_lost_in_silence()
    assert gaps(scene) == 0
    assert all(client.notices == [] for client in scene.clients)


async def test_a_redis_that_still_loads_its_file_is_waited_for(scene: Scene, own_redis: OwnRedis) -> None:
    for number in range(10):  # it looks after its clients every two megabytes
        own_redis.ask("SET", f"filler:{number}", "-" * 3_000_000)
    own_redis.save()
    own_redis.kill()
    own_redis.begin("--key-load-delay", "200000")  # µs
    await eventually(lambda: answers_loading(own_redis))
    await scene.told("restored")
    assert not answers_loading(own_redis)
    await scene.flows()
    await scene.nothing_was_lost_in_silence(epochs=2)


@pytest.mark.faults
async def test_a_frozen_redis_is_left_and_found_again(scene: Scene, own_redis: OwnRedis) -> None:
    own_redis.freeze()
    await asyncio.sleep(LONG_S)
    assert all(client.notices == ["degraded"] for client in scene.clients)
    own_redis.thaw()
    await scene.told("restored")
    await scene.flows()
    await scene.nothing_was_lost_in_silence()
    assert gaps(scene) == 0


@pytest.fixture
async def guarded(database: Database, tmp_path: Path, prefix: str) -> AsyncIterator[tuple[Guarded, Scene]]:
    """A scene on a master with a replica and Sentinels."""
    with watched_over(tmp_path) as found, serving(database, tmp_path / "server", found.url, prefix) as server:
        async with playing(server, found.url, prefix) as scene:
            yield found, scene


@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_a_promoted_replica_begins_anew_with_snapshots(guarded: tuple[Guarded, Scene]) -> None:
    watched, scene = guarded
    before = watched.master
    before.kill()
    await scene.told("restored")
    assert watched.master is not before
    await scene.flows()
    await scene.nothing_was_lost_in_silence(epochs=2)


@pytest.mark.faults
@pytest.mark.timeout(240)
async def test_a_demoted_master_is_left(guarded: tuple[Guarded, Scene]) -> None:
    watched, scene = guarded
    await asyncio.to_thread(watched.fail_over)
    await eventually(lambda: all(len(tape.epochs) == 2 for client in scene.clients for tape in client.tapes.values()))
    await scene.flows()
    await scene.nothing_was_lost_in_silence(epochs=2)


@pytest.mark.faults
def test_celery_finds_its_broker_through_the_same_sentinels(tmp_path: Path, prefix: str) -> None:
    with watched_over(tmp_path) as found:
        environ = {"TICKWIRE_REDIS_URL": found.url, "TICKWIRE_DATA_DIR": str(tmp_path / "data"), "TICKWIRE_PREFIX": prefix}
        send = "from project.celery import app; app.send_task('marketdata.tasks.publish_market_data')"

        def arrives() -> bool:
            subprocess.run([sys.executable, "-c", send], env={**os.environ, **environ}, cwd=ROOT, check=True, timeout=30)
            return bool(found.master.ask("LPOP", f"{prefix}:celery:marketdata"))

        assert arrives()
        found.lose_master()
        assert arrives()
