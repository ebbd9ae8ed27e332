"""P11: a reconnect storm: the server dies, 5,000 clients come back at once, and each resumes its session of 10 topics.

The clients follow 10 of 1,000 trade topics each. The server is killed (SIGKILL), 5 updates are published to each topic, and it is
started again. From its first answer on all clients dial, 64 handshakes being under way at any time; one is live when it has all
that it missed. Then one more update goes to each topic, and must reach everybody. Detail: for how many topics the store was read,
and the queries, most of which are the clock's (plans, instruments).
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import machine, servers
from benchmarks.figures import Row
from benchmarks.load import UPDATE, Greeting, Load, frame
from benchmarks.servers import Target
from benchmarks.source import body, topics
from marketdata.layout import Layout
from marketdata.store import Stamped, Store, Update

CLIENTS, FOLLOWED, MISSED = 5000, 10, 5
GOAL_S, GOAL_QUERIES = 15.0, 50


def run() -> Row:
    """Measure."""
    with servers.scratch() as home, servers.redis_server(home) as bus:
        with servers.tickwire(home, bus) as target:
            key, sessions = servers.key_of(target.greeting), left(target)
        store = Store(f"unix://{bus}", Layout(servers.PREFIX))
        at = dict(zip(names(), store.latest(names()), strict=True))
        for _ in range(MISSED):
            publish(store)
        with servers.serving(home, bus, key) as target:
            load = Load(target.port, resuming(target, sessions, at))
            try:
                return storm(load, store, target, key)
            finally:
                load.close()
                store.close()


def left(target: Target) -> dict[int, str]:
    """Have the clients follow their topics, and the server die. Returns their sessions."""
    load = Load(target.port, servers.follow(servers.key_of(target.greeting), choose, even=False))
    load.connect(CLIENTS, within_s=120)
    time.sleep(1)  # sessions are saved behind the reply
    os.kill(target.pid, signal.SIGKILL)
    load.close()
    return load.sessions


def resuming(target: Target, sessions: Mapping[int, str], at: Mapping[str, Stamped | None]) -> Greeting:
    """Connect, and resume with the position of each topic; live with everything that was missed."""

    def resume(number: int) -> bytes:
        stamps = {name: at[name] for name in (f"trade.S{topic:04d}" for topic in choose(number))}
        positions = {name: {"epoch": stamp.epoch, "seq": stamp.seq} for name, stamp in stamps.items() if stamp is not None}
        return frame(json.dumps({"op": "resume", "session": sessions[number], "positions": positions}).encode())

    return Greeting(target.greeting.request, resume, (UPDATE, FOLLOWED * MISSED))


def storm(load: Load, store: Store, target: Target, key: str) -> Row:
    """Have all clients come back."""
    before, cpu = counts(target.port, key), machine.cpu_s(target.pid)
    seconds = load.connect(CLIENTS, within_s=120)
    cpu = machine.cpu_s(target.pid) - cpu
    after = counts(target.port, key)
    load.mark()
    publish(store)
    live = load.run_until(CLIENTS * FOLLOWED, 10.0)
    queries = after["database_queries"] - before["database_queries"]
    detail = {
        "clients": CLIENTS,
        "topics_each": FOLLOWED,
        "updates_missed_each": FOLLOWED * MISSED,
        "database_queries": queries,
        "store_readings": after["counts"].get("replays_read", 0),
        "recovered": after["counts"].get("recovered", 0),
        "unrecovered": after["counts"].get("unrecovered", 0),
        "server_cpu_s": round(cpu, 2),
        "all_live": live,
        "closed": load.closed,
    }
    whole = live and not load.closed and detail["recovered"] == CLIENTS * FOLLOWED
    met = bool(whole) and seconds <= GOAL_S and queries <= GOAL_QUERIES
    return Row(
        round(seconds, 2), f"s until all are live ({queries} queries)", f"≤ {GOAL_S:g} s, ≤ {GOAL_QUERIES} queries", met, detail
    )


def names() -> list[str]:
    """All topics."""
    return [topic.decode() for topic in topics(servers.TOPICS)]


def publish(store: Store) -> None:
    """One more trade of each symbol."""
    store.publish([Update(topic.decode(), body(topic)) for topic in topics(servers.TOPICS)])


def counts(port: int, key: str) -> dict[str, Any]:
    """What the server counts."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/admin/stats/", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        found: dict[str, Any] = json.loads(answer.read())
    return found


def choose(number: int) -> Sequence[int]:
    """The topics of a connection."""
    return random.Random(number).sample(range(servers.TOPICS), FOLLOWED)  # noqa: S311
