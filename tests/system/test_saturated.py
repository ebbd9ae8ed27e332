"""A client that is sent far more than it reads: a pong overtakes what it is owed."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketdata.store import Update
from tests.crowd import SETUP, Reader, Way
from tests.system.conftest import SERVE, Tickwire, run_server

TOPICS = [f"trade.S{number:04d}" for number in range(40)]
BATCH = [Update(topic, b'{"pad":"%b"}' % (b"x" * 1000)) for topic in TOPICS]
READ_BYTES = 16 * 1024  # of the 44 KB that are published meanwhile
MOST_AHEAD = 512 * 1024  # what kernel and transport hold; the outbox has twice as much


@pytest.fixture
def server(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    patient = {"TICKWIRE_SLOW_CLOSE_SECONDS": "100"}
    yield from run_server(tmp_path, redis_url, prefix, SERVE, plant=SETUP.format(symbols=len(TOPICS)), **patient)


@pytest.fixture
def reader(server: Tickwire) -> Iterator[Reader]:
    server.store.publish(BATCH)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    sock.connect(("127.0.0.1", server.port))
    found = Reader(0, Way(), TOPICS, sock)
    sock.sendall(found.way.request(server.planted))
    while not found.live:
        found.read()
    sock.settimeout(1.0)
    yield found
    sock.close()


def step(server: Tickwire, reader: Reader) -> None:
    server.store.publish(BATCH)
    reader.read(READ_BYTES)
    time.sleep(0.005)


def ahead_of_pong(server: Tickwire, reader: Reader, nonce: str) -> int:
    """Bytes that are read from a ping until its pong is there."""
    before = reader.received_bytes
    reader.say("ping", nonce=nonce)
    while not any(message.get("nonce") == nonce for message in reader.told):
        step(server, reader)
    return reader.received_bytes - before


def test_a_pong_overtakes_what_a_saturated_connection_is_owed(server: Tickwire, reader: Reader) -> None:
    while not any(message["type"] == "gap" for message in reader.told):  # the outbox is at its bound
        step(server, reader)
    ahead = [ahead_of_pong(server, reader, f"ping {number}") for number in range(10)]
    assert max(ahead) < MOST_AHEAD, ahead
    assert reader.faults == []
