"""Errors reported to a server that speaks Sentry's protocol: which ones, and that no secret is among them."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from project.config import BadSetting, load
from project.observing import needs

ROOT = Path(__file__).parents[2]
KEY = f"tw_abcd1234_{'x' * 40}"
BEGIN = """
import sys; sys.argv = ["manage.py", "feed"]
import django; django.setup()
import logging; log = logging.getLogger("a.b")
from marketdata import correlation
"""


class Sentry:
    """What a server of Sentry's was sent."""

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []
        envelopes = self.envelopes

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                envelopes.append(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.dsn = f"http://{'k' * 32}@127.0.0.1:{self.server.server_port}/1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self) -> list[dict[str, Any]]:
        """The events, each the last line of its envelope."""
        return [json.loads(envelope.splitlines()[-1]) for envelope in self.envelopes]


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    found = Sentry()
    yield found
    found.server.shutdown()
    found.server.server_close()


def run(sentry: Sentry, program: str) -> subprocess.CompletedProcess[str]:
    """A process whose settings name that server."""
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings", "TICKWIRE_SENTRY_DSN": sentry.dsn}
    return subprocess.run(
        [sys.executable, "-c", BEGIN + program], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_an_error_that_is_logged_is_reported_with_what_came_before(sentry: Sentry) -> None:
    run(sentry, "correlation.begin('5f2c81d0-1'); log.warning('first'); log.error('socket %d failed', 7)")
    (event,) = sentry.events()
    assert (event["logentry"]["formatted"], event["level"], event["logger"]) == ("socket 7 failed", "error", "a.b")
    assert event["tags"] == {"role": "feed", "correlation": "5f2c81d0-1"}
    assert event["release"].startswith("tickwire@")
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == ["first"]


def test_no_secret_and_no_local_variable_is_in_a_report(sentry: Sentry) -> None:
    program = f"""
def fail(password="in-a-local-variable"):
    raise ValueError("cannot use {KEY}")
log.warning("crumb {KEY}", extra={{"cookie": "c00kie"}})
try:
    fail()
except ValueError:
    log.exception("with %s", "{KEY}", extra={{"authorization": "s3cret", "url": "redis://u:p4ssw0rd@h/0"}})
"""
    done = run(sentry, program)
    (envelope,) = sentry.envelopes
    text = envelope.decode()
    found = [secret for secret in (KEY, "in-a-local-variable", "c00kie", "s3cret", "p4ssw0rd") if secret in text]
    assert found == []
    assert KEY not in done.stderr
    (event,) = sentry.events()
    (failure,) = event["exception"]["values"]
    assert (failure["type"], failure["value"]) == ("ValueError", "cannot use tw_abcd1234_…")
    assert {"user", "request", "modules"} & event.keys() == set()


def test_of_a_request_that_a_line_is_about_nothing_is_reported(sentry: Sentry) -> None:
    program = """
from django.test import RequestFactory
log.error("Internal Server Error", extra={"request": RequestFactory().get("/x/?q=hunter2"), "status_code": 500})
"""
    run(sentry, program)
    (event,) = sentry.events()
    assert (event["extra"]["status_code"], "request" in event["extra"]) == (500, False)
    assert b"hunter2" not in sentry.envelopes[0]


def test_what_nobody_caught_is_reported_once(sentry: Sentry) -> None:
    run(sentry, f"raise ValueError('{KEY}')")
    values = [event["exception"]["values"][0]["value"] for event in sentry.events()]
    assert values == ["tw_abcd1234_…"]


def test_a_flood_of_errors_is_a_few_reports(sentry: Sentry) -> None:
    run(sentry, "for number in range(300): log.error('socket %d failed', number)")
    assert len(sentry.events()) == 5


def test_a_server_that_is_away_costs_a_process_nothing_but_its_reports(sentry: Sentry) -> None:
    sentry.server.shutdown()
    sentry.server.server_close()
    done = run(sentry, "log.error('failed'); print('went on')")
    assert (done.returncode, done.stdout) == (0, "went on\n")


@pytest.mark.parametrize("dsn", ["ftp://k@h/1", "https://h/1", "https://k@h", "https://k@h:x/1", "nonsense"])
def test_a_malformed_address_is_refused_by_name_and_not_repeated(dsn: str) -> None:
    with pytest.raises(BadSetting, match="^TICKWIRE_SENTRY_DSN: ") as caught:
        load({"TICKWIRE_SENTRY_DSN": dsn})
    assert dsn not in str(caught.value)


def test_a_missing_package_is_refused_by_name() -> None:
    check = needs("package_that_is_not_there.sdk", "requirements-x.txt", lambda _: None)
    assert check("value") == "needs package_that_is_not_there.sdk, which is not installed: pip install -r requirements-x.txt"
    assert check("") is None


@pytest.mark.parametrize(
    ("name", "value", "package", "file"),
    [
        ("TICKWIRE_SENTRY_DSN", "https://k@h/1", "sentry_sdk", "requirements-sentry.txt"),
        ("TICKWIRE_TRACING_ENDPOINT", "http://h:4318/v1/traces", "opentelemetry.sdk", "requirements-tracing.txt"),
    ],
)
def test_a_server_does_not_start_without_the_package_that_a_setting_needs(name: str, value: str, package: str, file: str) -> None:
    program = (
        f"import sys; sys.modules['{package}'] = None; sys.modules['{package.partition('.')[0]}'] = None; import project.settings"
    )
    environ = {**os.environ, name: value}
    done = subprocess.run([sys.executable, "-c", program], env=environ, cwd=ROOT, capture_output=True, text=True, timeout=60)
    expected = f"tickwire: bad setting: {name}: needs {package}, which is not installed: pip install -r {file}\n"
    assert (done.returncode, done.stderr) == (1, expected)
