"""`make run`: one command starts everything, and Ctrl-C leaves nothing."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener, urlopen

import pytest
import redis

from tests.running import Run

pytestmark = pytest.mark.timeout(300)
START_S = 120.0  # generous: other tests run beside these


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Copy:
    """`make run` with a port and a data folder of its own."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder, self.port = folder, port or free_port()
        settings = {"PORT": str(self.port), "TICKWIRE_DATA_DIR": str(folder), "TICKWIRE_REDIS_URL": ""}
        self.run = Run(["make", "run"], env=settings)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.is_ready():
            assert self.run.process.poll() is None, self.run.end() or self.run.output
            assert time.monotonic() < deadline, "never ready"
            time.sleep(0.2)

    def is_ready(self) -> bool:
        try:
            with urlopen(self.url("/health/ready"), timeout=5) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False

    def interrupt(self) -> None:
        """Ctrl-C: the terminal interrupts make and everything in its group."""
        os.killpg(self.run.process.pid, signal.SIGINT)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Iterator[Copy]:
    """A copy that runs during all tests of this file."""
    copy = Copy(tmp_path_factory.mktemp("first"))
    copy.wait_ready()
    yield copy
    copy.interrupt()
    copy.run.process.wait(15)


@pytest.fixture(scope="module")
def password(first) -> str:
    first.run.read_until("Password")
    return re.search(r"Password +(\S+)", first.run.output)[1]


def login(copy: Copy, password: str) -> str:
    """Address of the page on which a login as admin ends."""
    cookies = http.cookiejar.CookieJar()
    browser = build_opener(HTTPCookieProcessor(cookies))
    browser.open(copy.url("/admin/login/"), timeout=10).close()
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    form = {"username": "admin", "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
    with browser.open(copy.url("/admin/login/"), urlencode(form).encode(), timeout=10) as page:
        return page.url


def test_the_addresses_that_it_prints_answer(first, password):
    for address in re.findall(r"http://\S+", first.run.output):
        with urlopen(address, timeout=10) as page:
            assert page.status == 200


def test_the_printed_password_opens_the_admin(first, password):
    assert login(first, password) == first.url("/admin/")


def test_the_log_names_every_process(first, password):
    for _ in range(5):
        first.run.read_until("started (pid=")
    assert set(re.findall(r"(\w+) started \(pid=", first.run.output)) == {"redis", "web", "worker", "beat", "feed"}


def test_a_taken_port_is_refused_before_anything_starts(first, tmp_path):
    second = Copy(tmp_path, first.port)
    assert second.run.end(60) != 0
    assert f"PORT: cannot listen on 127.0.0.1:{first.port}: Address already in use" in second.run.output
    assert "started" not in second.run.output


def test_a_killed_redis_comes_back_and_the_service_with_it(first):
    with redis.Redis(unix_socket_path=str(first.folder / "redis.sock")) as client:
        os.kill(client.info("server")["process_id"], signal.SIGKILL)
        first.run.read_until("redis  | died")
    first.wait_ready()


def test_copies_run_side_by_side_and_signals_leave_nothing_of_them(first, tmp_path):
    second = Copy(tmp_path)
    second.wait_ready()
    assert first.is_ready()
    second.interrupt()
    second.run.end(10)
    assert second.run.left() == []

    again = Copy(tmp_path, second.port)
    again.wait_ready()
    again.run.process.terminate()
    again.run.end(10)
    assert again.run.left() == []

    assert ["Password" in copy.run.output for copy in (second, again)] == [True, False]
    assert first.is_ready()
