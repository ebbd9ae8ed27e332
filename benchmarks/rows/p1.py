"""P1: fan-out of one trade topic to 200 subscribers: server CPU per delivered update, beside stock Channels in the same run.

Stock Channels cannot take more than a few thousand updates/s, at which Tickwire idles: it then wakes up, and writes to each
socket, for every single update. The row's value compares what an update costs where each is at work: stock Channels on
channels_redis' core layer and daphne at 2 000 updates/s, Tickwire at 1 000 000. The ratio at the very same 2 000 is in the
detail, as are the other layer and server. Three windows of three seconds each, medians; what is lost is counted.
"""

from __future__ import annotations

from typing import Any

from benchmarks.figures import Row
from benchmarks.peers import Peer, stock_peers
from benchmarks.servers import tickwire
from benchmarks.trial import Trial, fan_out, fan_out_trial

CLIENTS = 200
SAME_PER_S, WORK_PER_S = 10, 5000  # published; times 200 clients
GOAL = 100.0


def run() -> Row:
    """Measure all of them."""
    with fan_out(tickwire) as (target, source):
        ours = {rate: fan_out_trial(target, source, CLIENTS, rate, window_s=3.0) for rate in (SAME_PER_S, WORK_PER_S)}
    stock = {peer.name: _one(peer) for peer in stock_peers()}
    detail: dict[str, Any] = {
        "tickwire_at_2k_per_s": ours[SAME_PER_S].seen(),
        "tickwire_at_1m_per_s": ours[WORK_PER_S].seen(),
        "peers_at_2k_per_s": {name: seen.seen() if isinstance(seen, Trial) else seen for name, seen in stock.items()},
    }
    base = stock["Channels core, daphne"]
    if not isinstance(base, Trial):
        return Row(None, "× less CPU", f"≥ {GOAL:g}", False, detail)
    detail["ratio_at_the_same_2k_per_s"] = round(base.cpu_us / ours[SAME_PER_S].cpu_us, 1)
    value = round(base.cpu_us / ours[WORK_PER_S].cpu_us, 1)
    return Row(value, "× less CPU", f"≥ {GOAL:g}", value >= GOAL and not ours[WORK_PER_S].lost, detail)


def _one(peer: Peer) -> Trial | str:
    if peer.missing:
        return peer.missing
    with fan_out(peer.open) as (target, source):
        return fan_out_trial(target, source, CLIENTS, SAME_PER_S, window_s=3.0)
