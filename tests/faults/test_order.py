"""Several processes publish to the same topics and several serve them: everybody gets one and the same order, without a hole."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from marketdata.store import Update
from tests.crowd import Crowd, Reader, Way
from tests.faults import writer
from tests.faults.conftest import Database, serving
from tests.own_redis import OwnRedis
from tests.system.conftest import ROOT, Tickwire

WRITERS, PROCESSES, UPDATES = ("one", "two"), 3, 100_000
TRADES, QUOTE = ["trade.S0000", "trade.S0001", "trade.S0002"], "quote.S0000"
TOPICS = [*TRADES, QUOTE]
WAYS = [Way(batch=True), Way(msgpack=True), Way(), Way(msgpack=True, batch=True)]


@dataclass(eq=False)
class Ordered(Reader):
    """A client that compares: with the order in which each writer published, and, in the end, with all others.

    Attributes:
        order: topic → (seq, writer, number) of each update.
    """

    order: dict[str, list[tuple[int, str, int]]] = field(default_factory=lambda: defaultdict(list))
    newest: dict[tuple[str, str], int] = field(default_factory=dict)

    def _update(self, message: dict[str, Any]) -> None:
        super()._update(message)
        topic, seq, data = message["topic"], message["seq"], message["data"]
        if data["n"] <= self.newest.get((topic, data["w"]), -1):
            self.faults.append(f"{topic}: {data} after {self.newest[topic, data['w']]}")
        self.newest[topic, data["w"]] = data["n"]
        self.order[topic].append((seq, data["w"], data["n"]))


class OrderedCrowd(Crowd):
    """Clients that compare."""

    kind = Ordered


@contextmanager
def writing(server: Tickwire) -> Iterator[list[subprocess.Popen[str]]]:
    """The writers, ready to begin, each with its share of the updates."""
    redis_url, prefix = server.environ["TICKWIRE_REDIS_URL"], server.environ["TICKWIRE_PREFIX"]
    commands = [writer.command(redis_url, prefix, name, UPDATES // len(WRITERS), TOPICS) for name in WRITERS]
    found = [subprocess.Popen(each, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for each in commands]
    try:
        assert [process.stdout.readline() for process in found if process.stdout] == ["ready\n"] * len(found)
        yield found
    finally:
        for process in found:
            process.kill()
            process.communicate()


def begin(writers: Sequence[subprocess.Popen[str]]) -> None:
    """Have all of them publish at once."""
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


# The writers are quicker than this process can read: outboxes hold all of it.
SETTINGS = {
    "TICKWIRE_WORKERS": str(PROCESSES),
    "TICKWIRE_OUTBOX_UPDATES": "100000",
    "TICKWIRE_OUTBOX_BYTES": str(1 << 28),
    "TICKWIRE_SLOW_CLOSE_SECONDS": "200",
}


@pytest.fixture
def server(database: Database, own_redis: OwnRedis, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    """Three serving processes on one port."""
    with serving(database, tmp_path / "server", own_redis.url, prefix, **SETTINGS) as found:
        yield found


@pytest.fixture
def crowd(server: Tickwire) -> Iterator[OrderedCrowd]:
    """Clients, two at least at each process."""
    server.store.publish([Update(topic, b"{}") for topic in TOPICS])
    found = OrderedCrowd(server.port, server.planted, lambda _: TOPICS, WAYS)
    while len(nodes := Counter(reader.node for reader in found.readers)) < PROCESSES or min(nodes.values()) < 2:
        assert len(found.readers) < 60, f"the kernel gives all clients to the same processes: {nodes}"
        found.connect(PROCESSES)
    yield found
    found.close()


def test_every_process_delivers_the_updates_of_all_writers_in_one_order(server: Tickwire, crowd: OrderedCrowd) -> None:
    each = UPDATES // len(TOPICS)
    with writing(server) as writers:
        begin(writers)
        crowd.until(lambda: all(reader.seen[topic] == each + 1 for reader in crowd.readers for topic in TOPICS), 90)
    assert (crowd.faults, crowd.gaps, crowd.ended) == ([], [], [])
    first, *others = (reader for reader in crowd.readers if isinstance(reader, Ordered))
    for topic in TRADES:
        assert [seq for seq, _, _ in first.order[topic]] == list(range(2, each + 2))
        assert Counter(who for _, who, _ in first.order[topic]) == dict.fromkeys(WRITERS, each // len(WRITERS))
        assert [reader.number for reader in others if reader.order[topic] != first.order[topic]] == []
