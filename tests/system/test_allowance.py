"""A plan's bytes per second, counted where the client reads them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crowd import BROKEN_OFF, SETUP
from tests.system.conftest import SERVE, Tickwire, run_server
from tests.system.test_slow_ladder import LITTLE, QUICK, QUOTE, SMALL, TRADE, Ledger, connect, counted, eventually, publish

RATE = 40_000
WATCHED_S = 4.0
LIMITED = f"{SETUP.format(symbols=4)}\nPlan.objects.filter(name='roomy').update(bytes_per_second={RATE})"


@pytest.fixture(scope="module")
def server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    """A server whose one plan has a limit."""
    folder: Path = tmp_path_factory.mktemp("allowance")
    yield from run_server(folder, redis_url, folder.name, SERVE, plant=LIMITED, **QUICK, **SMALL)


@pytest.fixture
def client(server: Tickwire) -> Iterator[Ledger]:
    found = connect(server, TRADE, QUOTE)
    yield found
    found.sock.close()
    eventually(server, lambda stats: stats["connections"] == 0)


def test_a_client_gets_as_much_as_its_plan_allows_and_every_loss_is_named(server: Tickwire, client: Ledger) -> None:
    begun = client.seen[TRADE]
    while "limits" not in client.events:
        publish(server, TRADE, 20)
        client.read()
    since, before = time.monotonic(), client.received_bytes
    while (watched_s := time.monotonic() - since) < WATCHED_S:
        newest = publish(server, TRADE, 20), publish(server, QUOTE, 1)
        client.read()
    assert client.received_bytes - before <= 1.5 * RATE * watched_s

    client.until(lambda: (client.seen[TRADE], client.seen[QUOTE]) == newest)
    assert client.got[TRADE] + client.lost[TRADE] == newest[0] - begun
    assert client.lost[TRADE] > 0
    assert client.faults == []
    assert client.events.count("limits") == 1
    assert "slow" not in client.events
    client.say("ping", id=1)
    client.until(lambda: client.told[-1]["type"] == "pong")
    assert client.ended is None


def test_one_that_does_not_read_at_all_is_closed_as_ever(server: Tickwire, client: Ledger) -> None:
    (before,) = counted(server, "slow_closed")
    publish(server, TRADE, 20)
    client.until(lambda: client.got[TRADE] > 0, LITTLE)
    ends = time.monotonic() + 40
    while server.stats(server.planted)["connections"]:
        assert time.monotonic() < ends
        publish(server, TRADE, 20)
        time.sleep(0.02)
    assert counted(server, "slow_closed") == (before + 1,)
    client.until(lambda: client.ended)
    assert client.ended in (4008, BROKEN_OFF)  # as far as the kernel took it
    assert client.faults == []
