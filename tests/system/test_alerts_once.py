"""Several processes that evaluate at the same moment tell of an alert once: a lease in Redis sees to it, or the database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.alert_parts import Webhook, webhook
from tests.system.conftest import ROOT, SERVE, Tickwire

PLANT = """
from monitoring.models import AlertRule, Notifier
AlertRule.objects.all().delete()
AlertRule.objects.create(comparison="<", threshold=1, aggregation="min", {rule})
Notifier.objects.create(name="hook", url="{url}")
"""
EVALUATE = """
import sys, time
from marketdata.store import Store
from monitoring.deliveries import outgoing
from monitoring.evaluation import Evaluator
evaluator = Evaluator(Store.from_settings(1.0))
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
sys.stdout.write(str(evaluator.round())); sys.stdout.flush()
outgoing.wait()
"""
PROCESSES = 4


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


def at_once(server: Tickwire) -> list[str]:
    """What each of several processes says that begin an evaluation at the same moment: whether it did one."""
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", EVALUATE]
    with server.log.open("ab") as log:
        processes = [
            subprocess.Popen(
                command, env=server.environ, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
            for _ in range(PROCESSES)
        ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", server.log.read_text()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return sorted(process.communicate(timeout=60)[0] for process in processes)


@pytest.mark.parametrize(
    ("away", "rule", "title"),
    [
        (False, "name='no-web', metric='tickwire_processes', labels={'role': 'web'}", "[warning] no-web (role web)"),
        (True, "name='redis-down', metric='tickwire_redis_up'", "[warning] redis-down"),
    ],
    ids=["by lease", "without Redis"],
)
def test_processes_that_evaluate_at_once_tell_once(
    redis_url: str, prefix: str, hook: Webhook, tmp_path: Path, away: bool, rule: str, title: str
) -> None:
    server = Tickwire(tmp_path, f"unix://{tmp_path}/nobody.sock" if away else redis_url, prefix, SERVE)
    server.manage("migrate", "-v0")
    server.manage("shell", "-v0", "-c", PLANT.format(rule=rule, url=hook.url))
    assert at_once(server) == ["False"] * (PROCESSES - 1) + ["True"]
    assert hook.titles == [title]
