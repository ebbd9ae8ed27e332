"""What the doctor thinks of facts: every finding, by facts that have its cause."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from monitoring.doctor import catalogue, clocks, database, machine, proxy, redis_server, sentinels, site
from monitoring.doctor.catalogue import CatalogueFacts, FeedFacts
from monitoring.doctor.database import DatabaseFacts
from monitoring.doctor.findings import Finding, as_json, as_text, fail, failed, ok, warn
from monitoring.doctor.machine import MachineFacts
from monitoring.doctor.proxy import ProxyFacts
from monitoring.doctor.redis_server import RedisFacts
from monitoring.doctor.sentinels import SentinelFacts
from monitoring.doctor.site import SiteFacts

GIB = 1 << 30
INFO = {"redis_version": "7.2.4", "role": "master", "cluster_enabled": 0, "maxmemory": 0, "used_memory": 1}
CONFIG = {
    "maxmemory-policy": "noeviction", "maxmemory": "0", "timeout": "0", "save": "60 1", "appendonly": "no",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 134217728 67108864 60",
    "stream-node-max-entries": "100",
}  # fmt: skip
REDIS = RedisFacts("", INFO, CONFIG, 0.2)
SENTINELS = [SentinelFacts(f"s{number}:26379", "", "10.0.0.1:6379", 1) for number in range(3)]
MACHINE = MachineFacts(files=100_000, connections=20_000, somaxconn=4096, free_bytes=10 * GIB, cores=4, workers=2)
SQLITE = DatabaseFacts("sqlite", journal="wal", disk="ext4")
POSTGRESQL = DatabaseFacts("postgresql", version=160_004, most_connections=100, pool=8, processes=5)
SITE = SiteFacts("127.0.0.1", False, False, ["localhost"], 67, 0o600, 0o700, ["ccxt"])
PUBLIC = replace(SITE, host="0.0.0.0", https=True, allowed_hosts=["market.example.com"])
PLANS = {"free": True, "dashboard": True, "gone": False}
CATALOGUE = CatalogueFacts(PLANS, "free", "dashboard", 5, [FeedFacts("demo")])
PROXY = ProxyFacts("wss://m.example.com/ws/v1/market", watched_s=65.0, open_ms=12.0)


def redis_with(**config: str) -> RedisFacts:
    return replace(REDIS, config=CONFIG | {name.replace("_", "-"): value for name, value in config.items()})


def info_with(**info: object) -> RedisFacts:
    return replace(REDIS, info=INFO | info)


def second(**changed: object) -> list[SentinelFacts]:
    return [SENTINELS[0], replace(SENTINELS[1], **changed), SENTINELS[2]]


@pytest.mark.parametrize(
    "findings",
    [
        redis_server.check(REDIS),
        redis_server.check(info_with(maxmemory=100, used_memory=50)),
        redis_server.check_broker(REDIS),
        redis_server.check(redis_with(client_output_buffer_limit="pubsub 0 0 0")),
        sentinels.check(SENTINELS),
        machine.check(MACHINE),
        machine.check(replace(MACHINE, files=None, somaxconn=None)),
        clocks.check({"Redis": 0.01, "the database": -0.2}),
        database.check(SQLITE),
        database.check(POSTGRESQL),
        site.check(SITE),
        site.check(PUBLIC),
        site.check(replace(PUBLIC, key_mode=None)),
        catalogue.check(CATALOGUE),
        catalogue.check(replace(CATALOGUE, dashboard_plan="")),
        proxy.check(PROXY),
    ],
)
def test_where_all_is_well_nothing_is_to_be_done(findings: Iterable[Finding]) -> None:
    found = list(findings)
    assert found
    assert [finding for finding in found if finding.verdict != "ok" or finding.fix] == []


@pytest.mark.parametrize(
    ("findings", "verdict", "about", "says", "fix"),
    [
        (redis_server.check(RedisFacts(error="refused")), "fail", "redis", "refused", "TICKWIRE_REDIS_URL"),
        (redis_server.check(info_with(redis_version="6.0.16")), "fail", "redis version", "6.0.16", "6.2"),
        (redis_server.check(replace(REDIS, round_trip_ms=12.0)), "warn", "redis round trip", "12.00 ms", "SLOWLOG"),
        (redis_server.check(replace(REDIS, round_trip_ms=400.0)), "fail", "redis round trip", "400.00 ms", "SLOWLOG"),
        (redis_server.check(info_with(role="slave")), "fail", "redis role", "replica", "TICKWIRE_REDIS_URL"),
        (redis_server.check(info_with(cluster_enabled=1)), "fail", "redis role", "cluster", "Sentinels"),
        (redis_server.check(info_with(maxmemory=100, used_memory=85)), "warn", "redis memory", "85%", "maxmemory"),
        (redis_server.check(info_with(maxmemory=100, used_memory=97)), "fail", "redis memory", "97%", "maxmemory"),
        (redis_server.check(info_with(rdb_last_bgsave_status="err")), "fail", "redis last save", "not save", "BGSAVE"),
        (redis_server.check(replace(REDIS, config=None)), "warn", "redis settings", "forbidden", "docs/redis.md"),
        (redis_server.check(redis_with(maxmemory_policy="allkeys-lru")), "warn", "redis eviction", "allkeys-lru", "noeviction"),
        (
            redis_server.check(redis_with(maxmemory_policy="volatile-lru", maxmemory="100")),
            "fail", "redis eviction", "volatile-lru", "noeviction",
        ),
        (
            redis_server.check(redis_with(client_output_buffer_limit="normal 0 0 0 pubsub 33554432 8388608 60")),
            "warn", "redis pubsub buffer", "32 MB", "pubsub 128mb 64mb 60",
        ),
        (redis_server.check(redis_with(timeout="300")), "warn", "redis timeout", "300 s", "timeout 0"),
        (redis_server.check(redis_with(appendonly="yes")), "warn", "redis persistence", "logs each write", "appendonly no"),
        (redis_server.check(redis_with(save="")), "warn", "redis persistence", "saves nothing", "60 1"),
        (redis_server.check(redis_with(stream_node_max_entries="0")), "warn", "redis streams", "ever so many", "100"),
        (sentinels.check(second(error="timed out")), "warn", "sentinel", "s1:26379", "s1:26379"),
        (sentinels.check([SentinelFacts("a:1", "refused")]), "fail", "sentinels", "No Sentinel", "TICKWIRE_REDIS_URL"),
        (sentinels.check(SENTINELS[:2]), "warn", "sentinels", "names 2", "three"),
        (sentinels.check(second(master="10.0.0.2:6379")), "fail", "sentinel master", "disagree", "SENTINEL RESET"),
        (sentinels.check(second(quorum_error="NOQUORUM 1 usable")), "fail", "sentinel quorum", "NOQUORUM", "quorum"),
        (sentinels.check(second(replicas=0)), "fail", "sentinel replicas", "no replica", "REPLICAOF"),
        (machine.check(replace(MACHINE, files=1024)), "fail", "open files", "1,024", "20100"),
        (machine.check(replace(MACHINE, files=20_050)), "warn", "open files", "20,050", "TICKWIRE_MAX_CONNECTIONS"),
        (machine.check(replace(MACHINE, somaxconn=128)), "warn", "new connections", "128", "net.core.somaxconn=4096"),
        (machine.check(replace(MACHINE, free_bytes=GIB // 2)), "warn", "disk", "0.50 GiB", "TICKWIRE_DATA_DIR"),
        (machine.check(replace(MACHINE, free_bytes=GIB // 20)), "fail", "disk", "0.05 GiB", "TICKWIRE_DATA_DIR"),
        (machine.check(replace(MACHINE, workers=8)), "warn", "cores", "8 serving", "TICKWIRE_WORKERS=3"),
        (clocks.check({"Redis": 0.8}), "warn", "clock of redis", "800 ms ahead of", "timedatectl"),
        (clocks.check({"the database": -7.0}), "fail", "clock of database", "7000 ms behind", "chrony"),
        (database.check(replace(SQLITE, error="locked")), "fail", "database", "locked", "TICKWIRE_DATABASE_URL"),
        (database.check(replace(SQLITE, pending=("a.1", "a.2"))), "fail", "migrations", "a.1 and 1 more", "manage.py migrate"),
        (database.check(replace(SQLITE, disk="nfs4")), "fail", "sqlite disk", "nfs4", "TICKWIRE_DATA_DIR"),
        (database.check(replace(SQLITE, journal="delete")), "warn", "sqlite journal", "delete", "journal_mode=WAL"),
        (database.check(replace(SQLITE, workers=8)), "warn", "sqlite sharing", "8 serving", "TICKWIRE_DATABASE_URL"),
        (database.check(replace(POSTGRESQL, version=130_009)), "fail", "postgresql version", "13", "14"),
        (database.check(replace(POSTGRESQL, processes=13)), "warn", "postgresql pool", "104", "max_connections = 124"),
        (site.check(replace(SITE, debug=True)), "warn", "debug", "debug pages", "TICKWIRE_DEBUG=false"),
        (site.check(replace(PUBLIC, debug=True)), "fail", "debug", "debug pages", "TICKWIRE_DEBUG=false"),
        (site.check(replace(SITE, allowed_hosts=["*"])), "fail", "allowed hosts", "any host", "TICKWIRE_ALLOWED_HOSTS"),
        (site.check(replace(PUBLIC, allowed_hosts=["localhost"])), "warn", "allowed hosts", "refused", "TICKWIRE_ALLOWED_HOSTS"),
        (site.check(replace(PUBLIC, https=False)), "fail", "https", "without TLS", "TICKWIRE_HTTPS=true"),
        (site.check(replace(SITE, secret_key_length=8)), "fail", "secret key", "guessed", "TICKWIRE_SECRET_KEY"),
        (site.check(replace(SITE, key_mode=0o644)), "fail", "secret key", "644", "chmod 600"),
        (site.check(replace(SITE, folder_mode=0o755)), "fail", "data folder", "755", "chmod 700"),
        (site.check(replace(PUBLIC, feeds=["demo"])), "warn", "demo feed", "made up", "TICKWIRE_FEEDS"),
        (catalogue.check(replace(CATALOGUE, default_plan="x")), "fail", "default plan", "'x'", "TICKWIRE_DEFAULT_PLAN"),
        (catalogue.check(replace(CATALOGUE, dashboard_plan="gone")), "warn", "dashboard plan", "disabled", "enable"),
        (catalogue.check(replace(CATALOGUE, instruments=0)), "warn", "instruments", "no active", "feed"),
        (catalogue.check(replace(CATALOGUE, bad_feeds="'x' is no kind")), "fail", "feeds", "'x' is no kind", "TICKWIRE_FEEDS"),
        (catalogue.check(replace(CATALOGUE, strays=["old"])), "warn", "feeds", "'old'", "TICKWIRE_FEEDS"),
        (catalogue.check(replace(CATALOGUE, feeds=[])), "warn", "feeds", "No feed", "admin"),
        (catalogue.check(replace(CATALOGUE, feeds=[FeedFacts("a", "b")])), "fail", "feed a", "must not run: b", "row"),
        (catalogue.check(replace(CATALOGUE, feeds=[FeedFacts("a", seen=False)])), "warn", "feed a", "No process", "feed"),
        (catalogue.check(replace(CATALOGUE, feeds=[FeedFacts("a", seen=None)])), "warn", "feed a", "cannot be seen", "Redis"),
        (redis_server.check_broker(RedisFacts("refused")), "fail", "broker", "refused", "TICKWIRE_BROKER_URL"),
        (catalogue.check(replace(CATALOGUE, feeds=[FeedFacts("a", fault="mute")])), "warn", "feed a", "is mute", "last error"),
        (proxy.check(replace(PROXY, refused="HTTP 404")), "fail", "proxy", "HTTP 404", "Upgrade"),
        (proxy.check(replace(PROXY, ended_s=15.2)), "fail", "proxy time-out", "after 15 s", "proxy_read_timeout"),
        (proxy.check(replace(PROXY, watched_s=10.0)), "warn", "proxy time-out", "10 s", "--seconds 65"),
    ],
)  # fmt: skip
def test_a_fault_is_one_finding_that_names_what_mends_it(
    findings: Iterable[Finding], verdict: str, about: str, says: str, fix: str
) -> None:
    (fault,) = [finding for finding in findings if finding.about == about and finding.verdict != "ok"]
    assert fault.verdict == verdict
    assert says in fault.says
    assert fault.says.endswith(".")
    assert fix in fault.fix


def test_a_clock_is_compared_with_the_middle_of_the_quickest_question() -> None:
    own = iter([0.0, 4.0, 10.0, 10.2, 20.0, 26.0, 30.0, 34.0, 40.0, 44.0])
    told = iter([9.0, 13.1, 29.0, 31.0, 41.0])
    assert clocks.ahead(lambda: next(told), lambda: next(own)) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/data/x/t.sqlite3", "nfs4"), ("/data2/t.sqlite3", "ext4"), ("/mnt/my disk/t.sqlite3", "cifs"), ("/t.sqlite3", "ext4")],
)
def test_a_file_is_on_the_disk_that_is_mounted_nearest_above_it(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\nhost:/x /data nfs4 rw 0 0\n//host/y /mnt/my\\040disk cifs rw 0 0\n")
    assert database.disk_type(Path(path), mounts) == kind


def test_where_mounts_cannot_be_seen_no_disk_is_named(tmp_path: Path) -> None:
    assert database.disk_type(Path("/x"), tmp_path / "none") == ""


@pytest.mark.parametrize(
    ("host", "public"), [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("10.1.2.3", True)]
)
def test_an_address_is_public_unless_it_is_this_machines_own(host: str, public: bool) -> None:
    assert replace(SITE, host=host).public is public


FOUND = [ok("a", "Well."), warn("b", "So-so.", "do this"), fail("c", "Bad.", "do that")]


def test_for_people_each_fix_stands_below_what_it_mends() -> None:
    assert [line.split() for line in as_text(FOUND).splitlines()] == [
        ["ok", "a", "Well."], ["warn", "b", "So-so."], ["→", "do", "this"], ["fail", "c", "Bad."], ["→", "do", "that"], [],
        ["1", "ok,", "1", "warn,", "1", "fail"],
    ]  # fmt: skip


def test_for_programs_findings_are_one_object() -> None:
    told = json.loads(as_json(FOUND))
    assert told["failed"] is True
    assert told["findings"][1] == {"about": "b", "verdict": "warn", "says": "So-so.", "fix": "do this"}


def test_warnings_are_no_failure() -> None:
    assert not failed(FOUND[:2])
    assert failed(FOUND)
