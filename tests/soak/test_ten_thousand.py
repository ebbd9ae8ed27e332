"""Ten thousand connections in one process, with every feature on."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence

import pytest

from marketdata.store import Update, now_us
from tests.crowd import Crowd, Way, raise_file_limit
from tests.soak.conftest import DRAIN_S, Start, names, report
from tests.system.conftest import Tickwire

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

CLIENTS, FOLLOWED = 10_000, 10
TRADES, QUOTES = names(80), names(20, "quote")
PER_S, SECONDS = 20, 25.0
WAYS = [
    Way(), Way(deflate=True), Way(msgpack=True), Way(deflate=True, batch=True),
    Way(max_rate=1.0), Way(deflate=True, max_rate=1.0), Way(batch=True), Way(deflate=True, msgpack=True, batch=True),
]  # fmt: skip


def choose(number: int) -> Sequence[str]:
    """Topics of a client: its own ones."""
    chance = random.Random(number)
    return chance.sample(TRADES, FOLLOWED - 2) + chance.sample(QUOTES, 2)


def body(number: int) -> bytes:
    """Long enough to be compressed."""
    return json.dumps({"n": number, "ts": now_us(), "levels": [[f"{n}.00", f"{n * 7 % 13}.50"] for n in range(16)]}).encode()


def traffic(server: Tickwire, crowd: Crowd) -> int:
    """Publish to topics in turn, and read. Returns how much was published."""
    topics = [*TRADES, *QUOTES]
    began = time.monotonic()
    for number in range(round(PER_S * SECONDS)):
        server.store.publish([Update(topics[number % len(topics)], body(number))])
        crowd.run(max(0.001, began + (number + 1) / PER_S - time.monotonic()))
    return round(PER_S * SECONDS)


def trades_due(crowd: Crowd, published: int) -> int:
    """Updates of trades that all clients together must have got."""
    rounds, rest = divmod(published, len(TRADES) + len(QUOTES))
    times = {topic: rounds + (index < rest) for index, topic in enumerate(TRADES)}
    return sum(times[topic] for reader in crowd.readers for topic in reader.topics if topic in times)


def trades_seen(crowd: Crowd) -> int:
    """The same by the numbers that they saw, which begin with 1 in the snapshot; that they are whole each client has checked."""
    return sum(seq - 1 for reader in crowd.readers for topic, seq in reader.seen.items() if topic.startswith("trade."))


def test_ten_thousand_connections_with_everything_on(start: Start) -> None:
    if raise_file_limit() < CLIENTS + 500:
        pytest.skip("the system does not let this process open so many files (ulimit -Hn)")
    server = start()
    server.store.publish([Update(topic, body(0)) for topic in (*TRADES, *QUOTES)])
    crowd = Crowd(server.port, server.planted, choose, WAYS)
    crowd.connect(100)
    before = server.resident_bytes()
    began = time.monotonic()
    crowd.connect(CLIENTS - 100, within_s=90)
    connected_s = time.monotonic() - began
    idle = server.resident_bytes()
    published = traffic(server, crowd)
    crowd.until(lambda: trades_seen(crowd) >= trades_due(crowd, published))
    after, stats = server.resident_bytes(), server.stats(server.planted)
    beats = sum(any(message["type"] == "heartbeat" for message in reader.told) for reader in crowd.readers)
    exits: list[int] = []
    stopping = threading.Thread(target=lambda: exits.append(server.stop()))
    stopping.start()
    crowd.until(lambda: len(crowd.ended) == CLIENTS, DRAIN_S + 20)
    stopping.join()
    report(
        "ten thousand connections", live=stats["connections"], connected_s=connected_s, published=published,
        delivered=crowd.updates, with_heartbeats=beats, kib_per_connection_idle=(idle - before) / (CLIENTS - 100) / 1024,
        kib_per_connection=(after - before) / (CLIENTS - 100) / 1024, slowed=stats.get("slowed", 0), exit=exits[0],
    )  # fmt: skip
    crowd.close()

    assert (crowd.faults[:5], crowd.gaps[:5]) == ([], [])
    assert trades_seen(crowd) == trades_due(crowd, published)
    assert stats["connections"] == beats == CLIENTS
    assert set(crowd.ended) == {1012}
    assert exits == [0]
