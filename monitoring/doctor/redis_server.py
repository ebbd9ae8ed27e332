"""Redis: reachable, new enough, and set up so that it drops nothing in silence."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import redis

from marketdata import dial
from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.masks import masked

OLDEST = (6, 2)
PUBSUB = (128 << 20, 64 << 20, 60)
LIMIT_FIX = 'CONFIG SET client-output-buffer-limit "pubsub 128mb 64mb 60", and the same in redis.conf'
QUICK_MS, SLOW_MS = 5.0, 100.0
WAIT_S = 3.0
NAMES = (
    "maxmemory-policy", "client-output-buffer-limit", "timeout", "save", "appendonly", "stream-node-max-entries", "maxmemory",
)  # fmt: skip


@dataclass(frozen=True)
class RedisFacts:
    """What a Redis says of itself.

    Attributes:
        error: why it could not be asked; empty where it could.
        info: of `INFO`.
        config: of `CONFIG GET`; None: that is forbidden.
        round_trip_ms: median of several.
    """

    error: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, str] | None = None
    round_trip_ms: float = 0.0


def ask(url: str) -> RedisFacts:
    """Ask the Redis of that address."""
    try:
        with dial.client(url, WAIT_S) as client:
            info: Any = client.info()
            return RedisFacts(info=info, config=_config(client), round_trip_ms=_round_trip_ms(client))
    except (redis.RedisError, OSError) as error:
        return RedisFacts(error=masked(str(error) or type(error).__name__).rstrip("."))


def _config(client: redis.Redis) -> dict[str, str] | None:
    try:
        found: list[Any] = [client.config_get(name) for name in NAMES]  # of several at once only Redis 7 knows
    except redis.ResponseError:  # a rented Redis has no such command
        return None
    return {_text(name): _text(value) for answer in found for name, value in answer.items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _round_trip_ms(client: redis.Redis) -> float:
    times = []
    for _ in range(7):
        began = time.perf_counter()
        client.ping()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2] * 1000


def check(facts: RedisFacts) -> Iterator[Finding]:
    """Judge what it said."""
    if facts.error:
        yield fail("redis", f"Redis cannot be asked: {facts.error}.", "start it, or correct TICKWIRE_REDIS_URL (docs/redis.md)")
        return
    yield _version(facts.info)
    yield _round_trip(facts.round_trip_ms)
    yield _role(facts.info)
    yield from _memory(facts.info)
    yield _last_save(facts.info)
    if facts.config is None:
        yield warn(
            "redis settings", "CONFIG GET is forbidden: its settings cannot be seen.", "compare them with docs/redis.md by hand"
        )
        return
    yield _policy(facts.config)
    yield _pubsub_limit(facts.config)
    yield _timeout(facts.config)
    yield _persistence(facts.config)
    yield _nodes(facts.config)


def check_broker(facts: RedisFacts) -> Iterator[Finding]:
    """Judge a Redis that is Celery's broker alone."""
    if facts.error:
        fix = "start it, or correct TICKWIRE_BROKER_URL; until then no feed is polled, and serving processes evaluate alerts"
        yield fail("broker", f"Celery's broker cannot be asked: {facts.error}.", fix)
        return
    yield ok("broker", f"Celery's broker answers in {facts.round_trip_ms:.2f} ms.")


def _version(info: Mapping[str, Any]) -> Finding:
    text = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        return fail("redis version", f"Redis {text} is too old.", "upgrade to Redis 6.2 or newer, or Valkey")
    return ok("redis version", f"Redis {text} is new enough.")


def _round_trip(found_ms: float) -> Finding:
    about, says = "redis round trip", f"Redis answers in {found_ms:.2f} ms."
    if found_ms <= QUICK_MS:
        return ok(about, says)
    fix = "move it nearer, or look for slow commands with SLOWLOG GET; every publish waits for it once"
    return warn(about, says, fix) if found_ms <= SLOW_MS else fail(about, says, fix)


