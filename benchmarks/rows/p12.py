"""P12: what monitoring costs the data path: P2's shape, near what a core carries, with reports and samples, or without.

Counting is part of the data path and always on; what is switched off is the report once a second, and the samples of latency. The
two take turns, five times each, so that both meet the same machine; the value is the median of the pairs' ratios.
"""

from __future__ import annotations

from functools import partial
from statistics import median

from benchmarks.figures import Row
from benchmarks.servers import tickwire
from benchmarks.trial import Trial, fan_out, fan_out_trial

CLIENTS, PER_S, TURNS = 200, 30_000, 5
WITHOUT = {"TICKWIRE_REPORTING": "false"}
GOAL = 1.03


def run() -> Row:
    """Measure both, in turn."""
    pairs = [(_one({}), _one(WITHOUT)) for _ in range(TURNS)]
    value = round(median(one.cpu_us / other.cpu_us for one, other in pairs), 3)
    lost = sum(one.lost + other.lost for one, other in pairs)
    detail = {"with": [one.seen() for one, _ in pairs], "without": [other.seen() for _, other in pairs]}
    return Row(value, "× the CPU without", f"≤ {GOAL:g}", value <= GOAL and not lost, detail)


def _one(settings: dict[str, str]) -> Trial:
    with fan_out(partial(tickwire, settings=settings)) as (target, source):
        return fan_out_trial(target, source, CLIENTS, PER_S)
