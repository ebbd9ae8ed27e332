"""P2: highest sustained updates/s on one core: 200 subscribers of one trade topic, p99 ≤ 50 ms, nothing lost; beside others.

The one core is the server's and, where a system has one, its Redis's. Clients and publisher have the other.

For each system the rate is doubled, then raised from the last good one by a fifth at a time, each until a rate fails twice.
A trial is a second of warm-up and a window of two, on fresh connections. The value is Tickwire's highest over the highest of the
others. Where the clients' core was full (`client_is_the_limit`) a system might do more than is shown.
"""

from __future__ import annotations

from typing import Any

from benchmarks.figures import Row
from benchmarks.peers import fast_peers
from benchmarks.servers import tickwire
from benchmarks.trial import Open, Trial, best, highest

CLIENTS = 200
P99_MS = 50.0
GOAL = 4.0
START_PER_S = {"FastAPI + redis": 50.0, "Tickwire": 1000.0}
ELSE_PER_S = 250.0


def run() -> Row:
    """Measure all of them."""
    systems: dict[str, Open] = {"Tickwire": tickwire} | {peer.name: peer.open for peer in fast_peers() if not peer.missing}
    found = {
        name: highest(open, CLIENTS, P99_MS, start_per_s=START_PER_S.get(name, ELSE_PER_S)) for name, open in systems.items()
    }
    tops = {name: best(trials, P99_MS) for name, trials in found.items()}
    detail: dict[str, Any] = {
        "highest": {name: top.seen() if top else None for name, top in tops.items()},
        "trials": {name: [one.seen() for one in trials] for name, trials in found.items()},
        "missing": {peer.name: peer.missing for peer in fast_peers() if peer.missing},
    }
    ours, others = tops.pop("Tickwire"), {name: top for name, top in tops.items() if top}
    if ours is None or not others:
        return Row(None, "× the best other", f"≥ {GOAL:g}", False, detail)
    rival, other = max(others.items(), key=_rate)
    detail["best_other"] = rival
    value = round(ours.updates_per_s / other.updates_per_s, 2)
    return Row(value, "× the best other", f"≥ {GOAL:g}", value >= GOAL, detail)


def _rate(item: tuple[str, Trial]) -> float:
    return item[1].updates_per_s
