"""P6: memory per connection: 10 000 connections with 10 of 100 topics each, after traffic.

The growth of the server's resident memory from before the first connection until after ten seconds of 50 updates/s (50 000
deliveries/s). Every connection draws its own topics. A hundred connections come and go before, so that what is loaded on first
use does not count.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from benchmarks import machine, servers
from benchmarks.figures import Row
from benchmarks.trial import connected, trial

CLIENTS, FOLLOWED, TOPICS = 10_000, 10, 100
PER_S = 50
GOAL_KIB = 25.0


def run() -> Row:
    """Measure."""
    with servers.scratch() as home, servers.redis_server(home) as bus, servers.tickwire(home, bus) as target:
        greeting = servers.follow(servers.key_of(target.greeting), choose, even=False)
        with connected(target, greeting, 100):
            pass
        before = machine.resident_bytes(target.pid)
        with servers.source(target, TOPICS) as source, connected(target, greeting, CLIENTS) as load:
            idle = machine.resident_bytes(target.pid)
            seen = trial(target, load, source, PER_S, lambda _: 0, windows=5)
            after, open_still = machine.resident_bytes(target.pid), len(load)
    value = round((after - before) / CLIENTS / 1024, 1)
    detail = {
        "kib_per_connection_before_traffic": round((idle - before) / CLIENTS / 1024, 1),
        "server_mib_without_connections": round(before / 2**20),
        "server_mib": round(after / 2**20),
        "connections_still_open": open_still,
        "traffic": seen.seen() | {"lost": "not counted here"},
    }
    return Row(value, "KiB per connection", f"≤ {GOAL_KIB:g}", value <= GOAL_KIB and open_still == CLIENTS, detail)


def choose(number: int) -> Sequence[int]:
    """The topics of a connection."""
    return random.Random(number).sample(range(TOPICS), FOLLOWED)  # noqa: S311
