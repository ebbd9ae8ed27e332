"""What the doctor finds out by itself: from real Redis servers, Sentinels, sockets and the tables; and the command around it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import websockets
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from marketdata.models import Feed, Instrument
from monitoring.doctor import catalogue, clocks, database, machine, proxy, redis_server, sentinels, site
from monitoring.doctor.findings import Finding
from project.config import load, prepare_data_dir
from project.data_dir import DATABASE
from realtime.models import Plan
from tests.own_redis import OwnRedis, running, watched_over

ROOT = Path(__file__).parents[2]


def faults(findings: Iterator[Finding]) -> dict[str, str]:
    """About what → verdict, of all that is not well."""
    return {finding.about: finding.verdict for finding in findings if finding.verdict != "ok"}


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    with running(tmp_path / "redis") as found:
        yield found


def test_a_redis_as_it_comes_has_what_the_documents_warn_of(own_redis: OwnRedis) -> None:
    found = redis_server.ask(own_redis.url)
    assert faults(redis_server.check(found)) == {"redis pubsub buffer": "warn", "redis persistence": "warn"}
    assert 0 < found.round_trip_ms < 1000


def test_a_redis_that_is_set_up_as_the_fixes_say_is_well(own_redis: OwnRedis) -> None:
    own_redis.config("client-output-buffer-limit", "pubsub 128mb 64mb 60")
    own_redis.config("save", "60 1")
    assert faults(redis_server.check(redis_server.ask(own_redis.url))) == {}


def test_a_full_redis_that_would_evict_is_a_failure(own_redis: OwnRedis) -> None:
    for name, value in {"maxmemory": "1", "maxmemory-policy": "allkeys-lru", "timeout": "300"}.items():
        own_redis.config(name, value)
    found = faults(redis_server.check(redis_server.ask(own_redis.url)))
    assert (found["redis eviction"], found["redis memory"], found["redis timeout"]) == ("fail", "fail", "warn")


def test_a_redis_whose_settings_are_hidden_is_judged_by_the_rest(own_redis: OwnRedis) -> None:
    own_redis.ask("ACL", "SETUSER", "default", "-config")
    assert faults(redis_server.check(redis_server.ask(own_redis.url))) == {"redis settings": "warn"}


def test_a_replica_is_a_failure(tmp_path: Path, own_redis: OwnRedis) -> None:
    own_redis.ask("REPLICAOF", "127.0.0.1", "1")
    assert faults(redis_server.check(redis_server.ask(own_redis.url)))["redis role"] == "fail"


def test_a_redis_that_is_away_is_a_failure_that_repeats_no_password() -> None:
    found = redis_server.ask("redis://user:s3cretpassw0rd@127.0.0.1:1/0")
    assert faults(redis_server.check(found)) == {"redis": "fail"}
    assert "s3cret" not in found.error


def test_a_frozen_redis_does_not_keep_the_doctor(own_redis: OwnRedis) -> None:
    own_redis.freeze()
    try:
        assert redis_server.ask(own_redis.url).error
    finally:
        own_redis.thaw()


@pytest.mark.timeout(90)
def test_sentinels_that_watch_over_a_master_and_a_replica_are_well_until_one_is_gone(tmp_path: Path) -> None:
    with watched_over(tmp_path) as guarded:
        assert faults(sentinels.check(sentinels.ask(guarded.url))) == {}
        guarded.sentinels[0].kill()
        assert faults(sentinels.check(sentinels.ask(guarded.url))) == {"sentinel": "warn"}


def test_no_sentinel_at_all_is_a_failure() -> None:
    assert faults(sentinels.check(sentinels.ask("redis+sentinel://127.0.0.1:1/ticks")))["sentinels"] == "fail"


def test_the_clock_of_a_redis_on_this_machine_is_ours(redis_url: str) -> None:
    ahead = clocks.ask(redis_url)
    assert ahead.keys() == {"Redis"}
    assert faults(clocks.check(ahead)) == {}


def test_a_redis_that_is_away_has_no_clock() -> None:
    assert clocks.ask("redis://127.0.0.1:1") == {}


def test_the_machine_is_looked_at(tmp_path: Path) -> None:
    found = machine.ask(tmp_path, connections=10**9, workers=1)
    assert found.cores >= 1
    assert found.free_bytes > 0
    assert "open files" in faults(machine.check(found)) or found.files is None


@pytest.mark.django_db
def test_a_migrated_sqlite_on_a_local_disk_is_well() -> None:
    found = database.ask(workers=1)
    assert (found.vendor, found.error, found.pending) == ("sqlite", "", ())


@pytest.mark.django_db
def test_a_migration_that_was_not_applied_is_named() -> None:
    ((app, name),) = MigrationLoader(connection).graph.leaf_nodes("realtime")
    MigrationRecorder(connection).record_unapplied(app, name)
    assert database.ask(workers=1).pending == (f"{app}.{name}",)


def test_permissions_of_the_data_folder_and_of_the_key_are_looked_at(tmp_path: Path) -> None:
    config = load({"TICKWIRE_DATA_DIR": str(tmp_path / "data"), "TICKWIRE_FEEDS": "demo"})
    prepare_data_dir(config)
    assert config.secret_key
    assert faults(site.check(site.ask(config))) == {}
    config.data_dir.chmod(0o755)
    (config.data_dir / "secret_key").chmod(0o644)
    assert faults(site.check(site.ask(config))) == {"secret key": "fail", "data folder": "fail"}


def test_a_database_is_its_owners_alone_even_in_a_folder_that_is_open(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    prepare_data_dir(load({"TICKWIRE_DATA_DIR": str(tmp_path)}))
    with closing(sqlite3.connect(tmp_path / DATABASE)) as opened:
        opened.execute("PRAGMA journal_mode=WAL")
        opened.execute("CREATE TABLE secrets (x)")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob(f"{DATABASE}*")}
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


@pytest.mark.django_db
def test_plans_instruments_and_feeds_are_looked_at(redis_url: str) -> None:
    Plan.objects.filter(name="free").update(enabled=False)
    Instrument.objects.all().delete()
    Feed.objects.all().delete()
    Feed.objects.create(name="demo", kind="demo", standby_for="nobody")
    Feed.objects.create(name="stray", kind="ccxt")
    found = catalogue.ask()
    assert found is not None
    assert faults(catalogue.check(found)) == {"default plan": "warn", "instruments": "warn", "feeds": "warn", "feed demo": "fail"}


class Server(threading.Thread):
    """A WebSocket server that ends what is idle for longer than `idle_s`."""

    def __init__(self, idle_s: float) -> None:
        super().__init__(daemon=True)
        self.idle_s = idle_s
        self.port = 0
        self.ready = threading.Event()
        self.loop = asyncio.new_event_loop()

    def run(self) -> None:
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        self.ended = asyncio.Event()
        async with websockets.serve(self._handle, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self.ready.set()
            await self.ended.wait()

    async def _handle(self, socket: Any) -> None:
        await asyncio.sleep(self.idle_s)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.ended.set)
        self.join(5)


@pytest.fixture
def impatient() -> Iterator[Server]:
    server = Server(idle_s=0.2)
    server.start()
    server.ready.wait(5)
    yield server
    server.stop()


def test_a_proxy_that_ends_quiet_connections_is_caught(impatient: Server) -> None:
    found = proxy.ask(f"ws://127.0.0.1:{impatient.port}/ws/v1/market", watch_s=20)
    assert found.ended_s is not None
    assert faults(proxy.check(found)) == {"proxy time-out": "fail"}


def test_a_connection_that_lasts_as_long_as_it_is_watched_is_not_ended(impatient: Server) -> None:
    impatient.idle_s = 30
    found = proxy.ask(f"ws://127.0.0.1:{impatient.port}/ws/v1/market", watch_s=0.3)
    assert (found.ended_s, found.refused) == (None, "")


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/ws/v1/market", "nonsense"])
def test_where_no_socket_opens_the_doctor_says_why(url: str) -> None:
    assert faults(proxy.check(proxy.ask(url, 1))) == {"proxy": "fail"}


def doctor(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command, on a data folder of its own."""
    environ = {**os.environ, "TICKWIRE_DATA_DIR": str(tmp_path / "data"), "TICKWIRE_MAX_CONNECTIONS": "100", **environ}
    command = [sys.executable, "manage.py", "doctor", *arguments]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_command_fails_where_anything_does_and_names_the_fix(tmp_path: Path, redis_url: str) -> None:
    done = doctor(tmp_path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fail  migrations"))
    assert lines[at + 1].strip() == "→ manage.py migrate"


def test_a_database_and_a_broker_that_are_away_are_named_without_a_long_wait(tmp_path: Path) -> None:
    away = {"TICKWIRE_DATABASE_URL": "postgresql://u:pass-of-u@127.0.0.1:1/x", "TICKWIRE_BROKER_URL": "redis://127.0.0.1:1/0"}
    done = doctor(tmp_path, "--json", **away)  # which gives it a minute; the pool would take as long
    found = {finding["about"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert (found["database"]["verdict"], found["broker"]["verdict"]) == ("fail", "fail")
    assert "TICKWIRE_BROKER_URL" in found["broker"]["fix"]
    assert "pass-of-u" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_the_pool_is_as_it_was_when_the_doctor_has_looked() -> None:
    before = connection.settings_dict["OPTIONS"]
    connection.settings_dict["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 8}, "application_name": "tickwire"}
    try:
        with database.directly() as pool:
            assert pool == 8
            assert connection.settings_dict["OPTIONS"] == {"application_name": "tickwire", "connect_timeout": database.WAIT_S}
        assert connection.settings_dict["OPTIONS"]["pool"] == {"min_size": 1, "max_size": 8}
    finally:
        connection.settings_dict["OPTIONS"] = before


def test_the_command_tells_programs_the_same(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    environ = {**os.environ, "TICKWIRE_DATA_DIR": str(tmp_path / "data")}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environ, cwd=ROOT, check=True, timeout=120)
    done = doctor(tmp_path, "--json")
    told = json.loads(done.stdout)
    assert told["failed"] is False
    assert done.returncode == 0
    assert {"redis version", "open files", "clock of redis", "migrations", "https", "default plan"} <= {
        finding["about"] for finding in told["findings"]
    }


@pytest.mark.django_db
def test_the_command_can_look_through_a_proxy(redis_url: str, impatient: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("doctor", "--through", f"ws://127.0.0.1:{impatient.port}/", "--seconds", "20")
    assert "fail  proxy time-out" in capsys.readouterr().out
