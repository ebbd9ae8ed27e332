"""Going on where a connection ended: `since`, `resume` and `ack`, over a real socket."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.system.conftest import Client, Tickwire, wait_for

TRADES = "trade.AAPL"


def publish(tickwire: Tickwire, count: int, topic: str = TRADES) -> int:
    """Publish some updates. Returns the seq of the last."""
    return tickwire.publish(topic, *({"n": n} for n in range(count)))[-1]


def epoch_of(tickwire: Tickwire, topic: str = TRADES) -> str:
    (latest,) = tickwire.store.latest([topic])
    assert latest is not None
    return latest.epoch


@asynccontextmanager
async def welcomed(tickwire: Tickwire, **options: Any) -> AsyncIterator[tuple[Client, str]]:
    async with tickwire.dial(**options) as client:
        yield client, (await client.receive())["session"]


async def until_pong(client: Client) -> list[Any]:
    """Everything that comes before the answer to a ping."""
    await client.socket.send('{"op":"ping","nonce":"end"}')
    found = []
    while (message := await client.receive())["type"] != "pong":
        found.append(message)
    return found


def seqs(messages: list[Any], kind: str = "update") -> list[int]:
    return [message["seq"] for message in messages if message["type"] == kind]


async def since(client: Client, topic: str, epoch: str | None, seq: int, **fields: Any) -> tuple[Any, list[Any]]:
    """Subscribe from a position: what was accepted, and what followed."""
    reply = await client.ask("subscribe", topics=[topic], since={topic: {"epoch": epoch, "seq": seq}}, **fields)
    return reply["accepted"][0], await until_pong(client)


@asynccontextmanager
async def left(tickwire: Tickwire, *topics: str, **fields: Any) -> AsyncIterator[tuple[Client, str]]:
    """A connection that follows topics and is cut off without a goodbye; then its session has been saved."""
    async with welcomed(tickwire) as (client, session):
        await client.ask("subscribe", topics=list(topics), **fields)
        yield client, session
        await until_pong(client)
        client.socket.transport.abort()
    await asyncio.sleep(0.3)


async def test_since_is_answered_with_exactly_what_was_missed(tickwire: Tickwire) -> None:
    seq = publish(tickwire, 5)
    publish(tickwire, 4)
    async with welcomed(tickwire) as (client, _):
        accepted, messages = await since(client, TRADES, epoch_of(tickwire), seq)
        publish(tickwire, 1)
        live = await client.receive()
    assert (accepted["recovered"], accepted["seq"]) == (True, seq + 4)
    assert (seqs(messages), len(messages)) == (list(range(seq + 1, seq + 5)), 4)
    assert live["seq"] == seq + 5


async def test_since_the_newest_update_nothing_is_sent(tickwire: Tickwire) -> None:
    seq = publish(tickwire, 1)
    async with welcomed(tickwire) as (client, _):
        accepted, messages = await since(client, TRADES, epoch_of(tickwire), seq)
    assert (accepted["recovered"], messages) == (True, [])


async def test_a_position_of_another_epoch_begins_with_a_snapshot(tickwire: Tickwire) -> None:
    seq = publish(tickwire, 3)
    async with welcomed(tickwire) as (client, _):
        accepted, messages = await since(client, TRADES, "zzzzzz", seq - 1)
    assert accepted["recovered"] is False
    assert [(message["type"], message["seq"]) for message in messages] == [("snapshot", seq)]


async def test_a_position_that_was_never_reached_begins_with_a_snapshot(tickwire: Tickwire) -> None:
    seq = publish(tickwire, 3)
    async with welcomed(tickwire) as (client, _):
        accepted, messages = await since(client, TRADES, epoch_of(tickwire), seq + 100)
    assert accepted["recovered"] is False
    assert [(message["type"], message["seq"]) for message in messages] == [("snapshot", seq)]


async def test_what_is_no_longer_kept_is_named_by_a_gap_before_the_snapshot(tickwire: Tickwire) -> None:
    first = publish(tickwire, 1, "trade.MSFT")
    last = publish(tickwire, 1500, "trade.MSFT")
    async with welcomed(tickwire) as (client, _):
        accepted, messages = await since(client, "trade.MSFT", epoch_of(tickwire, "trade.MSFT"), first)
    gap, snapshot = messages
    assert accepted["recovered"] is False
    assert (gap["type"], gap["from"], gap["to"], gap["reason"]) == ("gap", first + 1, last - 1, "history")
    assert (snapshot["type"], snapshot["seq"]) == ("snapshot", last)


async def test_a_long_replay_is_whole(tickwire: Tickwire) -> None:
    seq = publish(tickwire, 1)
    publish(tickwire, 900)
    async with welcomed(tickwire) as (client, _):
        accepted, messages = await since(client, TRADES, epoch_of(tickwire), seq)
    assert accepted["recovered"] is True
    assert seqs(messages) == list(range(seq + 1, seq + 901))


async def test_who_had_nothing_gets_everything_since_the_beginning(tickwire: Tickwire) -> None:
    publish(tickwire, 3, "trade.TEST")
    async with welcomed(tickwire) as (client, _):
        accepted, messages = await since(client, "trade.TEST", None, 0)
    assert accepted["recovered"] is True
    assert [(message["type"], message["seq"]) for message in messages] == [("snapshot", 1), ("update", 2), ("update", 3)]


async def test_of_a_latest_topic_the_newest_value_is_all_that_was_missed(tickwire: Tickwire) -> None:
    seq = publish(tickwire, 1, "quote.AAPL")
    publish(tickwire, 5, "quote.AAPL")
    async with welcomed(tickwire) as (client, _):
        accepted, messages = await since(client, "quote.AAPL", epoch_of(tickwire, "quote.AAPL"), seq)
    assert accepted["recovered"] is True
    assert [(message["type"], message["seq"]) for message in messages] == [("update", seq + 5)]


async def test_of_klines_every_closed_bar_and_the_newest_value_were_missed(tickwire: Tickwire) -> None:
    topic = "kline.1m.AAPL"
    bars = [{"closed": False}, {"closed": False}, {"closed": True}, {"closed": False}, {"closed": True}, {"closed": False}]
    first, *_, last = tickwire.publish(topic, *bars)
    async with welcomed(tickwire) as (client, _):
        accepted, messages = await since(client, topic, epoch_of(tickwire, topic), first)
    assert accepted["recovered"] is True
    assert seqs(messages) == [first + 2, first + 4, last]


async def test_a_malformed_position_is_a_bad_request(tickwire: Tickwire) -> None:
    async with welcomed(tickwire) as (client, _):
        for bad in (
            {"epoch": "k3f9xa"},
            {"epoch": "k3f9xa", "seq": -1},
            {"epoch": 7, "seq": 1},
            {"epoch": "a", "seq": 1, "x": 1},
        ):
            reply = await client.ask("subscribe", topics=[TRADES], since={TRADES: bad})
            assert (reply["type"], reply["code"]) == ("error", 107)


async def test_resume_goes_on_with_all_topics_at_once(tickwire: Tickwire) -> None:
    trade, quote = publish(tickwire, 1), publish(tickwire, 1, "quote.AAPL")
    async with left(tickwire, TRADES, "quote.AAPL", max_rate=1) as (_, session):
        pass
    publish(tickwire, 3)
    publish(tickwire, 1, "quote.AAPL")
    positions = {TRADES: {"epoch": epoch_of(tickwire), "seq": trade}, "quote.AAPL": {"epoch": epoch_of(tickwire), "seq": quote}}
    async with welcomed(tickwire) as (client, _):
        reply = await client.ask("resume", session=session, positions=positions)
        messages = await until_pong(client)
        listed = await client.ask("list")
    assert (reply["type"], sorted(reply["recovered"]), reply["snapshot"], reply["rejected"]) == (
        "resumed", ["quote.AAPL", TRADES], [], []
    )  # fmt: skip
    assert seqs([message for message in messages if message["topic"] == TRADES]) == [trade + 1, trade + 2, trade + 3]
    assert {topic["topic"]: topic["max_rate"] for topic in listed["topics"]} == {TRADES: None, "quote.AAPL": 1.0}


async def test_resume_without_positions_goes_on_behind_what_was_acknowledged(tickwire: Tickwire) -> None:
    publish(tickwire, 1)
    async with left(tickwire, TRADES) as (client, session):
        last = publish(tickwire, 10)
        reply = await client.ask("ack", positions={TRADES: {"epoch": epoch_of(tickwire), "seq": last - 4}})
    last = publish(tickwire, 2)
    async with welcomed(tickwire) as (client, _):
        resumed = await client.ask("resume", session=session)
        messages = await until_pong(client)
    assert (reply["type"], reply["count"], resumed["recovered"]) == ("acked", 1, [TRADES])
    assert seqs(messages) == list(range(last - 5, last + 1))


async def test_without_any_ack_a_session_goes_on_with_its_first_value(tickwire: Tickwire) -> None:
    """The client may have died before the snapshot arrived."""
    seq = publish(tickwire, 1)
    async with left(tickwire, TRADES, "depth.NONE") as (_, session):
        pass
    publish(tickwire, 1)
    async with welcomed(tickwire) as (client, _):
        reply = await client.ask("resume", session=session)
        messages = await until_pong(client)
    assert reply["recovered"] == [TRADES]
    assert seqs(messages) == [seq, seq + 1]


async def test_a_session_can_be_resumed_again_though_the_answer_was_lost(tickwire: Tickwire) -> None:
    seq = publish(tickwire, 1)
    async with left(tickwire, TRADES) as (client, session):
        await client.ask("ack", positions={TRADES: {"epoch": epoch_of(tickwire), "seq": seq}})
    publish(tickwire, 1)
    for _ in range(2):
        async with welcomed(tickwire) as (client, again):
            await client.ask("resume", session=session)
            assert seqs(await until_pong(client)) == [seq + 1]
        await asyncio.sleep(0.3)
    async with welcomed(tickwire) as (client, _):  # and so can the session that resumed it
        await client.ask("resume", session=again)
        assert seqs(await until_pong(client)) == [seq + 1]


async def test_an_unsubscribed_topic_is_not_resumed(tickwire: Tickwire) -> None:
    async with left(tickwire, TRADES, "quote.AAPL") as (client, session):
        await client.ask("unsubscribe", topics=[TRADES])
    async with welcomed(tickwire) as (client, _):
        await client.ask("resume", session=session)
        assert [topic["topic"] for topic in (await client.ask("list"))["topics"]] == ["quote.AAPL"]


async def test_an_unknown_session_is_unrecoverable(tickwire: Tickwire) -> None:
    async with welcomed(tickwire) as (client, _):
        reply = await client.ask("resume", session="nobody")
        assert (reply["type"], reply["code"], reply["name"]) == ("error", 112, "unrecoverable_position")
        assert (await client.ask("list"))["topics"] == []


async def test_an_unknown_session_does_not_matter_to_who_names_positions(tickwire: Tickwire) -> None:
    seq = publish(tickwire, 2)
    async with welcomed(tickwire) as (client, _):
        reply = await client.ask("resume", session="nobody", positions={TRADES: {"epoch": epoch_of(tickwire), "seq": seq - 1}})
        assert reply["recovered"] == [TRADES]
        assert seqs(await until_pong(client)) == [seq]


async def test_topics_that_may_not_be_read_are_rejected_one_by_one(tickwire: Tickwire) -> None:
    positions = {name: {"epoch": "k3f9xa", "seq": 1} for name in ("nonsense", "quote.NOBODY", "depth.AAPL", TRADES)}
    async with welcomed(tickwire) as (client, _):
        reply = await client.ask("resume", session="nobody", positions=positions)
    assert {each["topic"]: each["code"] for each in reply["rejected"]} == {
        "nonsense": 102, "quote.NOBODY": 120, "depth.AAPL": 125
    }  # fmt: skip
    assert reply["snapshot"] == [TRADES]


async def test_what_a_connection_follows_already_is_not_resumed(tickwire: Tickwire) -> None:
    seq = publish(tickwire, 2)
    async with welcomed(tickwire) as (client, _):
        await client.ask("subscribe", topics=[TRADES])
        reply = await client.ask("resume", session="nobody", positions={TRADES: {"epoch": epoch_of(tickwire), "seq": seq - 1}})
    assert [(each["topic"], each["code"]) for each in reply["rejected"]] == [(TRADES, 107)]


async def test_a_session_survives_the_death_of_its_process(own_tickwire: Tickwire) -> None:
    seq = publish(own_tickwire, 1)
    async with left(own_tickwire, TRADES) as (client, session):
        await client.ask("ack", positions={TRADES: {"epoch": epoch_of(own_tickwire), "seq": seq}})
    own_tickwire.stop(signal.SIGKILL)
    own_tickwire.start()
    publish(own_tickwire, 3)
    async with welcomed(own_tickwire) as (client, _):
        reply = await client.ask("resume", session=session)
        messages = await until_pong(client)
    assert (reply["recovered"], seqs(messages)) == ([TRADES], [seq + 1, seq + 2, seq + 3])


async def test_a_store_that_lost_its_memory_never_recovers_a_position(own_tickwire: Tickwire) -> None:
    publish(own_tickwire, 5)
    old = epoch_of(own_tickwire)
    for key in own_tickwire.store.client.scan_iter(f"{own_tickwire.store.layout.prefix}:*"):
        own_tickwire.store.client.delete(key)
    publish(own_tickwire, 9)
    wait_for(lambda: epoch_of(own_tickwire) != old, own_tickwire)
    async with welcomed(own_tickwire) as (client, _):
        reply = await client.ask("resume", session="gone", positions={TRADES: {"epoch": old, "seq": 5}})
        messages = await until_pong(client)
    assert (reply["recovered"], reply["snapshot"]) == ([], [TRADES])
    assert [(message["type"], message["seq"]) for message in messages] == [("snapshot", 9)]


@pytest.mark.parametrize("path", ["resume", "ack"])
async def test_who_has_not_said_who_he_is_resumes_nothing(own_tickwire: Tickwire, path: str) -> None:
    own_tickwire.manage(
        "shell", "-v0", "-c", "from realtime.models import Plan; Plan.objects.filter(name='anonymous').update(enabled=False)"
    )
    await asyncio.sleep(3)
    async with welcomed(own_tickwire) as (client, _):
        reply = await client.ask(path, **({"session": "x"} if path == "resume" else {"positions": {}}))
    assert (reply["type"], reply["code"]) == ("error", 101)
