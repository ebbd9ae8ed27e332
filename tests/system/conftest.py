"""The shipped server as a process of its own, on real Redis and a database of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import websockets
from playwright.sync_api import Browser, Page, sync_playwright

from marketdata.layout import Layout
from marketdata.store import Store, Update
from tests.running import PATIENCE_S, ROOT

SYMBOLS = ("AAPL", "MSFT", "BTC-USDT", "600519.SH", "TEST")
PLANT = """
from marketdata.models import Instrument
for symbol in {symbols!r}:
    Instrument.objects.get_or_create(symbol=symbol, defaults=dict(name=symbol, kind="stock"))
"""


class Tickwire:
    """A running server and what a test does with it."""

    def __init__(self, folder: Path, redis_url: str, prefix: str, command: list[str], port: int = 0, **settings: str) -> None:
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TICKWIRE_")},
            "TICKWIRE_DATA_DIR": str(folder),
            "TICKWIRE_REDIS_URL": redis_url,
            "TICKWIRE_PREFIX": prefix,
            **settings,
        }
        self.command = command
        self.log = folder / "server.log"
        self.store = Store(redis_url, Layout(prefix))
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self.planted = ""  # what the program printed that filled the database

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws/v1/market"

    def manage(self, *arguments: str, **options: Any) -> str:
        done = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env=self.environ, check=True, capture_output=True, text=True, timeout=60, **options,
        )  # fmt: skip
        return done.stdout.strip()

    def start(self) -> None:
        command = [part.replace("{port}", str(self.port)) for part in self.command]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, *command], env=self.environ, stdout=log, stderr=log, cwd=ROOT)
        if self.port == 0:
            self.port = int(wait_for(lambda: re.search(r"serving on http://[^:]+:(\d+)", self.log.read_text()), self)[1])
        wait_for(lambda: self.get("/health/ready")[0] == 200, self)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Started, and in the end stopped whatever a test did to it."""
        try:
            self.start()
            yield
        finally:
            if self.process is not None and self.process.poll() is None:
                self.stop()
            self.store.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def stats(self, key: str) -> dict[str, int]:
        """What the hub counts; the key is that of a member of staff."""
        status, body = self.get("/api/v1/admin/stats/", Authorization=f"Bearer {key}")
        assert status == 200, body
        counts: dict[str, int] = json.loads(body)["counts"]
        return counts

    def resident_bytes(self) -> int:
        """Memory of the server's one process."""
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def publish(self, topic: str, *bodies: Any) -> list[int]:
        return self.store.publish([Update(topic, msgspec.json.encode(body)) for body in bodies])

    @asynccontextmanager
    async def dial(self, query: str = "", **options: Any) -> AsyncIterator[Client]:
        async with websockets.connect(self.socket_url + query, max_queue=None, **options) as socket:
            yield Client(socket)


class Client:
    """A WebSocket of the websockets library, spoken to in JSON."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket

    async def receive(self) -> Any:
        async with asyncio.timeout(5):
            return json.loads(await self.socket.recv())

    async def until(self, condition: Callable[[Any], object]) -> Any:
        """The first message that meets the condition; those before it are dropped."""
        async with asyncio.timeout(15):
            while True:
                message = await self.receive()
                if condition(message):
                    return message

    async def ask(self, op: str, **fields: Any) -> Any:
        """Send a command and wait for its reply."""
        self.asked = getattr(self, "asked", 0) + 1
        await self.socket.send(json.dumps({"op": op, "id": self.asked, **fields}))
        return await self.until(lambda message: message.get("id") == self.asked)

    async def closed(self) -> tuple[int, str]:
        """Wait for the end: (code, reason)."""
        async with asyncio.timeout(15):
            try:
                while True:
                    await self.socket.recv()
            except websockets.ConnectionClosed as end:
                return (end.rcvd.code, end.rcvd.reason) if end.rcvd else (1006, "")


def wait_for(condition: Callable[[], Any], server: Tickwire, timeout: float = PATIENCE_S) -> Any:
    """Wait until the condition gives something true."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if server.process is not None and server.process.poll() is not None:
            break
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"the server did not come up:\n{server.log.read_text()[-4000:]}")


def run_server(
    folder: Path, redis_url: str, prefix: str, command: list[str], port: int = 0, plant: str = "", **settings: str
) -> Iterator[Tickwire]:
    """Start a server with a migrated database and a few instruments, or what `plant` puts into it; stop it in the end."""
    server = Tickwire(folder, redis_url, prefix, command, port, **settings)
    server.manage("migrate", "-v0")
    server.planted = server.manage("shell", "-v0", "-c", plant or PLANT.format(symbols=SYMBOLS))
    with server.running():
        yield server


SERVE = ["manage.py", "serve", "--port", "{port}", "--drain", "1"]


@pytest.fixture(scope="module")
def _shared(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    folder = tmp_path_factory.mktemp("shared")
    yield from run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", SERVE)


@pytest.fixture
def tickwire(_shared: Tickwire) -> Tickwire:
    """The shipped server, `manage.py serve`; one for all tests of a file that leave it running."""
    if _shared.process is None or _shared.process.poll() is not None:
        _shared.start()
    return _shared


@pytest.fixture(scope="session")
def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def own_tickwire(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    """A server of this test alone, which may stop it."""
    yield from run_server(tmp_path, redis_url, prefix, SERVE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of 1600 × 900; a script error in it fails the test."""
    page = browser.new_page(viewport={"width": 1600, "height": 900}, timezone_id="Asia/Tokyo", color_scheme="dark")
    page.set_default_timeout(15_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []
