"""What a client may resume is in Redis: soon, for long enough, and for its owner only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marketdata.errors import StoreUnavailable
from marketdata.layout import Layout
from marketdata.store import AsyncStore
from realtime.connection import Connection
from realtime.hub import Hub
from realtime.protocol import Position
from realtime.sessions import Sessions
from tests.integration.conftest import Desk
from tests.own_redis import running

AT = {"trade.AAPL": Position("k3f9xa", 7), "quote.AAPL": Position(None, 0)}


@pytest.fixture
def sessions(desk: Desk) -> Sessions:
    return Sessions(desk.hub, 300)


def connect(desk: Desk, user_id: int | None = None) -> Connection:
    connection = desk.connect()
    connection.principal = SimpleNamespace(user_id=user_id, plan_name="free", delay_us=0)  # type: ignore[assignment]
    return connection


async def keys(desk: Desk) -> list[bytes]:
    return [key async for key in desk.store.client.scan_iter(f"{desk.store.layout.prefix}:session:*")]


async def test_a_session_is_its_positions_and_rates(desk: Desk, sessions: Sessions) -> None:
    first = connect(desk)
    sessions.place(first, AT)
    sessions.pace(first, {"quote.AAPL": 2.5, "trade.AAPL": None})
    await sessions.save()
    saved = await sessions.load(connect(desk), first.session)
    assert saved is not None
    assert saved.positions == AT
    assert saved.rates == {"quote.AAPL": 2.5}


async def test_changes_are_saved_by_themselves_and_together(desk: Desk, sessions: Sessions) -> None:
    clients = [connect(desk) for _ in range(30)]
    for client in clients:
        sessions.place(client, AT)
    async with asyncio.timeout(5):
        while len(await keys(desk)) < 30:
            await asyncio.sleep(0.01)


async def test_what_is_forgotten_is_gone(desk: Desk, sessions: Sessions) -> None:
    first = connect(desk)
    sessions.place(first, AT)
    sessions.pace(first, dict.fromkeys(AT, 1.0))
    await sessions.save()
    sessions.forget(first, ["trade.AAPL"])
    await sessions.save()
    saved = await sessions.load(connect(desk), first.session)
    assert saved is not None
    assert (saved.positions.keys(), saved.rates.keys()) == ({"quote.AAPL"}, {"quote.AAPL"})


@pytest.mark.parametrize(("owner", "other"), [(1, 2), (1, None), (None, 1)])
async def test_a_session_opens_for_its_owner_only(desk: Desk, sessions: Sessions, owner: int | None, other: int | None) -> None:
    first, stranger = connect(desk, owner), connect(desk, other)
    sessions.place(first, AT)
    await sessions.save()
    assert await sessions.load(stranger, first.session) is None
    assert len(await keys(desk)) == 1  # the stranger's own session has nothing of it
    assert await sessions.load(connect(desk, owner), first.session) is not None


async def test_a_connection_that_says_who_it_is_takes_its_session_along(desk: Desk, sessions: Sessions) -> None:
    first = connect(desk)
    await desk.subscribe(first, "trade.AAPL")
    sessions.place(first, AT)
    await sessions.save()
    first.principal = SimpleNamespace(user_id=5, plan_name="free", delay_us=0)  # type: ignore[assignment]
    sessions.identify(first)
    await sessions.save()
    assert await sessions.load(connect(desk), first.session) is None
    assert await sessions.load(connect(desk, 5), first.session) is not None


async def test_redis_does_not_know_the_secret(desk: Desk, sessions: Sessions) -> None:
    first = connect(desk)
    sessions.place(first, AT)
    await sessions.save()
    (key,) = await keys(desk)
    content = await desk.store.client.hgetall(key)
    assert first.session.encode() not in key + b"".join([*content, *content.values()])


async def test_who_resumes_has_its_own_session_at_once(desk: Desk, sessions: Sessions) -> None:
    first, second, third = connect(desk), connect(desk), connect(desk)
    sessions.place(first, AT)
    await sessions.save()
    await sessions.load(second, first.session)
    saved = await sessions.load(third, second.session)
    assert saved is not None
    assert saved.positions == AT


async def test_who_comes_back_before_it_was_saved_is_not_sent_away(desk: Desk, sessions: Sessions) -> None:
    first = connect(desk)
    sessions.place(first, AT)
    assert await sessions.load(connect(desk), first.session) is not None


async def test_a_session_outlives_its_connection_by_the_resume_time(desk: Desk, sessions: Sessions) -> None:
    first = connect(desk)
    await desk.subscribe(first, "trade.AAPL")
    sessions.place(first, AT)
    await sessions.save()
    (key,) = await keys(desk)
    assert await desk.store.client.ttl(key) > 300
    await desk.store.client.expire(key, 10)
    await sessions.refresh()
    assert await desk.store.client.ttl(key) > 300
    await desk.store.client.expire(key, 10)
    desk.hub.detach(first)
    sessions._refresh_at = 0.0
    await sessions.refresh()
    assert await desk.store.client.ttl(key) <= 10


async def test_a_session_that_redis_lost_is_written_again(desk: Desk, sessions: Sessions) -> None:
    first = connect(desk)
    await desk.publish("trade.AAPL", "1", "2")
    await desk.subscribe(first, "trade.AAPL")
    await sessions.refresh()  # Redis knows nothing of it
    await sessions.save()
    saved = await sessions.load(connect(desk), first.session)
    assert saved is not None
    assert saved.positions["trade.AAPL"].seq == 2


async def test_what_redis_did_not_take_is_saved_later(desk: Desk, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    first = connect(desk)
    sessions.place(first, AT)

    async def away(*_: Any) -> Any:
        raise OSError("gone")

    with monkeypatch.context() as patched:
        patched.setattr(sessions, "_script", away)
        with pytest.raises(StoreUnavailable):
            await sessions.save()
        sessions.place(first, {"trade.AAPL": Position("k3f9xa", 9)})
    await sessions.save()
    saved = await sessions.load(connect(desk), first.session)
    assert saved is not None
    assert saved.positions == AT | {"trade.AAPL": Position("k3f9xa", 9)}


async def test_a_redis_without_memory_still_lets_clients_resume(tmp_path: Path, desk: Desk) -> None:
    with running(tmp_path / "redis") as full:
        store = AsyncStore(full.url, Layout("full"))
        hub = Hub(desk.hub.bus, store, Layout("full"))
        sessions = Sessions(hub, 300)
        first = connect(desk)
        sessions.place(first, AT)
        await sessions.save()
        full.config("maxmemory", "1")
        saved = await sessions.load(connect(desk), first.session)
        assert saved is not None
        assert saved.positions == AT
        await hub.stop()
        await store.close()
