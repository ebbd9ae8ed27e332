"""Commands of a connection whose plan has a delay, or gets one meanwhile."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from marketdata.reads import AsyncReads
from realtime import protocol
from realtime.commands import Commands
from realtime.connection import Connection
from realtime.sessions import Sessions
from tests.conftest import Clock
from tests.integration.conftest import Desk, messages, principal
from tests.integration.delay_parts import DELAY_S, QUOTE, TRADE, body, late

Listed = SimpleNamespace(get=lambda symbol: symbol)


@pytest.fixture
def desk(clock: Clock, desk: Desk) -> Desk:
    """A hub whose wall clock stands still."""
    return desk


async def run(desk: Desk, connection: Connection, op: str, **fields: Any) -> Any:
    node: Any = SimpleNamespace(
        hub=desk.hub, store=AsyncReads(desk.store), instruments=Listed, sessions=Sessions(desk.hub, 60)
    )  # what commands need of a node
    await Commands(node, connection).run(protocol.decode(json.dumps({"op": op, **fields}), "json"))
    return messages(connection)[-1]


async def test_snapshot_and_history_end_where_the_delay_begins(desk: Desk, clock: Clock) -> None:
    for n in range(1, 5):
        await desk.publish(TRADE, body(n))
        clock.pass_s(400)
    client = late(desk)  # the four are 1600, 1200, 800 and 400 seconds old
    snapshot = await run(desk, client, "snapshot", topics=[TRADE, QUOTE])
    assert [(one["topic"], one["seq"]) for one in snapshot["snapshots"]] == [(TRADE, 2), (QUOTE, 0)]
    for which, seqs in [({}, [1, 2]), ({"limit": 1}, [2]), ({"from_seq": 2}, [2]), ({"from_seq": 3, "to_seq": 4}, [])]:
        found = await run(desk, client, "history", topic=TRADE, **which)
        assert [update["seq"] for update in found["updates"]] == seqs


async def test_a_topic_without_a_value_says_so(desk: Desk) -> None:
    await desk.publish(TRADE, body(1))
    client = late(desk)
    reply = await run(desk, client, "subscribe", topics=[TRADE])
    assert [(one["epoch"], one["seq"]) for one in reply["accepted"]] == [(None, 0)]
    listed = await run(desk, client, "list")
    assert [(one["epoch"], one["seq"]) for one in listed["topics"]] == [(None, 0)]


async def test_a_plan_that_gets_a_delay_while_topics_are_joined_counts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    client, gate, recall = desk.connect(), asyncio.Event(), desk.store.recall
    desk.hub.identify(client, principal(0))

    async def recall_slowly(*which: Any) -> Any:
        await gate.wait()
        return await recall(*which)

    monkeypatch.setattr(desk.store, "recall", recall_slowly)
    subscribing = asyncio.create_task(run(desk, client, "subscribe", topics=[TRADE]))
    await desk.until(lambda: TRADE in desk.hub.entries)
    desk.hub.identify(client, principal(DELAY_S))
    gate.set()
    assert (await subscribing)["total"] == 1
    assert client.cohort is not None
    assert [pace.entry.line is not None for pace in client.cohort.paces.values()] == [True]
