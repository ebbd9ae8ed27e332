"""Connections are counted over all nodes: at once, for as long as they live, and with Redis away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from marketdata.store import now_us
from realtime.admissions import Admissions
from realtime.connection import Connection
from realtime.hub import Hub
from realtime.limits import Limits
from realtime.models import Plan
from realtime.principal import Principal
from tests.integration.conftest import Desk, ListSink

LEASE_S = 40.0
Nodes = Callable[..., Admissions]


@pytest.fixture
async def nodes(desk: Desk) -> AsyncIterator[Nodes]:
    """Makes the admissions of one more node, each with a hub, on the same Redis."""
    made: list[Admissions] = []

    def make(lease_s: float = LEASE_S) -> Admissions:
        made.append(Admissions(Hub(desk.hub.bus, desk.store, desk.store.layout), lease_s))
        return made[-1]

    yield make
    for admissions in made:
        await admissions.stop()
        await admissions.hub.stop()


def somebody(limit: int, *, user_id: int | None = 7, takes_over: bool = False) -> Principal:
    limits = Limits(10, limit, None, 5, 20, frozenset(), takes_over=takes_over)
    return SimpleNamespace(user_id=user_id, plan_name="free", limits=limits, delay_us=0)  # type: ignore[return-value]


def dial(desk: Desk) -> Connection:
    connection = desk.connect()
    connection.opened_us = now_us()
    connection.address = "203.0.113.9"
    return connection


def closed(connection: Connection) -> tuple[int, str] | None:
    assert isinstance(connection.sink, ListSink)
    return connection.sink.closed


async def admit(desk: Desk, admissions: Admissions, who: Principal, count: int = 1) -> list[Connection]:
    """Connections that all dial together; those that were let in."""
    dialled = [dial(desk) for _ in range(count)]
    admitted = await asyncio.gather(*(admissions.admit(connection, who) for connection in dialled))
    return [connection for connection, let_in in zip(dialled, admitted, strict=True) if let_in]


async def keys(desk: Desk) -> list[bytes]:
    return [key async for key in desk.store.client.scan_iter(f"{desk.store.layout.prefix}:held:*")]


async def forget_all(desk: Desk) -> None:
    await desk.store.client.delete(*await keys(desk))


def away(admissions: Admissions, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any) -> Any:
        raise OSError("gone")

    monkeypatch.setattr(admissions, "_script", refuse)


async def test_a_limit_holds_over_all_nodes(desk: Desk, nodes: Nodes) -> None:
    found = await asyncio.gather(*(admit(desk, nodes(), somebody(3), 5) for _ in range(3)))
    assert sum(map(len, found)) == 3


async def test_each_holder_has_a_limit_of_its_own(desk: Desk, nodes: Nodes) -> None:
    node = nodes()
    for user_id in (1, 2, None):
        assert len(await admit(desk, node, somebody(1, user_id=user_id), 2)) == 1


async def test_a_place_that_is_given_up_is_free_for_another_node(desk: Desk, nodes: Nodes) -> None:
    one, other = nodes(), nodes()
    (connection,) = await admit(desk, one, somebody(1))
    one.release(connection)
    one.release(connection)
    async with asyncio.timeout(5):
        while not await admit(desk, other, somebody(1)):
            pass
    assert one.held == {}


async def test_who_goes_and_comes_again_at_once_has_its_place(desk: Desk, nodes: Nodes) -> None:
    node = nodes()
    (connection,) = await admit(desk, node, somebody(1))
    node.release(connection)
    assert len(await admit(desk, node, somebody(1))) == 1


async def test_handshakes_that_are_under_way_together_share_a_call(
    desk: Desk, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = nodes()
    calls, script = [], node._script
    monkeypatch.setattr(node, "_script", lambda keys, texts: calls.append(len(keys)) or script(keys, texts))  # type: ignore[func-returns-value]
    assert len(await admit(desk, node, somebody(64), 64)) == 64
    assert calls == [64]


async def test_a_handshake_that_is_given_up_holds_nothing(desk: Desk, nodes: Nodes) -> None:
    one, other = nodes(), nodes()
    waiting = asyncio.create_task(one.admit(dial(desk), somebody(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    async with asyncio.timeout(5):
        while not await admit(desk, other, somebody(1)):
            pass
    assert one.leases == {}


async def test_the_places_of_a_crashed_node_are_free_when_its_leases_end(desk: Desk, nodes: Nodes) -> None:
    crashed, other = nodes(0.3), nodes(0.3)
    assert len(await admit(desk, crashed, somebody(3), 3)) == 3
    assert await admit(desk, other, somebody(3)) == []
    async with asyncio.timeout(10):
        while not await admit(desk, other, somebody(3)):
            await asyncio.sleep(0.02)


async def test_what_ended_is_not_kept_in_redis(desk: Desk, nodes: Nodes) -> None:
    await admit(desk, nodes(0.1), somebody(3), 3)
    async with asyncio.timeout(5):
        while await keys(desk):
            await asyncio.sleep(0.02)


async def test_renewal_prolongs_every_lease(desk: Desk, nodes: Nodes) -> None:
    short, long = nodes(1), nodes()
    await admit(desk, short, somebody(300), 250)
    (key,) = await keys(desk)
    before = max(end for _, end in await desk.store.client.zrange(key, 0, -1, withscores=True))
    short.lease_s = long.lease_s
    await short.renew()
    ends = [end for _, end in await desk.store.client.zrange(key, 0, -1, withscores=True)]
    assert len(ends) == 250
    assert min(ends) > before


async def test_what_redis_forgot_is_taken_again(desk: Desk, nodes: Nodes) -> None:
    one, other = nodes(), nodes()
    await admit(desk, one, somebody(3, takes_over=True), 3)
    await forget_all(desk)
    await one.renew()
    assert await admit(desk, other, somebody(3)) == []


async def test_the_newest_takes_the_place_of_the_oldest_on_another_node(desk: Desk, nodes: Nodes) -> None:
    one, other = nodes(), nodes()
    await one.renew()  # which begins to listen
    (oldest,) = await admit(desk, one, somebody(2, takes_over=True))
    (second,) = await admit(desk, other, somebody(2, takes_over=True))
    (third,) = await admit(desk, other, somebody(2, takes_over=True))
    await desk.until(lambda: closed(oldest))
    assert closed(oldest) == (4505, "taken_over")
    assert (closed(second), closed(third)) == (None, None)
    assert one.leases == {}


async def test_a_lowered_limit_ends_as_many_of_the_oldest_as_it_takes(desk: Desk, nodes: Nodes) -> None:
    node = nodes()
    await node.renew()
    before = [connection for _ in range(5) for connection in await admit(desk, node, somebody(5, takes_over=True))]
    await admit(desk, node, somebody(2, takes_over=True))
    await desk.until(lambda: sum(closed(connection) is not None for connection in before) == 4)
    assert closed(before[-1]) is None


async def test_a_take_over_that_nobody_heard_is_learned_from_the_renewal(desk: Desk, nodes: Nodes) -> None:
    deaf, other = nodes(), nodes()
    (oldest,) = await admit(desk, deaf, somebody(1, takes_over=True))
    assert await admit(desk, other, somebody(1, takes_over=True))
    await deaf.renew()
    assert closed(oldest) == (4505, "taken_over")


async def test_who_says_who_it_is_gives_up_its_place_as_a_visitor(desk: Desk, nodes: Nodes) -> None:
    node, visitor = nodes(), somebody(1, user_id=None)
    (connection,) = await admit(desk, node, visitor)
    assert await node.admit(connection, somebody(1))
    assert len(await admit(desk, node, visitor)) == 1
    assert await admit(desk, node, somebody(1)) == []


async def test_who_may_not_be_somebody_else_stays_who_it_was(desk: Desk, nodes: Nodes) -> None:
    node, visitor = nodes(), somebody(1, user_id=None)
    await admit(desk, node, somebody(1))
    (connection,) = await admit(desk, node, visitor)
    assert not await node.admit(connection, somebody(1))
    assert await admit(desk, node, visitor) == []


async def test_who_says_again_who_it_is_needs_no_second_place(desk: Desk, nodes: Nodes) -> None:
    node = nodes()
    (connection,) = await admit(desk, node, somebody(1))
    assert await node.admit(connection, somebody(1))
    assert len(node.leases) == 1


async def test_with_redis_away_each_process_counts_its_own(desk: Desk, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = nodes(), nodes()
    await admit(desk, other, somebody(2), 2)
    away(one, monkeypatch)
    assert len(await admit(desk, one, somebody(2), 5)) == 2
    assert (one.hub.counts["counts_alone"], one.hub.counts["admitted_alone"], one.hub.counts["refused_connections"]) == (1, 2, 3)


async def test_with_redis_away_the_newest_still_takes_over(desk: Desk, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    node = nodes()
    away(node, monkeypatch)
    (oldest,) = await admit(desk, node, somebody(1, takes_over=True))
    assert await admit(desk, node, somebody(1, takes_over=True))
    assert closed(oldest) == (4505, "taken_over")


async def test_when_redis_is_back_all_are_counted_again(desk: Desk, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = nodes(), nodes()
    with monkeypatch.context() as patched:
        away(one, patched)
        await admit(desk, one, somebody(2), 2)
    one.task.start()
    await desk.until(lambda: not one.alone)
    async with asyncio.timeout(5):
        while await keys(desk) == []:
            await asyncio.sleep(0.01)
    assert await admit(desk, other, somebody(2)) == []
    assert one.hub.counts["counts_alone"] == 0
    await one.task.stop()


async def test_an_outage_is_logged_once(
    desk: Desk, nodes: Nodes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = nodes()
    away(node, monkeypatch)
    for user_id in range(5):
        await admit(desk, node, somebody(1, user_id=user_id))
    assert [record.getMessage() for record in caplog.records] == ["counting connections over all nodes: Redis: gone"]


async def test_a_node_that_stops_gives_all_places_back(desk: Desk, nodes: Nodes) -> None:
    one = nodes()
    await admit(desk, one, somebody(3), 3)
    await one.stop()
    assert await keys(desk) == []


@pytest.mark.parametrize(("policy", "takes_over"), [("reject", False), ("take_over", True)])
def test_a_plan_says_whether_the_newest_takes_over(policy: str, takes_over: bool) -> None:
    assert Limits.of(Plan(connection_policy=policy)).takes_over is takes_over


async def test_redis_learns_no_address(desk: Desk, nodes: Nodes) -> None:
    await admit(desk, nodes(), somebody(1, user_id=None))
    (key,) = await keys(desk)
    (member,) = await desk.store.client.zrange(key, 0, -1)
    assert b"203.0.113.9" not in key + member
