"""P8: REST snapshots of 100 topics: requests per second of server CPU, beside the same view as DRF serializers over the ORM.

16 clients on open connections ask for 100 of 1000 quotes each time, drawn at random, with an API key whose plan limits requests
(roomily), and without an ETag: every answer is made and sent whole. The peer has its latest values in a table of SQLite, one
query, a ModelSerializer and REST framework's TokenAuthentication, and neither limits nor ETags; it is served by uvicorn through
ASGI and WSGI, and the better of the two is compared. Three windows of three seconds each, medians. Detail: requests per second
of the clock, Redis's CPU for each, and Tickwire's same view through Django, which answers whoever shows a cookie.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine, servers
from benchmarks.asking import Asking, request
from benchmarks.figures import Row
from benchmarks.peers import uvicorn
from benchmarks.source import quote
from marketdata.layout import Layout
from marketdata.store import Store, Update

TOPICS, ASKED, CLIENTS, DIFFERENT = 1000, 100, 16, 500
WARM_UP_S, WINDOW_S, WINDOWS = 2.0, 3.0, 3
GOAL = 10.0
PEER = "benchmarks.peers.stock_rest"


def run() -> Row:
    """Measure all of them."""
    ours = tickwire()
    stock = {f"Django REST framework, {way}": peer(way) for way in ("asgi3", "wsgi")}
    base = max(one["per_server_cpu_s"] for one in stock.values())
    value = round(ours["Tickwire"]["per_server_cpu_s"] / base, 1)
    whole = not any(one["refused"] for one in (*ours.values(), *stock.values()))
    detail = {"topics": ASKED, "clients": CLIENTS, **ours, **stock}
    return Row(value, f"× the requests/s per core of plain DRF ({base:g})", f"≥ {GOAL:g} ×", value >= GOAL and whole, detail)


def tickwire() -> dict[str, dict[str, Any]]:
    """Tickwire, and the same view through Django."""
    with servers.scratch() as home, servers.redis_server(home) as bus, servers.tickwire(home, bus) as target:
        key = servers.manage(home, bus, "issue_key", "bench")
        store = Store(f"unix://{bus}", Layout(servers.PREFIX))
        fields = {f"S{number:04d}": quote(f"S{number:04d}") for number in range(TOPICS)}
        store.publish([Update(f"quote.{symbol}", compact(one)) for symbol, one in fields.items()])
        redis_pid = store.client.info("server")["process_id"]
        store.close()
        direct = measured(target.port, target.pid, redis_pid, Authorization=f"Bearer {key}")
        through = measured(target.port, target.pid, redis_pid, Authorization=f"Bearer {key}", Cookie="any=one")
    return {"Tickwire": direct, "Tickwire, through Django": through}


def compact(fields: dict[str, Any]) -> bytes:
    """A body as feeds write it."""
    return json.dumps(fields, separators=(",", ":")).encode()


def peer(way: str) -> dict[str, Any]:
    """Plain REST framework."""
    with servers.scratch() as home:
        env = {"PEER_HOME": str(home)}
        with servers.started([sys.executable, "-m", PEER], core=machine.SERVER_CORE, env=env, heard=True) as process:
            token = servers.line_of(process)
        port = servers.free_port()
        command = [*uvicorn(f"{PEER}:{'application' if way == 'asgi3' else 'wsgi'}", port), "--interface", way]
        with servers.started(command, core=machine.SERVER_CORE, env=env, log=Path(home) / "peer.log") as process:
            servers.wait_for_port(port, "the peer")
            return measured(port, process.pid, None, Authorization=f"Token {token}")


def paths() -> Sequence[str]:
    """What is asked for."""
    chance = random.Random(8)  # noqa: S311
    drawn = (sorted(chance.sample(range(TOPICS), ASKED)) for _ in range(DIFFERENT))
    return [f"/api/v1/snapshots/?topics={','.join(f'quote.S{number:04d}' for number in numbers)}" for numbers in drawn]


def measured(port: int, pid: int, redis_pid: int | None, **headers: str) -> dict[str, Any]:
    """Ask for a while, and read the clocks."""
    asking = Asking(port, [request(path, **headers) for path in paths()], CLIENTS)
    try:
        refused = asking.run(WARM_UP_S).refused
        check(asking.last)
        windows = [window(asking, pid, redis_pid) for _ in range(WINDOWS)]
    finally:
        asking.close()
    middle = {name: round(median(one[name] for one in windows), 2) for name in windows[0]}
    return middle | {"refused": refused + sum(one["refused"] for one in windows)}


def check(answer: bytes) -> None:
    """Fail unless the answer has all topics with their values."""
    found = json.loads(answer.partition(b"\r\n\r\n")[2])
    values = [one["data"]["bid"] for one in found["snapshots"]]
    assert (len(values), set(values), found["rejected"]) == (ASKED, {"274.83"}, []), answer[:500]


def window(asking: Asking, pid: int, redis_pid: int | None) -> dict[str, float]:
    """One stretch."""
    watch, cpu, redis_cpu = machine.Watch(), machine.cpu_s(pid), machine.cpu_s(redis_pid) if redis_pid else 0.0
    answers = asking.run(WINDOW_S)
    cpu, redis_cpu = machine.cpu_s(pid) - cpu, machine.cpu_s(redis_pid) - redis_cpu if redis_pid else 0.0
    return {
        "per_s": answers.per_s,
        "per_server_cpu_s": answers.count / cpu,
        "server_cpu_us": 1e6 * cpu / answers.count,
        "redis_cpu_us": 1e6 * redis_cpu / answers.count,
        "p50_ms": answers.p(50),
        "p99_ms": answers.p(99),
        "bytes": answers.received_bytes / len(answers.latencies_ms),
        "refused": answers.refused,
        "disturbed_percent": watch.disturbed_percent,
    }
