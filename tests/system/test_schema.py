"""The whole of `/api/schema/` against the shipped server: schemathesis asks what the schema allows and what it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marketdata import openapi
from tests.house.tree import ROOT
from tests.system.conftest import PLANT, SERVE, SYMBOLS, Tickwire, run_server

STAFF = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from realtime.keys import create_key
from realtime.models import Plan

Plan.objects.update(requests_per_second=10_000, request_burst=10_000)
boss = User.objects.create_superuser("boss")
made = import_module(settings.SESSION_ENGINE).SessionStore()
made[SESSION_KEY], made[HASH_SESSION_KEY] = str(boss.pk), boss.get_session_auth_hash()
made[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
made.save()
print(made.session_key, create_key(boss, can_publish=True, is_staff=True)[1])
"""
# a session may not publish; a key might revoke itself, and either drain the server, after which there is nothing to be seen
CREDENTIALS = {
    "session": ('auth.openapi.session = {{ api_key = "{0}" }}', "--exclude-operation-id-regex", "^(ingest|drain)$"),
    "key": ('auth.openapi.apiKey = {{ bearer = "{1}" }}', "--include-operation-id", "ingest"),
}
BODIES = {
    "quote.AAPL": openapi.QUOTE,
    "ticker.AAPL": openapi.TICKER,
    "trade.AAPL": openapi.TRADE,
    "depth.BTC-USDT": openapi.DEPTH,
    "kline.1m.AAPL": openapi.KLINE,
}
EXAMPLES = 5


@pytest.fixture
def staffed(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    """A server with something of each data type in its store."""
    plant = PLANT.format(symbols=SYMBOLS) + STAFF
    for server in run_server(tmp_path, redis_url, prefix, SERVE, plant=plant):
        for topic, body in BODIES.items():
            server.publish(topic, body)
        yield server


def examined(server: Tickwire, folder: Path, who: str, *options: str) -> subprocess.CompletedProcess[str]:
    """What schemathesis says of the server, asking as one or the other."""
    shown, *choice = CREDENTIALS[who]
    rules = folder / "schemathesis.toml"
    known = (ROOT / "tests" / "system" / "schemathesis.toml").read_text()
    rules.write_text(shown.format(*server.planted.split()) + "\n" + known)
    command = [Path(sys.executable).with_name("schemathesis"), "--no-color", "--config-file", rules]
    asked = ["run", f"{server.url}/api/schema/", *choice, "--continue-on-failure", *options]
    ours = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.system.schema_hooks"}
    return subprocess.run([*command, *asked], cwd=folder, env=ours, capture_output=True, text=True, timeout=1100)


@pytest.mark.timeout(1200)  # a minute on a quiet machine
@pytest.mark.parametrize("who", CREDENTIALS)
def test_every_answer_is_as_the_schema_says(staffed: Tickwire, tmp_path: Path, who: str) -> None:
    done = examined(staffed, tmp_path, who, "--max-examples", str(EXAMPLES), "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
