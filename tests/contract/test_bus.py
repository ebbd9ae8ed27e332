"""The connections behind the layer, on a Redis that goes away: what is followed afterwards, and what one failure costs others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from marketdata import layer as layer_module
from marketdata.errors import StoreUnavailable
from marketdata.layer import Bus, BusLayer
from marketdata.link import connect
from tests.own_redis import OwnRedis, free_port, running


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    with running(tmp_path / "redis") as found:
        yield found


@pytest.fixture
async def bus(own_redis: OwnRedis) -> AsyncIterator[Bus]:
    layer = BusLayer(own_redis.url)
    yield await layer.bus()
    await layer.close()


async def soon(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def followed(own_redis: OwnRedis) -> set[str]:
    return set(own_redis.ask("PUBSUB", "CHANNELS"))


def nothing(_: bytes) -> None:
    pass


async def test_after_an_absence_that_is_followed_which_is_wanted_then(bus: Bus, own_redis: OwnRedis) -> None:
    await bus.follow({b"stays": nothing, b"goes": nothing})
    own_redis.kill()
    await soon(lambda: not bus.connected.is_set())
    await bus.unfollow([b"goes"])
    with pytest.raises(StoreUnavailable):
        await bus.follow({b"refused": nothing})
    own_redis.start()
    await soon(bus.connected.is_set)
    await bus.follow({b"comes": nothing})
    assert followed(own_redis) == {"stays", "comes"}


async def test_a_subscription_that_was_given_up_is_not_kept(
    bus: Bus, own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bus.follow({b"stays": nothing})
    monkeypatch.setattr(layer_module, "CONFIRM_S", 0.05)
    own_redis.freeze()
    with pytest.raises(StoreUnavailable):
        await bus.follow({b"late": nothing})
    own_redis.thaw()
    monkeypatch.undo()
    await bus.follow({b"next": nothing})
    assert followed(own_redis) == {"stays", "next"}
    assert bus.reconnects == 0


async def test_a_message_that_nobody_can_take_costs_neither_the_others_nor_the_connection(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: bytes) -> None:
        raise RuntimeError("no")

    got: list[bytes] = []
    await bus.follow({b"bad": fail, b"good": got.append})
    await bus.publish("bad", b"1")
    await bus.publish("good", b"2")
    await soon(lambda: got == [b"2"])
    assert bus.reconnects == 0
    assert [record.message for record in caplog.records] == ["bus: a message was not taken"]


async def test_watchers_learn_that_there_is_no_connection_though_there_never_was_one(bus: Bus, own_redis: OwnRedis) -> None:
    own_redis.kill()
    told: list[bool] = []
    bus.watch(told.append)
    with pytest.raises(StoreUnavailable):
        await bus.follow({b"a": nothing})
    assert told == [False]
    own_redis.start()
    await soon(lambda: told == [False, True])
    assert bus.reconnects == 0


async def test_a_watcher_that_fails_ends_nothing(bus: Bus, own_redis: OwnRedis, caplog: pytest.LogCaptureFixture) -> None:
    told: list[bool] = []
    bus.watch(lambda connected: 1 // 0)
    bus.watch(told.append)
    await bus.follow({b"a": nothing})
    own_redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    await soon(lambda: told == [True, False, True])
    assert "bus: a watcher failed" in caplog.text


async def test_of_several_who_join_a_group_at_once_none_is_left_behind_in_vain(
    own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = BusLayer(own_redis.url)
    channels = [await layer.new_channel() for _ in range(3)]
    monkeypatch.setattr(layer_module, "CONFIRM_S", 0.05)
    own_redis.freeze()
    done = await asyncio.gather(*(layer.group_add("g", channel) for channel in channels), return_exceptions=True)
    assert [type(each) for each in done] == [StoreUnavailable] * 3
    own_redis.thaw()
    monkeypatch.undo()
    await asyncio.gather(*(layer.group_add("g", channel) for channel in channels))
    await layer.group_send("g", {"type": "hello"})
    assert [(await layer.receive(channel))["type"] for channel in channels] == ["hello"] * 3
    await layer.close()


@asynccontextmanager
async def sentinel(port: int) -> AsyncIterator[str]:
    """Something that says, as a Sentinel does, that the master is at a port of loopback. Gives the address of its service."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in (b"+OK\r\n", b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port)):
            await reader.read(1000)
            writer.write(reply)
        await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"redis+sentinel://127.0.0.1:1,127.0.0.1:{server.sockets[0].getsockname()[1]}/ticks"


@pytest.fixture
def on_a_port(tmp_path: Path) -> Iterator[OwnRedis]:
    with running(tmp_path / "redis", port=free_port()) as found:
        yield found


async def test_the_first_sentinel_that_answers_names_the_master(on_a_port: OwnRedis) -> None:
    async with sentinel(on_a_port.port) as url:
        link = await connect(url, {})
        assert link.where == ("127.0.0.1", on_a_port.port)
        assert await link.call("PING") == b"PONG"
        link.abort()


async def test_a_server_that_the_sentinels_name_but_that_is_a_replica_is_refused(on_a_port: OwnRedis) -> None:
    on_a_port.ask("REPLICAOF", "127.0.0.1", "1")
    async with sentinel(on_a_port.port) as url:
        with pytest.raises(StoreUnavailable, match="no master"):
            await connect(url, {})


async def test_no_sentinel_that_answers_is_no_master() -> None:
    with pytest.raises(StoreUnavailable, match="no Sentinel knows a master of 'ticks'"):
        await connect("redis+sentinel://me:secret@127.0.0.1:1/ticks", {})


async def test_a_connection_is_left_when_the_sentinels_name_another_master(
    on_a_port: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def elsewhere(_: object) -> tuple[str, int]:
        return "127.0.0.1", 1

    async with sentinel(on_a_port.port) as url:
        layer = BusLayer(url)
        bus = await layer.bus()
        await bus.follow({b"a": nothing})
        monkeypatch.setattr(layer_module, "PING_S", 0.01)
        monkeypatch.setattr(layer_module, "LOOK_S", 0.0)
        monkeypatch.setattr(layer_module, "master", elsewhere)
        await soon(lambda: bus.reconnects)
        await layer.close()
