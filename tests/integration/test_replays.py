"""What a client missed, read once for all of them, joined with what is published meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from marketdata.errors import StoreUnavailable
from marketdata.topics import parse
from realtime import protocol, replays
from realtime.connection import Connection
from realtime.protocol import Position
from tests.integration.conftest import Desk, ListSink, messages

TRADES = "trade.AAPL"


class CountedStore:
    """The store, which notes what it is asked to recall, and may be slow or away."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.recalled: list[Any] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.away = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def recall(self, wanted: Any, *which: Any) -> Any:
        self.recalled.append(wanted)
        found = await self.store.recall(wanted, *which)
        await self.gate.wait()
        if self.away:
            raise StoreUnavailable("away")
        return found


@pytest.fixture
def store(desk: Desk) -> CountedStore:
    desk.hub.store = store = CountedStore(desk.store)  # type: ignore[assignment]
    return store


async def resume(desk: Desk, since: Mapping[str, Position], rate: float | None = None) -> Connection:
    connection = desk.connect()
    await desk.hub.replays.prepare([parse(name) for name in since], since)
    for pace, _ in desk.hub.subscribe(connection, dict.fromkeys(since, rate), since):
        opening = desk.hub.replays.open(pace, since[pace.entry.name])
        desk.hub.slow.replay(connection, opening.losses(pace.entry), [(pace.entry.name, opening.items)])
    return connection


async def publish(desk: Desk, count: int, topic: str = TRADES) -> Position:
    """Publish some updates. Returns the position of the last."""
    await desk.publish(topic, *map(str, range(count)))
    (latest,) = await desk.store.latest([topic])
    assert latest is not None
    return Position(latest.epoch, latest.seq)


def seqs(connection: Connection) -> list[int]:
    return [message["seq"] for message in messages(connection) if message["type"] == "update"]


async def test_a_hundred_clients_at_one_position_cost_one_reading(desk: Desk, store: CountedStore) -> None:
    at = await publish(desk, 1)
    await publish(desk, 5)
    clients = await asyncio.gather(*(resume(desk, {TRADES: at}) for _ in range(100)))
    clients += [await resume(desk, {TRADES: at})]
    assert all(seqs(client) == [2, 3, 4, 5, 6] for client in clients)
    assert len(store.recalled) == 1


async def test_all_topics_of_a_session_are_read_in_one_go(desk: Desk, store: CountedStore) -> None:
    since = {f"trade.S{n}": await publish(desk, 2, f"trade.S{n}") for n in range(150)}
    for name in since:
        await publish(desk, 1, name)
    client = await resume(desk, since)
    assert sorted(seqs(client)) == [3] * 150
    assert len(store.recalled) == 1


async def test_topics_that_are_followed_already_are_read_in_one_go_too(desk: Desk, store: CountedStore) -> None:
    since = {f"trade.S{n}": await publish(desk, 2, f"trade.S{n}") for n in range(20)}
    await desk.subscribe(desk.connect(), *since)
    for name in since:
        await publish(desk, 1, name)
    store.recalled.clear()
    client = await resume(desk, since)
    assert sorted(seqs(client)) == [3] * 20
    assert len(store.recalled) == 1


async def test_what_is_published_while_the_store_is_read_follows_without_a_hole(desk: Desk, store: CountedStore) -> None:
    at = await publish(desk, 1)
    await desk.subscribe(desk.connect(), TRADES)
    await publish(desk, 3)
    store.gate.clear()
    resuming = asyncio.create_task(resume(desk, {TRADES: at}))
    await asyncio.sleep(0.02)
    await publish(desk, 4)
    await desk.until(lambda: desk.hub.entries[TRADES].seq == 8)
    store.gate.set()
    client = await resuming
    last = await publish(desk, 2)
    await desk.until(lambda: seqs(client)[-1:] == [last.seq])
    assert seqs(client) == list(range(2, 11))


async def test_a_client_further_back_has_the_store_read_again(desk: Desk, store: CountedStore) -> None:
    first = await publish(desk, 1)
    second = await publish(desk, 5)
    await publish(desk, 1)
    assert seqs(await resume(desk, {TRADES: second})) == [7]
    assert seqs(await resume(desk, {TRADES: first})) == [2, 3, 4, 5, 6, 7]
    assert seqs(await resume(desk, {TRADES: second})) == [7]
    assert len(store.recalled) == 2


async def test_a_hopeless_position_is_asked_for_once(desk: Desk, store: CountedStore) -> None:
    first = await publish(desk, 1)
    last = await publish(desk, 400)  # 200 are kept here
    for _ in range(3):
        client = await resume(desk, {TRADES: first})
        gap, snapshot = messages(client)
        assert (gap["type"], gap["from"], gap["to"], gap["reason"]) == ("gap", 2, last.seq - 1, "history")
        assert (snapshot["type"], snapshot["seq"]) == ("snapshot", last.seq)
    assert len(store.recalled) == 1


async def test_a_client_that_is_ahead_of_this_process_gets_nothing_twice(desk: Desk, store: CountedStore) -> None:
    """Another process has given it what the bus has yet to bring here."""
    await publish(desk, 1)
    await desk.subscribe(desk.connect(), TRADES)
    bus = desk.hub.bus
    receivers, channel = bus._receivers, desk.hub.entries[TRADES].channel
    receive, late = receivers[channel], []
    receivers[channel] = late.append
    at = await publish(desk, 4)
    await desk.until(lambda: len(late) == 4)
    client = await resume(desk, {TRADES: at})
    receivers[channel] = receive
    for payload in late:
        receive(payload)
    last = await publish(desk, 1)
    await desk.until(lambda: seqs(client) != [])
    assert seqs(client) == [last.seq]


