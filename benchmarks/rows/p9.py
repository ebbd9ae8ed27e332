"""P9: klines over REST: 1000 bars of one symbol out of 10 million stored ones, p99, on SQLite and on PostgreSQL.

100 symbols have 100,000 bars of one minute each, stored minute after minute as they close, so that no two bars of a symbol lie
beside each other. The database makes them itself, by INSERT … SELECT, in the table with its index as migrations leave it, and is
told to clean up behind it (ANALYZE, VACUUM, CHECKPOINT). Redis has the newest 300 updates of each symbol's open bar. One client
asks for 1000 bars of a random symbol before a random instant, 2000 times, one request after the other, with an API key; the time
is from sending the request to having read the whole answer. PostgreSQL and Redis run on the client's core. Detail: how long
filling took, the database's plan for the query, server CPU.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks import machine, postgresql, servers
from benchmarks.asking import Asking, request
from benchmarks.figures import Row
from benchmarks.trial import ATTEMPTS, undisturbed
from marketdata import ticks
from marketdata.layout import Layout
from marketdata.store import Store, Update
from marketdata.ticks import Kline
from marketdata.topics import Interval

SYMBOLS, BARS, ASKED = 100, 100_000, 1000
FIRST_US, MINUTE_US = 1_735_689_600_000_000, 60_000_000
UPDATES = 300
WARM_UP, REQUESTS = 100, 2000
GOAL_MS = 20.0
CHUNK = 2000  # minutes in one statement
FILL = f"""
from django.db import connection
chunk = '''
WITH RECURSIVE minute(n) AS (SELECT CAST(%s AS bigint) UNION ALL SELECT n + 1 FROM minute WHERE n < %s - 1)
INSERT INTO marketdata_kline
  (symbol, "interval", open_time, open, high, low, close, volume, turnover, trades, revision, ts)
SELECT listed.symbol, '1m', {FIRST_US} + n * {MINUTE_US},
  (270 + n %% 9) || '.' || (10 + n %% 90), (280 + n %% 9) || '.' || (10 + n %% 90),
  (260 + n %% 9) || '.' || (10 + n %% 90), (271 + n %% 9) || '.' || (10 + n %% 90),
  (1000 + n %% 8999) || '.5', (270000 + n %% 99999) || '.25',
  100 + n %% 899, 0, {FIRST_US} + n * {MINUTE_US} + 59000000
FROM minute CROSS JOIN (SELECT symbol FROM marketdata_instrument ORDER BY symbol LIMIT {SYMBOLS}) AS listed
ORDER BY n, listed.symbol
'''
with connection.cursor() as cursor:
    for begin in range(0, {BARS}, {CHUNK}):
        cursor.execute(chunk, [begin, begin + {CHUNK}])
    if connection.vendor == "postgresql":  # what it does by itself, some time later
        cursor.execute("VACUUM (ANALYZE) marketdata_kline")
        cursor.execute("CHECKPOINT")
    else:
        cursor.execute("ANALYZE marketdata_kline")
"""  # noqa: S608 -- of numbers only
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
"""  # noqa: S608 -- of numbers only
NAMES = ("SQLite", "PostgreSQL")
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
    found = [detail[name] for name in NAMES if name in detail]
    value = max(one["p99_ms"] for one in found)
    whole = all(one["bars"] == SYMBOLS * BARS and not one["refused"] for one in found)
    unit = "ms p99, the slower of " + " and ".join(f"{name} {detail[name]['p99_ms']:g}" for name in detail if name in NAMES)
    return Row(value, unit, f"≤ {GOAL_MS:g} on both", whole and value <= GOAL_MS and len(found) == 2, detail)


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
        publish(bus)
        found |= json.loads(servers.manage(home, bus, "shell", "-v0", "-c", LOOK, settings=settings))
        if not settings:
            found["stored_mib"] = sum(path.stat().st_size for path in Path(home).glob("*.sqlite3*")) >> 20
        return found | asked(target.port, target.pid, servers.key_of(target.greeting))


def publish(bus: Path) -> None:
    """Put the open bar of each symbol into the store, as often as it has changed."""
    opened = FIRST_US + BARS * MINUTE_US
    store = Store(f"unix://{bus}", Layout(servers.PREFIX))
    for symbol in (f"S{number:04d}" for number in range(SYMBOLS)):
        changes = (
            Kline(symbol, opened + at, Interval.M1, opened, opened + MINUTE_US, "270.1", "280.1", "260.1", "271.1", "1000.5",
                  "270000.25", at, closed=False)
            for at in range(UPDATES)
        )  # fmt: skip
        store.publish([Update(str(change.topic), ticks.body(change)) for change in changes])
    store.close()


def asked(port: int, pid: int, key: str) -> dict[str, Any]:
    """Ask for random bars."""
    asking = Asking(port, [request(path, Authorization=f"Bearer {key}") for path in paths()], 1)
    try:
        asking.run(most=WARM_UP)
        check(asking.last)
        return undisturbed(lambda: timed(asking, pid), itemgetter("disturbed_percent"))
    finally:
        asking.close()


def timed(asking: Asking, pid: int) -> dict[str, Any]:
    """Ask as often as it counts."""
    watch, cpu = machine.Watch(), machine.cpu_s(pid)
    answers = asking.run(most=REQUESTS)
    return {
        "p50_ms": answers.p(50),
        "p99_ms": answers.p(99),
        "most_ms": answers.p(100),
        "server_cpu_ms": round(1000 * (machine.cpu_s(pid) - cpu) / REQUESTS, 2),
        "bytes": answers.received_bytes // REQUESTS,
        "refused": answers.refused,
        "disturbed_percent": watch.disturbed_percent,
    }


def paths() -> list[str]:
    """What is asked for, each once."""
    chance = random.Random(9)  # noqa: S311
    drawn = ((chance.randrange(SYMBOLS), chance.randrange(ASKED, BARS)) for _ in range(WARM_UP + ATTEMPTS * REQUESTS))
    return [
        f"/api/v1/klines/S{symbol:04d}/?interval=1m&limit={ASKED}&end={FIRST_US + minute * MINUTE_US}" for symbol, minute in drawn
    ]


def check(answer: bytes) -> None:
    """Fail unless the answer has all bars, in their order."""
    times = [bar["open_time"] for bar in json.loads(answer.partition(b"\r\n\r\n")[2])["klines"]]
    assert len(times) == ASKED, answer[:500]
    assert times == list(range(times[0], times[0] + ASKED * MINUTE_US, MINUTE_US)), times[:10]
