"""How long a ping takes on a connection that is sent as much as it can read, or more."""

from __future__ import annotations

import socket
import time
from statistics import median

import pytest

from benchmarks.figures import percentile
from marketdata.store import Update
from tests.crowd import Reader, Way
from tests.soak.conftest import Start, names, publishing, report
from tests.system.conftest import Tickwire

pytestmark = [pytest.mark.soak, pytest.mark.timeout(120)]

TOPICS, PINGS, WITHIN_MS = 40, 50, 100.0


class Paced:
    """A client that reads no more bytes a second than `speed`; None: as fast as it can."""

    def __init__(self, server: Tickwire, speed: float | None) -> None:
        sock = socket.socket()
        if speed is not None:  # or the kernel buffers ever more for the client, which nothing can overtake
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        sock.connect(("127.0.0.1", server.port))
        self.reader = Reader(0, Way(), names(TOPICS), sock)
        self.speed = speed
        sock.sendall(self.reader.way.request(server.planted))
        while not self.reader.live:
            self.reader.read()
        sock.settimeout(1.0)
        self.restart()

    def restart(self) -> None:
        self.begun, self.before = time.perf_counter(), self.reader.received_bytes

    def read(self) -> None:
        self.reader.read(16 * 1024)
        if self.speed is not None:
            due = self.begun + (self.reader.received_bytes - self.before) / self.speed
            time.sleep(max(0.0, due - time.perf_counter()))

    def run(self, seconds: float) -> None:
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            self.read()

    def ping_ms(self, nonce: str) -> float:
        self.restart()
        self.reader.told.clear()
        began = time.perf_counter()
        self.reader.say("ping", nonce=nonce)
        while not any(message.get("nonce") == nonce for message in self.reader.told):
            self.read()
        return 1000 * (time.perf_counter() - began)


@pytest.mark.parametrize(
    ("per_s", "speed"), [(5_000, None), (20_000, None), (20_000, 2e6)], ids=["5000 fast", "20000 fast", "20000 at 2 MB/s"]
)
def test_a_ping_on_a_saturated_connection(start: Start, per_s: int, speed: float | None) -> None:
    server = start(TICKWIRE_SLOW_CLOSE_SECONDS="100")
    server.store.publish([Update(name, b"{}") for name in names(TOPICS)])
    client = Paced(server, speed)
    with publishing(server, TOPICS) as source:
        source.set_rate(per_s)
        client.run(3.0)
        found = []
        for number in range(PINGS):
            found.append(client.ping_ms(f"ping {number}"))
            client.run(0.03)
    client.reader.sock.close()
    report(
        "ping", updates_per_s=per_s, bytes_per_s_read=speed, min_ms=min(found), median_ms=median(found),
        p95_ms=percentile(found, 95), max_ms=max(found),
    )  # fmt: skip
    assert client.reader.faults == []
    assert percentile(found, 95) < WITHIN_MS
