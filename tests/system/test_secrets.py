"""No secret gets into the log of the shipped server, at its most talkative, whatever goes wrong."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import websockets

from tests.house.tree import ROOT
from tests.own_redis import OwnRedis, free_port, until
from tests.system.conftest import SERVE, Tickwire, run_server, wait_for
from tests.unit.signing import SECRET, hs256

PASSWORD = "hunter2-of-redis"
CSRF = "c" * 32
PLANT = """
import json
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from realtime.keys import create_key

ada = User.objects.create_superuser("ada", password="hunter2-of-ada")
made = import_module(settings.SESSION_ENGINE).SessionStore()
made[SESSION_KEY], made[HASH_SESSION_KEY] = str(ada.pk), ada.get_session_auth_hash()
made[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
made.save()
print(json.dumps({"session": made.session_key, "key": create_key(ada, is_staff=True)[1], "secret key": settings.SECRET_KEY}))
"""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[OwnRedis]:
    """A Redis that wants a password."""
    server = OwnRedis(tmp_path / "redis", free_port(), requirepass=PASSWORD)
    server.begin()
    with contextlib.closing(redis.Redis(port=server.port, password=PASSWORD)) as client:
        until(client.ping)
    yield server
    server.kill()


@pytest.fixture
def talkative(guarded: OwnRedis, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    url = f"redis://:{PASSWORD}@127.0.0.1:{guarded.port}"
    rules = {"TICKWIRE_LOG_LEVEL": "DEBUG", "TICKWIRE_JWT_SECRET": SECRET}
    (tmp_path / "data").mkdir()
    yield from run_server(tmp_path / "data", url, prefix, SERVE, plant=PLANT, **rules)


def ask(server: Tickwire, method: str, path: str, body: str | None = None, **headers: str) -> str:
    """The answer, whatever it is."""
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)
    with contextlib.closing(line):
        line.request(method, path, body, headers)
        return line.getresponse().read().decode()


def ticket(server: Tickwire, key: str) -> str:
    answer = ask(server, "POST", "/api/v1/auth/ticket/", "", Authorization=f"Bearer {key}")
    return str(json.loads(answer)["ticket"])


def over_http(server: Tickwire, secrets: dict[str, str]) -> None:
    """Everything that a request can show, good and bad, where it belongs and where it does not."""
    for token in secrets.values():
        for shown in (f"Bearer {token}", f"Basic {token}", token):
            ask(server, "GET", "/api/v1/me/", Authorization=shown)
            ask(server, "POST", "/api/v1/ingest/", f'{{"ticks": [{{"{token}": 1}}', Authorization=shown)
        ask(
            server,
            "GET",
            f"/api/v1/nothing/?token={urllib.parse.quote(token)}",
            Cookie=f"sessionid={token}; tickwire_page={token}",
        )
    cookies = f"sessionid={secrets['session']}; csrftoken={CSRF}"
    ask(server, "POST", "/api/v1/keys/", "{}", Cookie=cookies)
    ask(server, "POST", "/api/v1/auth/ticket/", "{}", Cookie=cookies, **{"X-CSRFToken": CSRF})
    ask(server, "GET", "/api/v1/admin/stats/", Authorization=f"Bearer {secrets['key']}")
    for password in (secrets["password"], secrets["wrong password"]):
        form = urllib.parse.urlencode({"username": "ada", "password": password, "csrfmiddlewaretoken": CSRF})
        kind = "application/x-www-form-urlencoded"
        ask(server, "POST", "/admin/login/", form, Cookie=f"csrftoken={CSRF}", **{"Content-Type": kind})


async def over_sockets(server: Tickwire, secrets: dict[str, str]) -> None:
    """The same in handshakes, commands and what is none."""
    for token in secrets.values():
        protocols = [websockets.Subprotocol("tickwire.v1.json"), websockets.Subprotocol(f"bearer.{token}")]
        ways: list[dict[str, Any]] = [{"additional_headers": {"Authorization": f"Bearer {token}"}}]
        ways += [{"subprotocols": protocols}] if token.isascii() and " " not in token else []
        ways += [{"additional_headers": {"Cookie": f"sessionid={token}", "Origin": server.url}}]
        for way in ways:
            with contextlib.suppress(websockets.WebSocketException):
                async with server.dial(**way) as client:
                    await client.socket.send(json.dumps({"op": "auth", "id": 1, "token": token}))
                    await client.socket.send(json.dumps({"op": "auth", "token": {token: 1}}))
                    await client.socket.send(f'{{"op": "{token}"')
                    await client.socket.send(json.dumps({"op": "subscribe", "topics": [token]}))
                    await client.ask("ping")


def told(server: Tickwire, secrets: dict[str, str]) -> list[str]:
    """Names of the secrets that the log tells."""
    log = server.log.read_text()
    assert '"level": "debug"' in log
    return [name for name, secret in secrets.items() if secret in log]


async def test_no_secret_gets_into_the_log(talkative: Tickwire, guarded: OwnRedis) -> None:
    secrets: dict[str, str] = json.loads(talkative.planted)
    secrets |= {"Redis": PASSWORD, "signer": SECRET, "password": "hunter2-of-ada", "wrong password": "hunter3-of-ada"}
    secrets |= {"token": hs256(), "old token": hs256(exp=int(time.time()) - 3600)}
    secrets |= {"ticket": ticket(talkative, secrets["key"]), "key's secret": secrets["key"].split("_", 2)[2]}
    over_http(talkative, secrets)
    await over_sockets(talkative, secrets)
    guarded.kill()
    over_http(talkative, secrets)
    await over_sockets(talkative, secrets)
    assert told(talkative, secrets) == []


def test_a_database_that_cannot_be_reached_tells_no_password(redis_url: str, prefix: str, tmp_path: Path) -> None:
    url = f"postgresql://tickwire:{PASSWORD}@127.0.0.1:{free_port()}/none"
    server = Tickwire(tmp_path, redis_url, prefix, SERVE, TICKWIRE_DATABASE_URL=url, TICKWIRE_LOG_LEVEL="DEBUG")
    server.port = free_port()
    command = [sys.executable, str(ROOT / "manage.py"), "serve", "--port", str(server.port), "--drain", "0"]
    with server.log.open("ab") as log, contextlib.closing(server.store):
        server.process = subprocess.Popen(command, env=server.environ, stdout=log, stderr=log, cwd=ROOT)
    try:
        wait_for(lambda: "connection failed" in server.log.read_text(), server)
    finally:
        server.stop(signal.SIGKILL)
    assert PASSWORD not in server.log.read_text()
