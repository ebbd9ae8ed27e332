"""Alerting with real processes: Celery evaluates while it lives, and a serving process when beat has died."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from monitoring.installation import Snapshot
from monitoring.standings import standing_key
from tests.integration.alert_parts import Webhook, webhook
from tests.system.conftest import ROOT, SERVE, Tickwire, run_server, wait_for

PLANT = """
from django.contrib.auth.models import User
from monitoring.models import AlertRule, Notifier
from realtime.keys import create_key
AlertRule.objects.exclude(name="beat-dead").delete()
AlertRule.objects.update(clear_seconds=0, for_seconds=0, threshold=8)
Notifier.objects.create(name="hook", url="{url}")
print(create_key(User.objects.create_superuser("root"), is_staff=True)[1])
"""
METRICS = {b"tickwire_alerts_age_seconds", b'tickwire_alerts_firing{severity="critical"}', b"tickwire_undelivered_notifications"}
CELERY = {
    "worker": ["worker", "--pool", "threads", "--concurrency", "2", "--without-gossip", "--without-mingle"],
    "beat": ["beat"],
}


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@contextmanager
def celery(server: Tickwire, role: str) -> Iterator[subprocess.Popen[bytes]]:
    """Celery's worker or beat, for as long as the block or until the test kills it."""
    command = [sys.executable, "-m", "celery", "--quiet", "-A", "project", *CELERY[role], "--loglevel", "WARNING"]
    with server.log.open("ab") as log:
        process = subprocess.Popen(command, env=server.environ, stdout=log, stderr=log, cwd=ROOT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def alerts(server: Tickwire) -> list[dict[str, object]]:
    status, body = server.get("/api/v1/admin/alerts/", Authorization=f"Bearer {server.planted}")
    assert status == 200, body
    found: list[dict[str, object]] = json.loads(body)["alerts"]
    return found


@pytest.fixture
def server(redis_url: str, prefix: str, hook: Webhook, tmp_path: Path) -> Iterator[Tickwire]:
    """A server with the rule about beat, who may hear of it, and `planted` the key of staff."""
    yield from run_server(tmp_path, redis_url, prefix, SERVE, plant=PLANT.format(url=hook.url), TICKWIRE_FEEDS="demo")


def test_a_killed_beat_raises_its_alert_which_ends_with_a_new_one(server: Tickwire, hook: Webhook) -> None:
    with celery(server, "worker"):
        with celery(server, "beat") as beat:
            wait_for(lambda: server.store.client.get(standing_key(server.environ["TICKWIRE_PREFIX"])), server)
            assert hook.titles == []
            wait_for(lambda: set(server.get("/metrics")[1].split()) >= METRICS, server)
            beat.kill()
            beat.wait(10)
        wait_for(lambda: hook.taken, server, timeout=60)
        assert hook.titles == ["[critical] beat-dead"]
        assert [alert["state"] for alert in alerts(server)] == ["firing"]
        with celery(server, "beat"):
            wait_for(lambda: len(hook.taken) > 1, server, timeout=60)
    assert hook.titles == ["[critical] beat-dead", "[resolved] beat-dead"]


def test_a_serving_process_is_seen_before_anybody_asks_it_anything(redis_url: str, prefix: str, tmp_path: Path) -> None:
    server = Tickwire(tmp_path, redis_url, prefix, SERVE)
    server.manage("migrate", "-v0")
    with server.log.open("ab") as log:
        command = [sys.executable, "manage.py", "serve", "--port", "0", "--drain", "0"]
        server.process = subprocess.Popen(command, env=server.environ, stdout=log, stderr=log, cwd=ROOT)
    try:
        wait_for(lambda: Snapshot.take(server.store).reports, server)
    finally:
        assert server.stop() == 0
        server.store.close()
