"""P9: klines over REST: 1000 bars of one symbol out of 10 million stored ones, p99, on SQLite and on PostgreSQL.

100 symbols have 100,000 bars of one minute each, stored minute after minute as they close, so that no two bars of a symbol lie
beside each other. The database makes them itself, by INSERT … SELECT, in the table with its index as migrations leave it, and is
told to ANALYZE. One client asks for 1000 bars of a random symbol before a random instant, one request after the other, with an
API key; the time is from sending the request to having read the whole answer. Databases and Redis run on the client's core.
Detail: how long filling took, size, the database's plan for the query, server CPU.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks import machine, postgresql, servers
from benchmarks.asking import Asking, request
from benchmarks.figures import Row

SYMBOLS, BARS, ASKED = 100, 100_000, 1000
FIRST_US, MINUTE_US = 1_735_689_600_000_000, 60_000_000
WARM_UP, REQUESTS = 100, 2000
GOAL_MS = 20.0
CHUNK = 2000  # minutes in one statement
FILL = f"""
from django.db import connection
chunk = '''
WITH RECURSIVE minute(number) AS (SELECT CAST(%s AS bigint) UNION ALL SELECT number + 1 FROM minute WHERE number < %s - 1)
INSERT INTO marketdata_kline
  (symbol, "interval", open_time, open, high, low, close, volume, turnover, trades, revision, ts)
SELECT listed.symbol, '1m', {FIRST_US} + minute.number * {MINUTE_US},
  (270 + minute.number %% 9) || '.' || (10 + minute.number %% 90), (280 + minute.number %% 9) || '.' || (10 + minute.number %% 90),
  (260 + minute.number %% 9) || '.' || (10 + minute.number %% 90), (271 + minute.number %% 9) || '.' || (10 + minute.number %% 90),
  (1000 + minute.number %% 8999) || '.5', (270000 + minute.number %% 99999) || '.25',
  100 + minute.number %% 899, 0, {FIRST_US} + minute.number * {MINUTE_US} + 59000000
FROM minute CROSS JOIN (SELECT symbol FROM marketdata_instrument ORDER BY symbol LIMIT {SYMBOLS}) AS listed
ORDER BY minute.number, listed.symbol
'''
with connection.cursor() as cursor:
    for begin in range(0, {BARS}, {CHUNK}):
        cursor.execute(chunk, [begin, begin + {CHUNK}])
    cursor.execute("ANALYZE marketdata_kline")
"""
LOOK = f"""
import json
from django.db import connection
from marketdata import bars
from marketdata.topics import Interval
rows = bars.rows("S0050", Interval.M1, 0, {FIRST_US + BARS // 2 * MINUTE_US}, {ASKED + 1})
with connection.cursor() as cursor:
    cursor.execute("SELECT count(*) FROM marketdata_kline")
    count = cursor.fetchone()[0]
print(json.dumps(dict(bars=count, plan=rows.explain())))
"""
POSTGRESQL = {"shared_buffers": "512MB", "max_wal_size": "4GB", "synchronous_commit": "off"}

Database = Callable[[], AbstractContextManager[dict[str, str]]]


def run() -> Row:
    """Measure both."""
    detail: dict[str, Any] = {"symbols": SYMBOLS, "asked": ASKED, "requests": REQUESTS, "missing": {}}
    detail["SQLite"] = measured(lambda: nullcontext({}))
    if (missing := postgresql.missing()) is None:
        detail["PostgreSQL"] = measured(started)
    else:
        detail["missing"]["PostgreSQL"] = missing
    found = [detail[name] for name in ("SQLite", "PostgreSQL") if name in detail]
    value = max(one["p99_ms"] for one in found)
    whole = all(one["bars"] == SYMBOLS * BARS and not one["refused"] for one in found)
    unit = "ms p99, the slower of " + " and ".join(f"{name} {detail[name]['p99_ms']:g}" for name in detail if name in NAMES)
    return Row(value, unit, f"≤ {GOAL_MS:g} on both", whole and value <= GOAL_MS and len(found) == 2, detail)


NAMES = ("SQLite", "PostgreSQL")


@contextmanager
def started() -> Iterator[dict[str, str]]:
    """The settings of a Tickwire on a PostgreSQL of its own."""
    with postgresql.server(machine.pin(machine.CLIENT_CORE), **POSTGRESQL) as url:
        yield {"TICKWIRE_DATABASE_URL": url}


def measured(database: Database) -> dict[str, Any]:
    """Fill a database, and ask."""
    with (
        servers.scratch() as home,
        servers.redis_server(home) as bus,
        database() as settings,
        servers.tickwire(home, bus, settings=settings) as target,
    ):
        began = time.monotonic()
        servers.manage(home, bus, "shell", "-v0", "-c", FILL, settings=settings)
        found = {"filled_in_s": round(time.monotonic() - began, 1)}
        found |= json.loads(servers.manage(home, bus, "shell", "-v0", "-c", LOOK, settings=settings))
        if not settings:
            found["stored_mib"] = sum(path.stat().st_size for path in Path(home).glob("*.sqlite3*")) >> 20
        return found | asked(target.port, target.pid, servers.key_of(target.greeting))


def asked(port: int, pid: int, key: str) -> dict[str, Any]:
    """Ask for random bars."""
    asking = Asking(port, [request(path, Authorization=f"Bearer {key}") for path in paths()], 1)
    try:
        asking.run(most=WARM_UP)
        check(asking.last)
        cpu = machine.cpu_s(pid)
        answers = asking.run(most=REQUESTS)
        cpu = machine.cpu_s(pid) - cpu
    finally:
        asking.close()
    return {
        "p50_ms": answers.p(50),
        "p99_ms": answers.p(99),
        "most_ms": answers.p(100),
        "server_cpu_ms": round(1000 * cpu / REQUESTS, 2),
        "bytes": answers.received_bytes // REQUESTS,
        "refused": answers.refused,
    }


def paths() -> list[str]:
    """What is asked for, each once."""
    chance = random.Random(9)  # noqa: S311
    drawn = ((chance.randrange(SYMBOLS), chance.randrange(ASKED, BARS)) for _ in range(WARM_UP + REQUESTS))
    return [
        f"/api/v1/klines/S{symbol:04d}/?interval=1m&limit={ASKED}&end={FIRST_US + minute * MINUTE_US}" for symbol, minute in drawn
    ]


def check(answer: bytes) -> None:
    """Fail unless the answer has all bars, in their order."""
    times = [bar["open_time"] for bar in json.loads(answer.partition(b"\r\n\r\n")[2])["klines"]]
    assert len(times) == ASKED, answer[:500]
    assert times == list(range(times[0], times[0] + ASKED * MINUTE_US, MINUTE_US)), times[:10]
