"""The bus loses, doubles and delays messages: clients see every update once, or are told which will not come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import TOPICS, Database, Scene, client_state, playing, serving
from tests.faults.proxy import Proxy, doubling, losing, losing_each, passing
from tests.faults.witness import Tape, eventually
from tests.own_redis import OwnRedis
from tests.system.conftest import Tickwire


@pytest.fixture
def proxy(own_redis: OwnRedis) -> Iterator[Proxy]:
    with Proxy(str(own_redis.path)).open() as found:
        yield found


@pytest.fixture
def server(database: Database, proxy: Proxy, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    """The shipped server, which knows its Redis through the proxy only."""
    with serving(database, tmp_path / "server", proxy.url, prefix) as found:
        yield found


@pytest.fixture
async def scene(server: Tickwire, own_redis: OwnRedis, prefix: str) -> AsyncIterator[Scene]:
    async with playing(server, own_redis.url, prefix) as found:
        yield found


def tapes(scene: Scene) -> list[Tape]:
    return [tape for client in scene.clients for tape in client.tapes.values()]


async def publish(scene: Scene, batches: int, each: int) -> None:
    """Publish that much, as quickly as it goes, besides what the scene publishes by itself."""
    for _ in range(batches):
        await asyncio.to_thread(scene.publishing.publish, each)


async def lose(scene: Scene, proxy: Proxy, each: int) -> None:
    """Publish so many to each topic, all of which the bus loses."""
    proxy.fault = losing
    await publish(scene, batches=1, each=each)
    await eventually(lambda: proxy.lost >= each * len(TOPICS))
    proxy.fault = passing


async def healed(scene: Scene) -> int:
    return (await asyncio.to_thread(scene.server.stats, scene.server.planted)).get("healed", 0)


async def nobody_noticed(scene: Scene) -> None:
    await scene.nothing_was_lost_in_silence()
    assert [tape.gaps for tape in tapes(scene)] == [[]] * len(tapes(scene))
    for tape in tapes(scene):
        assert not tape.every or not tape.unexplained(scene.publishing.confirmed[tape.topic])


async def test_one_lost_message_in_a_thousand_is_missed_by_nobody(scene: Scene, proxy: Proxy) -> None:
    proxy.fault = losing_each(997)  # a prime, or it would be the same topic every time
    await publish(scene, batches=100, each=50)
    await nobody_noticed(scene)
    assert proxy.lost >= 20
    assert await healed(scene) >= proxy.lost // 4  # of quotes a later one serves as well


async def test_a_stretch_in_which_everything_is_lost_is_missed_by_nobody(scene: Scene, proxy: Proxy) -> None:
    await lose(scene, proxy, each=100)
    await nobody_noticed(scene)
    assert await healed(scene) >= 200


async def test_the_last_updates_before_a_silence_arrive_though_the_bus_lost_them(scene: Scene, proxy: Proxy) -> None:
    await asyncio.to_thread(scene.publishing.end)
    await lose(scene, proxy, each=3)
    await eventually(lambda: all(client_state(client) == scene.stored() for client in scene.clients), 10)
    await nobody_noticed(scene)


async def test_doubled_messages_are_delivered_once(scene: Scene, proxy: Proxy) -> None:
    proxy.fault = doubling
    await publish(scene, batches=20, each=20)
    await nobody_noticed(scene)
    assert await healed(scene) == 0


async def test_who_subscribes_while_the_bus_lags_behind_the_store_gets_nothing_twice(scene: Scene, proxy: Proxy) -> None:
    proxy.delay_s = 0.3
    for client in scene.clients:
        for _ in range(5):
            await client.ask("unsubscribe", topics=TOPICS[:1])
            client.tapes[TOPICS[0]] = Tape(TOPICS[0], every=True)
            await client.ask("subscribe", topics=TOPICS[:1])
            await scene.flows(50)
    await nobody_noticed(scene)


async def test_what_is_gone_from_the_history_too_is_announced_and_latest_topics_go_on(
    scene: Scene, proxy: Proxy, own_redis: OwnRedis, prefix: str
) -> None:
    await asyncio.to_thread(scene.publishing.end)
    await eventually(lambda: all(client_state(client) == scene.stored() for client in scene.clients))
    await lose(scene, proxy, each=10)
    for topic in TOPICS:
        own_redis.ask("XTRIM", f"{prefix}:t:{topic}:h", "MAXLEN", "0")
    await scene.nothing_was_lost_in_silence()
    assert [len(tape.gaps) for tape in tapes(scene)] == [int(tape.every) for tape in tapes(scene)]
    assert {tape.lost for tape in tapes(scene) if tape.every} <= {9, 10}  # the tenth is the latest value, which may be found yet
