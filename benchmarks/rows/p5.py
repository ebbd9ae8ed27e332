"""P5: latency from the publisher's clock to the client's, 1000 updates/s in, 200 sockets; medians of five windows."""

from __future__ import annotations

from benchmarks.figures import Row
from benchmarks.servers import tickwire
from benchmarks.trial import fan_out, fan_out_trial

CLIENTS, PER_S = 200, 1000
P50_MS, P99_MS = 1.5, 6.0


def run() -> Row:
    """Measure."""
    with fan_out(tickwire) as (target, source):
        seen = fan_out_trial(target, source, CLIENTS, PER_S, windows=5)
    met = bool(seen.p50_ms and seen.p99_ms and seen.p50_ms <= P50_MS and seen.p99_ms <= P99_MS and not seen.lost)
    return Row(seen.p99_ms, f"ms p99 (p50 {seen.p50_ms})", f"p50 ≤ {P50_MS:g}, p99 ≤ {P99_MS:g}", met, seen.seen())
