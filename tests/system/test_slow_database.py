"""A database that answers nobody: what is live goes on, and visitors come and go."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from tests.system.conftest import Client, Tickwire

TRADE = "trade.AAPL"
EVERYBODY_FORGETS_S = 2.5  # plans and instruments are believed for two seconds


class Lock:
    """Keeps everybody else from a server's database, readers too."""

    def __init__(self, server: Tickwire) -> None:
        self.path = server.log.parent / "tickwire.sqlite3"
        self.connection = sqlite3.connect(self.path, isolation_level=None, timeout=30)

    def __enter__(self) -> Lock:
        self.connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        self.connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            self._read()
        return self

    def _read(self) -> None:
        other = sqlite3.connect(self.path, timeout=0)
        try:
            other.execute("SELECT * FROM realtime_plan")
        finally:
            other.close()

    def __exit__(self, *_: object) -> None:
        self.connection.execute("ROLLBACK")
        self.connection.close()


async def subscribe(client: Client) -> None:
    assert (await client.ask("subscribe", topics=[TRADE]))["rejected"] == []


async def next_update(server: Tickwire, client: Client) -> None:
    """What is published now arrives."""
    (seq,) = await asyncio.to_thread(server.publish, TRADE, {"n": 1})
    await client.until(lambda message: (message.get("topic"), message.get("seq")) == (TRADE, seq))


async def test_a_locked_database_delays_no_update_and_no_pong(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await subscribe(client)
        with Lock(tickwire):
            for _ in range(60):
                await next_update(tickwire, client)
                await asyncio.sleep(0.1)
            assert (await client.ask("ping"))["type"] == "pong"


async def test_a_locked_database_delays_no_heartbeat(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await client.ask("configure", heartbeat=1)
        with Lock(tickwire):
            await asyncio.sleep(EVERYBODY_FORGETS_S)
            beats = [await client.until(lambda message: message["type"] == "heartbeat") for _ in range(4)]
    assert [beat["n"] for beat in beats] == list(range(beats[0]["n"], beats[0]["n"] + 4))


async def test_visitors_read_what_is_live_while_the_database_is_locked(tickwire: Tickwire) -> None:
    await asyncio.to_thread(tickwire.publish, TRADE, {"n": 1})
    paths = [f"/api/v1/snapshots/?topics={TRADE}", "/api/v1/trades/AAPL/", "/api/v1/instruments/AAPL/"]
    assert [tickwire.get(path)[0] for path in paths] == [200, 200, 200]
    with Lock(tickwire):
        await asyncio.sleep(EVERYBODY_FORGETS_S)
        asked = [asyncio.to_thread(tickwire.get, path) for path in paths * 5]
        assert {status for status, _ in await asyncio.gather(*asked)} == {200}


async def test_visitors_are_welcome_while_the_database_is_locked(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await subscribe(client)
    with Lock(tickwire):
        await asyncio.sleep(EVERYBODY_FORGETS_S)
        async with tickwire.dial() as first, tickwire.dial() as second:
            for client in (first, second):
                assert (await client.receive())["type"] == "welcome"
                await subscribe(client)
                await next_update(tickwire, client)
