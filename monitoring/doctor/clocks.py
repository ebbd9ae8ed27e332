"""Clocks: this machine's beside those of Redis and the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import redis
from django.db import DatabaseError, connection

from marketdata import dial
from monitoring.doctor.findings import Finding, fail, ok, warn

WAIT_S = 3.0
SOME_S, MUCH_S = 0.25, 2.0
FIX = "let both follow the same time servers (timedatectl set-ntp true, or chrony)"


def ask(url: str) -> dict[str, float]:
    """By how many seconds each clock is ahead of ours; those that cannot be asked are left out."""
    found: dict[str, float] = {}
    try:
        with dial.client(url, WAIT_S) as client:
            found["Redis"] = ahead(lambda: _redis_time(client))
    except (redis.RedisError, OSError):
        pass
    try:
        if connection.vendor == "postgresql":
            found["the database"] = ahead(_database_time)
    except DatabaseError:
        pass
    return found


def _redis_time(client: redis.Redis) -> float:
    seconds, micros = client.time()
    return int(seconds) + int(micros) / 1e6


def _database_time() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        return float(cursor.fetchone()[0])


def ahead(clock: Callable[[], float], own: Callable[[], float] = time.time) -> float:
    """By how many seconds a clock is ahead of ours: the quickest of some questions, whose answer was made half-way."""
    asked = []
    for _ in range(5):
        began = own()
        told = clock()
        ended = own()
        asked.append((ended - began, told - (began + ended) / 2))
    return min(asked)[1]


def check(ahead_s: Mapping[str, float]) -> Iterator[Finding]:
    """Judge them. Updates bear the time of who publishes, tokens and leases end by the clock of who looks."""
    for whose, found in ahead_s.items():
        about, side = f"clock of {whose.removeprefix('the ')}".lower(), "ahead of" if found > 0 else "behind"
        says = f"The clock of {whose} is {abs(found) * 1000:.0f} ms {side} this machine's."
        if abs(found) <= SOME_S:
            yield ok(about, says)
        else:
            yield warn(about, says, FIX) if abs(found) <= MUCH_S else fail(about, says, FIX)