async def test_a_client_ahead_of_a_latest_topic_never_goes_back(desk: Desk, store: CountedStore) -> None:
    name = "quote.AAPL"
    await publish(desk, 1, name)
    await desk.subscribe(desk.connect(), name)
    channel = desk.hub.entries[name].channel
    desk.hub.bus._receivers[channel] = lambda _: None
    at = await publish(desk, 4, name)
    client = await resume(desk, {name: at})
    assert messages(client) == []


async def test_at_a_rate_nothing_is_sent_twice(desk: Desk, store: CountedStore) -> None:
    name = "quote.AAPL"
    await publish(desk, 1, name)
    slow = desk.connect()
    await desk.subscribe(slow, name, rate=0.01)
    await publish(desk, 1, name)
    at = await publish(desk, 3, name)
    await desk.until(lambda: desk.hub.entries[name].seq == at.seq)
    desk.hub.flush()
    client = await resume(desk, {name: at}, rate=0.01)
    desk.hub.flush()
    assert messages(client) == []
    assert seqs(slow)[-1] == at.seq


async def test_without_the_store_nobody_is_told_a_story(desk: Desk, store: CountedStore) -> None:
    at = await publish(desk, 1)
    await desk.subscribe(desk.connect(), TRADES)
    await publish(desk, 3)
    store.away = True
    with pytest.raises(StoreUnavailable):
        await resume(desk, {TRADES: at})
    store.away = False
    assert seqs(await resume(desk, {TRADES: at})) == [2, 3, 4]


async def test_who_goes_away_while_the_store_is_read_spoils_nothing_for_others(desk: Desk, store: CountedStore) -> None:
    at = await publish(desk, 1)
    await desk.subscribe(desk.connect(), TRADES)
    await publish(desk, 3)
    store.gate.clear()
    gone = asyncio.create_task(resume(desk, {TRADES: at}))
    waiting = asyncio.create_task(resume(desk, {TRADES: at}))
    await asyncio.sleep(0.02)
    gone.cancel()
    store.gate.set()
    assert seqs(await waiting) == [2, 3, 4]


async def test_updates_too_old_are_not_replayed(desk: Desk, store: CountedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    at = await publish(desk, 1)
    await publish(desk, 3)
    monkeypatch.setattr(replays, "now_us", lambda before=replays.now_us: before() + 301_000_000)
    client = await resume(desk, {TRADES: at})
    assert [(message["type"], message.get("seq")) for message in messages(client)] == [("gap", None), ("snapshot", 4)]


async def test_a_new_epoch_ends_every_replay(desk: Desk, store: CountedStore) -> None:
    at = await publish(desk, 1)
    await publish(desk, 3)
    await resume(desk, {TRADES: at})
    async for key in desk.store.client.scan_iter(f"{desk.store.layout.prefix}:*"):
        await desk.store.client.delete(key)
    await publish(desk, 9)
    await desk.until(lambda: desk.hub.entries[TRADES].epoch != at.epoch)
    client = await resume(desk, {TRADES: at})
    assert [(message["type"], message["seq"]) for message in messages(client)] == [("snapshot", desk.hub.entries[TRADES].seq)]


async def test_what_is_kept_is_bounded_and_forgotten(desk: Desk, store: CountedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    at = await publish(desk, 1)
    await resume(desk, {TRADES: at})
    last = await publish(desk, 500)
    entry = desk.hub.entries[TRADES]
    await desk.until(lambda: entry.seq == last.seq)
    assert entry.recent is not None
    assert len(entry.recent.since(last.seq - 200) or []) == 200  # as many as the store keeps here
    assert entry.recent.since(last.seq - 201) is None
    monkeypatch.setattr(replays, "KEPT_S", -1.0)
    await desk.hub.forget_idle()
    assert entry.recent is None


async def test_a_long_replay_goes_as_the_socket_takes_it_and_live_updates_wait_behind(desk: Desk) -> None:
    at = await publish(desk, 1)
    await publish(desk, 150)
    client = await resume(desk, {TRADES: at})
    assert seqs(client) == list(range(2, 152))
    assert client.outbox is None  # it takes the shared bytes again

    slow = desk.connect()
    sink = slow.sink
    assert isinstance(sink, ListSink)
    sink.full = True
    await desk.hub.replays.prepare([parse(TRADES)], {TRADES: at})
    ((pace, _),) = desk.hub.subscribe(slow, {TRADES: None}, {TRADES: at})
    desk.hub.slow.replay(slow, [protocol.message("pong")], [(TRADES, desk.hub.replays.open(pace, at).items)])
    await publish(desk, 20)
    await desk.until(lambda: seqs(client)[-1] == 171)
    assert messages(slow) == []
    assert slow.outbox is not None
    assert len(slow.outbox) == 1 + 170
    sink.drain()
    assert messages(slow)[0]["type"] == "pong"
    assert seqs(slow) == list(range(2, 172))


async def test_unsubscribing_ends_a_replay(desk: Desk) -> None:
    at = await publish(desk, 1)
    await publish(desk, 150)
    slow = desk.connect()
    sink = slow.sink
    assert isinstance(sink, ListSink)
    sink.full = True
    await desk.hub.replays.prepare([parse(TRADES)], {TRADES: at})
    ((pace, _),) = desk.hub.subscribe(slow, {TRADES: None}, {TRADES: at})
    desk.hub.slow.replay(slow, [], [(TRADES, desk.hub.replays.open(pace, at).items)])
    desk.hub.unsubscribe(slow, [TRADES])
    sink.drain()
    assert messages(slow) == []
