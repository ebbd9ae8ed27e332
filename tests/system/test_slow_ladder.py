"""A client that falls behind meets each rung of the ladder in order, and whatever it loses is named."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from marketdata.store import Update
from tests.crowd import BROKEN_OFF, PING, PONG, SETUP, Reader, Way, masked
from tests.system.conftest import SERVE, Tickwire, run_server

TRADE, QUOTE, KLINE = "trade.S0000", "quote.S0000", "kline.1m.S0000"
TRADES = [f"trade.S{number:04d}" for number in range(4)]
PAD = b"x" * 400
LITTLE = 4096  # bytes of one read, and of the socket's buffer
QUICK = {"TICKWIRE_SLOW_NOTICE_SECONDS": "2", "TICKWIRE_SLOW_CLOSE_SECONDS": "4", "TICKWIRE_FLUSH_CEILING_MS": "1"}
SMALL = {"TICKWIRE_OUTBOX_BYTES": "65536", "TICKWIRE_OUTBOX_UPDATES": "100"}


@pytest.fixture(scope="module")
def server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    """A server with small outboxes and a quick ladder."""
    folder: Path = tmp_path_factory.mktemp("ladder")
    yield from run_server(folder, redis_url, folder.name, SERVE, plant=SETUP.format(symbols=4), **QUICK, **SMALL)


@dataclass(eq=False)
class Ledger(Reader):
    """A client that adds up what it got and what it was told that it lost.

    Attributes:
        got, lost: per topic.
        bars: the numbers of the closed klines.
        pongs: what they brought back.
        events: what happened, in order: `conflated`, `gap`, `slow`, each time anew.
    """

    got: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    bars: list[int] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def _take(self, first: int, payload: bytes) -> None:
        if first & 0x0F == PONG:
            self.pongs.append(payload)
        else:
            super()._take(first, payload)

    def _check(self, message: dict[str, Any]) -> None:
        topic, last = message.get("topic", ""), self.seen.get(message.get("topic", ""), 0)
        super()._check(message)
        if message["type"] == "update":
            self.got[topic] += 1
            self.bars += [message["seq"]] if message["data"].get("closed") else []
            self.events += ["conflated"] if message["seq"] > last + 1 else []
        elif message["type"] == "gap":
            self.lost[topic] += message["to"] - message["from"] + 1
            self.faults += [f"{topic}: gap from {message['from']} after {last}"] if message["from"] != last + 1 else []
            self.events.append("gap")
        elif message["type"] == "notice":
            self.events.append(message["kind"])

    def until(self, condition: Callable[[], object], most_bytes: int = 1 << 18) -> None:
        """Read until the condition holds."""
        ends = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < ends, (self.events, self.seen, self.ended)
            self.read(most_bytes)


def connect(server: Tickwire, *topics: str, way: Way = Way()) -> Ledger:  # noqa: B008  # it is frozen
    """A live client for which the kernel keeps little."""
    server.store.publish([Update(topic, b"{}") for topic in topics])
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE)
    sock.connect(("127.0.0.1", server.port))
    sock.settimeout(0.02)
    found = Ledger(0, way, topics, sock)
    sock.sendall(way.request(server.planted))
    try:
        found.until(lambda: found.live and len(found.seen) == len(topics))
    except BaseException:
        sock.close()
        raise
    return found


@pytest.fixture
def client(server: Tickwire) -> Iterator[Ledger]:
    found = connect(server, TRADE, QUOTE)
    yield found
    found.sock.close()
    eventually(server, lambda stats: stats["connections"] == 0)


def publish(server: Tickwire, topic: str, count: int) -> int:
    """Publish so many; the last seq."""
    return server.store.publish([Update(topic, b'{"n":%d,"pad":"%b"}' % (number, PAD)) for number in range(count)])[-1]


def eventually(server: Tickwire, condition: Callable[[dict[str, int]], object]) -> dict[str, int]:
    """The server's counts when they meet the condition."""
    ends = time.monotonic() + 20
    while not condition(stats := {"gaps": 0, "conflated": 0, **server.stats(server.planted)}):
        assert time.monotonic() < ends, stats
        time.sleep(0.02)
    return stats


def choke(server: Tickwire, client: Ledger) -> int:
    """Publish trades, a few at a time, until a client that was quick and does not read has an outbox. Returns the last seq."""
    eventually(server, lambda stats: stats["slow"] == 0)
    seq = 0
    while server.stats(server.planted)["slow"] == 0:
        seq = publish(server, TRADE, 20)
        time.sleep(0.02)
    assert not client.ended
    return seq


def flood(server: Tickwire) -> int:
    """Publish three times as many trades as an outbox takes; those who have one are owed them when this returns. The last seq."""
    (before,) = counted(server, "received")
    newest = publish(server, TRADE, 300)
    flushes = -1
    while counted(server, "received", "flushes") != (before + 300, flushes):
        (flushes,) = counted(server, "flushes")
        time.sleep(0.02)
    return newest


def unread(server: Tickwire, client: Ledger) -> int | None:
    """How many bytes of the client the server has yet to read; None when it has closed the connection."""
    ends = [f"0100007F:{port:04X}" for port in (server.port, client.sock.getsockname()[1])]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    queues = [row[4] for row in rows if row[1:4] == [*ends, "01"]]
    return int(queues[0].partition(":")[2], 16) if queues else None