def _role(info: Mapping[str, Any]) -> Finding:
    if info.get("role") == "slave":
        fix = "name the master in TICKWIRE_REDIS_URL, or the Sentinels (redis+sentinel://)"
        return fail("redis role", "This Redis is a replica, which refuses updates.", fix)
    if info.get("cluster_enabled"):
        return fail(
            "redis role", "This Redis is part of a cluster, which Tickwire cannot use.", "use a single master, or Sentinels"
        )
    return ok("redis role", "This Redis is a master.")


def _memory(info: Mapping[str, Any]) -> Iterator[Finding]:
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if not most:
        return
    share = used / most
    says = f"Redis uses {share:.0%} of its maxmemory."
    if share < 0.8:
        yield ok("redis memory", says)
    else:
        fix = "raise maxmemory, or keep less: TICKWIRE_HISTORY_UPDATES, TICKWIRE_HISTORY_TYPES"
        yield warn("redis memory", says, fix) if share < 0.95 else fail("redis memory", says, fix)


def _last_save(info: Mapping[str, Any]) -> Finding:
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        fix = "free its disk or memory (vm.overcommit_memory=1), then BGSAVE; until then it may refuse every update"
        return fail("redis last save", "Redis could not save its data.", fix)
    return ok("redis last save", "The last save succeeded.")


def _policy(config: Mapping[str, str]) -> Finding:
    policy = config.get("maxmemory-policy", "")
    if policy == "noeviction":
        return ok("redis eviction", "A full Redis refuses updates, and throws none away.")
    fix = "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf"
    says = f"With maxmemory-policy {policy} a full Redis throws topics away in silence."
    return fail("redis eviction", says, fix) if config.get("maxmemory", "0") != "0" else warn("redis eviction", says, fix)


def _pubsub_limit(config: Mapping[str, str]) -> Finding:
    words = config.get("client-output-buffer-limit", "").split()
    at = words.index("pubsub") if "pubsub" in words else -1
    found = tuple(int(word) for word in words[at + 1 : at + 4]) if at >= 0 else (0, 0, 0)
    if all(not have or have >= least for have, least in zip(found[:2], PUBSUB[:2], strict=True)):
        return ok("redis pubsub buffer", "A serving process that stalls for a moment stays connected.")
    says = f"A serving process that stalls is disconnected when {_mb(found[0])} wait for it, or {_mb(found[1])} for {found[2]} s."
    return warn("redis pubsub buffer", says, LIMIT_FIX)


def _mb(size: int) -> str:
    return f"{size / (1 << 20):.0f} MB"


def _timeout(config: Mapping[str, str]) -> Finding:
    after_s = int(config.get("timeout", "0"))
    if after_s:
        return warn(
            "redis timeout", f"Redis ends connections that are idle for {after_s} s.", "CONFIG SET timeout 0, and in redis.conf"
        )
    return ok("redis timeout", "Redis ends no idle connection.")


def _persistence(config: Mapping[str, str]) -> Finding:
    if config.get("appendonly") == "yes":
        says = "Redis logs each write, which costs throughput and disk, and gives nothing: a restart begins a new epoch anyway."
        return warn("redis persistence", says, "CONFIG SET appendonly no, and save '60 1'")
    if not config.get("save"):
        says = "Redis saves nothing: after a restart there are no last values until each topic's next update."
        return warn("redis persistence", says, "CONFIG SET save '60 1', and in redis.conf")
    return ok("redis persistence", "Redis saves its data from time to time.")


def _nodes(config: Mapping[str, str]) -> Finding:
    most = int(config.get("stream-node-max-entries", "100"))
    if 0 < most <= 200:
        return ok("redis streams", f"History is trimmed by {most} updates at a time.")
    fix = "CONFIG SET stream-node-max-entries 100, and in redis.conf"
    return warn("redis streams", f"History is trimmed only by {most or 'ever so many'} updates at a time.", fix)
