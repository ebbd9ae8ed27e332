"""P4: the whole path on two cores: publisher → publish.lua → hub → 50 sockets; distinct updates/s in without loss.

The server has one core; publisher, Redis and clients share the other. 100 trade topics, followed by every client. The rate rises
from 20 000 updates/s by a fifth until something is lost. A p99 of more than half a second counts as lost too: a queue is then
growing somewhere, here mostly on the other core, which is full.
"""

from __future__ import annotations

from benchmarks import servers
from benchmarks.figures import Row
from benchmarks.trial import Trial, fresh_trial

CLIENTS, TOPICS = 50, 100
P99_MS = 500.0
GOAL = 20_000
FIRST_PER_S = 20_400
MOST_TRIALS = 4


def run() -> Row:
    """Measure."""
    trials: list[Trial] = []
    with servers.scratch() as home, servers.redis_server(home) as bus, servers.tickwire(home, bus) as target:
        greeting = servers.follow(servers.key_of(target.greeting), lambda _: range(TOPICS))
        with servers.source(target, TOPICS) as source:
            rate = float(FIRST_PER_S)
            while len(trials) < MOST_TRIALS:
                trials.append(fresh_trial(target, greeting, CLIENTS, source, rate, lambda published: published * CLIENTS))
                held = trials[-1].sustained(P99_MS)
                if trials[0].sustained(P99_MS) != held:
                    break
                rate *= 1.2 if held else 0.8
    top = max((one for one in trials if one.sustained(P99_MS)), key=lambda one: one.updates_per_s, default=None)
    value = round(top.updates_per_s / CLIENTS) if top else None
    detail = {"delivered_per_s": round(top.updates_per_s) if top else None, "trials": [one.seen() for one in trials]}
    return Row(value, "updates/s in (× 50 out)", "≥ 20 000 in, 1 000 000 out", bool(value and value >= GOAL), detail)
