"""P10: the kernel floor: Tickwire's CPU over that of a process that only writes as many bytes to as many sockets as often.

Tickwire delivers a million updates/s to 200 clients (P2's shape); what they read, in bytes and reads per second and socket, is
then written by `benchmarks.floor` and read by the same clients. A read is taken for a write, which holds while clients keep up.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.figures import Row
from benchmarks.load import Greeting, Load, handshake
from benchmarks.servers import line_of, started, tickwire
from benchmarks.trial import WARM_UP_S, WINDOW_S, fan_out, fan_out_trial

CLIENTS, PER_S = 200, 5000
GOAL = 2.0


def run() -> Row:
    """Measure both."""
    with fan_out(tickwire) as (target, source):
        ours = fan_out_trial(target, source, CLIENTS, PER_S)
    size = round(ours.mb_per_s * 1e6 / ours.reads_per_s)
    period_s = CLIENTS / ours.reads_per_s
    floor = _floor(size, period_s)
    value = round(ours.cpu_percent / floor["cpu_percent"], 2)
    detail = {"tickwire": ours.seen(), "floor": floor, "bytes_per_write": size, "period_ms": round(period_s * 1000, 2)}
    return Row(value, "× the floor's CPU", f"≤ {GOAL:g}", value <= GOAL, detail)


def _floor(size: int, period_s: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.floor", str(CLIENTS), str(size), str(period_s)]
    with started(command, core=machine.SERVER_CORE, heard=True) as process:
        load = Load(int(line_of(process)), Greeting(handshake("/"), even=True))
        try:
            load.connect(CLIENTS)
            load.run(WARM_UP_S)
            seen = [_window(process.pid, load) for _ in range(3)]
        finally:
            load.close()
    return {name: round(median(one[name] for one in seen), 2) for name in seen[0]}


def _window(pid: int, load: Load) -> dict[str, float]:
    cpu = machine.cpu_s(pid)
    window = load.run(WINDOW_S)
    return {
        "cpu_percent": 100 * (machine.cpu_s(pid) - cpu) / window.seconds,
        "mb_per_s": window.received_bytes / window.seconds / 1e6,
        "reads_per_s": window.reads / window.seconds,
    }
