"""What a client reads is what its user is told to have used."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.crowd import SETUP, Reader, Way
from tests.system.conftest import SERVE, Tickwire, run_server

TRADE = "trade.S0000"
ROWS = "from realtime.models import Usage; print(list(Usage.objects.values_list('connections', 'messages', 'commands', 'bytes')))"


@dataclass(eq=False)
class Weigher(Reader):
    """A client that weighs the frames it gets."""

    messages: int = 0
    weight: int = 0

    def _take(self, first: int, payload: bytes) -> None:
        super()._take(first, payload)
        self.messages += 1
        self.weight += len(payload) + (2 if len(payload) < 126 else 4)


def use(server: Tickwire) -> Weigher:
    """Follow a topic, read some of it, go."""
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        client = Weigher(0, Way(), [TRADE], sock)
        sock.sendall(Way().request(server.planted))
        read(client, lambda: client.live)
        for number in range(5):
            server.publish(TRADE, *[{"n": number}] * 20)
        read(client, lambda: client.updates == 99 or client.updates == 100)  # the first may be its snapshot
        client.say("ping", id=1)
        read(client, lambda: client.told[-1]["type"] == "pong")
    return client


def read(client: Weigher, condition: Callable[[], object]) -> None:
    client.sock.settimeout(0.1)
    ends = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < ends, (client.told, client.updates)
        client.read()


def told(server: Tickwire) -> list[Any]:
    status, body = server.get("/api/v1/me/usage/", Authorization=f"Bearer {server.planted}")
    assert status == 200, body
    return [line for line in json.loads(body)["usage"] if line["connections"]]


def run(redis_url: str, folder: Path, every_s: int) -> Iterator[Tickwire]:
    setup, settings = SETUP.format(symbols=1), {"TICKWIRE_USAGE_SECONDS": str(every_s)}
    yield from run_server(folder, redis_url, folder.name, SERVE, plant=setup, **settings)


@pytest.fixture
def quick(redis_url: str, tmp_path: Path) -> Iterator[Tickwire]:
    """A server that saves once a second."""
    yield from run(redis_url, tmp_path, 1)


@pytest.fixture
def lazy(redis_url: str, tmp_path: Path) -> Iterator[Tickwire]:
    """A server that saves once an hour."""
    yield from run(redis_url, tmp_path, 3600)


def test_it_is_told_to_the_byte_soon_after(quick: Tickwire) -> None:
    clients = [use(quick) for _ in range(2)]
    ends = time.monotonic() + 15
    wanted = [2, sum(client.messages for client in clients), 4, sum(client.weight for client in clients)]
    while (found := told(quick)) == [] or found[0]["connections"] < 2 or found[0]["messages"] < wanted[1]:
        assert time.monotonic() < ends, found
        time.sleep(0.1)
    (line,) = found
    assert [line[name] for name in ("connections", "messages", "commands", "bytes")] == wanted
    assert line["key"] == quick.planted.split("_")[1]
    file = quick.get("/api/v1/me/usage/?format=csv", Authorization=f"Bearer {quick.planted}")[1].decode()
    assert file.split("\r\n")[1].startswith(f"{line['day']},{line['key']},2,{wanted[1]},4,{wanted[3]},")
    assert "must consume" not in quick.log.read_text()  # what Django says of a file that is not streamed


def test_a_process_that_stops_saves_what_it_has(lazy: Tickwire) -> None:
    client = use(lazy)
    assert told(lazy) == []
    assert lazy.stop() == 0
    assert lazy.manage("shell", "-v0", "-c", ROWS) == str([(1, client.messages, 2, client.weight)])
