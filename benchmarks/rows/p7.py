"""P7: handshakes per second of server CPU: connect, show an API key, subscribe to 10 topics, receive the 10 snapshots.

64 handshakes are under way at any time; a fleet with one key, as after a restart (a verified key is believed for two seconds).
Five batches of 1000 connections, the median. Detail: the same per second of the clock, in which one client opens them all.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import median

from benchmarks import machine, servers
from benchmarks.figures import Row
from benchmarks.load import Load

BATCH, BATCHES, FOLLOWED = 1000, 5, 10
GOAL = 1200


def run() -> Row:
    """Measure."""
    per_s, per_cpu_s = [], []
    with servers.scratch() as home, servers.redis_server(home) as bus, servers.tickwire(home, bus) as target:
        load = Load(target.port, servers.follow(servers.key_of(target.greeting), choose, even=False))
        try:
            load.connect(200)  # warm-up
            for _ in range(BATCHES):
                cpu = machine.cpu_s(target.pid)
                seconds = load.connect(BATCH)
                per_s.append(BATCH / seconds)
                per_cpu_s.append(BATCH / (machine.cpu_s(target.pid) - cpu))
        finally:
            load.close()
    value = round(median(per_cpu_s))
    detail = {"per_s": list(map(round, per_s)), "per_server_cpu_s": list(map(round, per_cpu_s)), "topics": FOLLOWED}
    return Row(value, "handshakes/s of CPU", f"≥ {GOAL}", value >= GOAL, detail)


def choose(number: int) -> Sequence[int]:
    """The topics of a connection."""
    return random.Random(number).sample(range(servers.TOPICS), FOLLOWED)  # noqa: S311