def counted(server: Tickwire, *names: str) -> tuple[int, ...]:
    stats = server.stats(server.planted)
    return tuple(stats.get(name, 0) for name in names)


def test_every_rung_in_order(server: Tickwire, client: Ledger) -> None:
    before = counted(server, "gaps", "slow_notices", "slow_closed")
    choke(server, client)
    publish(server, QUOTE, 50)
    newest = publish(server, TRADE, 1)
    client.until(lambda: client.seen[TRADE] == newest and "conflated" in client.events)
    assert (client.events, counted(server, "gaps", "slow_notices", "slow_closed")) == (["conflated"], before)

    choke(server, client)
    flood(server)
    client.until(lambda: "gap" in client.events, LITTLE)
    assert client.events == ["conflated", "gap"]

    flood(server)
    eventually(server, lambda stats: stats.get("slow_notices", 0) > before[1])
    client.until(lambda: "slow" in client.events, LITTLE)

    flood(server)
    eventually(server, lambda stats: stats.get("slow_closed", 0) > before[2])
    client.until(lambda: client.ended)
    assert client.ended == 4008
    assert [event for event in client.events if event != "gap"] == ["conflated", "slow"]
    assert client.got[TRADE] + client.lost[TRADE] == client.seen[TRADE] - 1  # from the first, which was its snapshot
    assert client.faults == []


def test_who_never_reads_is_cut_off(server: Tickwire, client: Ledger) -> None:
    choke(server, client)
    flood(server)
    eventually(server, lambda stats: stats["connections"] == 0 and unread(server, client) is None)
    client.until(lambda: client.ended)
    assert (client.ended, client.faults) == (BROKEN_OFF, [])


def test_who_drains_is_served_like_everybody_else_again(server: Tickwire, client: Ledger) -> None:
    choke(server, client)
    newest = flood(server)
    client.until(lambda: client.seen[TRADE] == newest)
    assert client.events == ["gap"]
    eventually(server, lambda stats: stats["slow"] == 0)

    more = [publish(server, TRADE, 1) for _ in range(200)]
    client.until(lambda: client.seen[TRADE] == more[-1])
    publish(server, QUOTE, 1)
    client.until(lambda: client.got[QUOTE])
    assert (client.events, client.faults, counted(server, "slow")) == (["gap"], [], (0,))


def test_a_client_that_asks_and_does_not_read_is_not_read_from(server: Tickwire, client: Ledger) -> None:
    publish(server, TRADE, 300)
    before = server.resident_bytes()
    client.sock.settimeout(2)
    asked = 0
    with suppress(TimeoutError):
        while asked < 100_000:
            client.say("history", topic=TRADE, id=asked)
            asked += 1
    assert asked < 100_000
    assert server.resident_bytes() - before < 8 << 20


def test_of_a_client_that_does_not_read_only_the_newest_ping_is_answered(server: Tickwire, client: Ledger) -> None:
    choke(server, client)
    pings = [b"%0100d" % number for number in range(10_000)]
    client.sock.settimeout(2)
    client.sock.sendall(b"".join(masked(ping, PING) for ping in pings))
    eventually(server, lambda _: unread(server, client) == 0)
    client.until(lambda: client.pongs)
    assert client.pongs == pings[-1:]


WAYS = [Way(), Way(msgpack=True), Way(batch=True), Way(msgpack=True, batch=True), Way(deflate=True)]


@pytest.fixture
def patient(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    """A server that closes nobody for being slow."""
    forever = {"TICKWIRE_SLOW_CLOSE_SECONDS": "300"}
    yield from run_server(tmp_path, redis_url, prefix, SERVE, plant=SETUP.format(symbols=4), **forever, **SMALL)


def bar(number: int) -> Update:
    return Update(KLINE, b'{"n":%d,"closed":true}' % number if number % 20 == 0 else b'{"n":%d}' % number)


def test_what_came_and_what_was_announced_add_up_to_what_was_published(patient: Tickwire) -> None:
    topics = [*TRADES, QUOTE, KLINE]
    clients = [connect(patient, *topics, way=way) for way in WAYS * 2]
    eager, slow = clients[: len(WAYS)], clients[len(WAYS) :]
    first = {topic: client.seen[topic] for client in clients[-1:] for topic in topics}
    bars: list[int] = []
    for step in range(250):
        updates = [*(Update(topic, b'{"pad":"%b"}' % PAD) for topic in TRADES * 4), Update(QUOTE, b"{}"), bar(step)]
        seqs = patient.store.publish(updates)
        bars += [seqs[-1]] if step % 20 == 0 else []
        for client in eager:
            client.read()
        if step % 2:
            slow[step // 2 % len(slow)].read(LITTLE)
    last = dict(zip((update.topic for update in updates), seqs, strict=True))
    for client in clients:
        client.until(lambda client=client: all(client.seen[topic] == last[topic] for topic in topics))

    for client in clients:
        assert client.faults == []
        begun = {topic: client.seen[topic] - client.got[topic] - client.lost[topic] for topic in TRADES}
        assert all(begun[topic] <= first[topic] for topic in TRADES)
        assert client.bars == bars
        client.sock.close()
    assert all(client.lost[topic] for client in slow for topic in TRADES)
