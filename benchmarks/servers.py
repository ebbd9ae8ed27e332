"""What a row starts and ends: Redis, Tickwire as it ships, publishing processes, and anything else with a port."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks import machine
from benchmarks.load import Greeting, frame, handshake
from benchmarks.source import FIRST_SEQ, body, topics
from marketdata.layout import Layout
from marketdata.store import Store, Update
from project.redis_server import binary

ROOT = Path(__file__).parents[1]
TOPICS = 1000
PREFIX = "bench"
QUIET = frame(b'{"op":"configure","heartbeat":60}')  # no heartbeat comes between the updates of a trial
SETUP = """
from django.contrib.auth.models import User
from marketdata.models import Instrument
from realtime.keys import create_key
from realtime.models import Account, Plan
Instrument.objects.bulk_create(Instrument(symbol=f"S{number:04d}", name="-", kind="stock") for number in range(%d))
roomy = Plan.objects.create(
    name="bench", topics_per_connection=2000, connections_per_user=100000, commands_per_second=50, command_burst=200,
    requests_per_second=100000, request_burst=100000)
user = User.objects.create_user("bench", is_staff=True)
Account.objects.create(user=user, plan=roomy)
print(create_key(user, is_staff=True)[1])
"""


@dataclass(frozen=True)
class Target:
    """A server under load.

    Attributes:
        name: of the system.
        pid: whose CPU counts, with its children.
        port: on loopback.
        greeting: how a client gets the one topic of the fan-out rows.
        source: arguments of `benchmarks.source` that reach it.
    """

    name: str
    pid: int
    port: int
    greeting: Greeting
    source: tuple[str, str]


@contextmanager
def started(
    command: Sequence[str], *, core: int, env: Mapping[str, str] | None = None, log: Path | None = None, heard: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A program on a core; ended, and after ten seconds killed, on the way out.

    Args:
        command: its command line.
        core: where it runs.
        env: what its environment has besides ours.
        log: where it writes; nowhere by default.
        heard: its standard output is read by the caller.
    """
    with open(log or os.devnull, "w") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if heard else errors,
            stderr=errors,
            text=True,
            preexec_fn=machine.pin(core),
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ask a program to stop; kill it with its children if it does not."""
    pids = machine.family(process.pid)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        for pid in pids:
            os.kill(pid, 9)
        process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def line_of(process: subprocess.Popen[str], within_s: float = 30.0) -> str:
    """The next line that a program prints.

    Raises:
        TimeoutError: it prints none, or has ended.
    """
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], within_s)[0]:
        raise TimeoutError(f"{process.args!r} says nothing")
    line = process.stdout.readline()
    if not line:
        raise TimeoutError(f"{process.args!r} has ended")
    return line.strip()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(ready: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    """Try until it goes without an `OSError`.

    Raises:
        TimeoutError: it never does.
    """
    ends = time.monotonic() + within_s
    while True:
        try:
            ready()
            return
        except (OSError, redis.RedisError) as error:
            if time.monotonic() > ends:
                raise TimeoutError(f"{what} does not answer: {error}") from None
            time.sleep(0.05)


def wait_for_port(port: int, what: str) -> None:
    """Wait until somebody listens."""
    wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), what)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that vanishes."""
    with tempfile.TemporaryDirectory(prefix="tickwire-bench-") as name:
        yield Path(name)


@contextmanager
def redis_server(home: Path, core: int = machine.CLIENT_CORE) -> Iterator[Path]:
    """A Redis that keeps nothing on disk, on a Unix socket."""
    path = home / "redis.sock"
    command = [
        binary(), "--port", "0", "--unixsocket", str(path), "--dir", str(home), "--save", "", "--appendonly", "no",
        "--client-output-buffer-limit", "pubsub", "128mb", "64mb", "60",
    ]  # fmt: skip
    with started(command, core=core), redis.Redis(unix_socket_path=str(path)) as client:
        wait_for(client.ping, "Redis")
        yield path


@contextmanager
def tickwire(home: Path, bus: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[Target]:
    """Tickwire as it ships: migrated database, 1000 instruments, an API key with a roomy plan, `manage.py serve`."""
    manage(home, bus, "migrate", "-v0", settings=settings)
    key = manage(home, bus, "shell", "-v0", "-c", SETUP % TOPICS, settings=settings)
    with serving(home, bus, key, settings=settings) as target:
        prime(bus)
        yield target


def manage(home: Path, bus: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> str:
    """What a management command of Tickwire prints.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    env = {**os.environ, **_settings(home, bus, settings)}
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)[:100]} failed: {done.stderr[-2000:]}")
    return done.stdout.strip()


@contextmanager
def serving(home: Path, bus: Path, key: str, *, settings: Mapping[str, str] | None = None) -> Iterator[Target]:
    """`manage.py serve` with a database that is there already."""
    serve = [sys.executable, "manage.py", "serve", "--port", "0", "--drain", "0"]
    env = _settings(home, bus, settings)
    with started(serve, core=machine.SERVER_CORE, env=env, log=home / "tickwire.log", heard=True) as process:
        match = re.search(r":(\d+)$", line_of(process))
        assert match is not None
        port = int(match[1])
        wait_for_port(port, "Tickwire")
        yield Target("Tickwire", process.pid, port, follow(key, lambda _: range(1)), ("tickwire", f"unix://{bus}|{PREFIX}"))


def _settings(home: Path, bus: Path, more: Mapping[str, str] | None) -> dict[str, str]:
    return {"TICKWIRE_DATA_DIR": str(home), "TICKWIRE_REDIS_URL": f"unix://{bus}", "TICKWIRE_PREFIX": PREFIX, **(more or {})}


def prime(bus: Path) -> None:
    """Publish to every topic once, so that a subscriber gets a snapshot of each, and count on from a number of seven digits."""
    layout = Layout(PREFIX)
    store = Store(f"unix://{bus}", layout)
    store.publish([Update(topic.decode(), body(topic)) for topic in topics(TOPICS)])
    for topic in topics(TOPICS):
        store.client.hset(layout.topics + topic.decode(), "s", FIRST_SEQ)
    store.close()


def follow(key: str, choose: Callable[[int], Sequence[int]], *, even: bool = True) -> Greeting:
    """Connect with an API key and subscribe to some trade topics each; live when the snapshots are there.

    Args:
        key: of the server that is connected to.
        choose: the topics of the client of that number.
        even: no heartbeat shall come between the updates, so that they can be counted in bytes.
    """
    request = handshake("/ws/v1/market", headers=[f"Authorization: Bearer {key}"])

    def subscribe(number: int) -> bytes:
        names = [f"trade.S{topic:04d}" for topic in choose(number)]
        return QUIET * even + frame(json.dumps({"op": "subscribe", "topics": names}).encode())

    return Greeting(request, subscribe, (b'"type":"snapshot"', len(choose(0))), even)


def key_of(greeting: Greeting) -> str:
    """The API key that a greeting shows."""
    match = re.search(rb"Bearer (\S+)", greeting.request)
    assert match is not None
    return match[1].decode()


class Source:
    """A publishing process on the clients' core; see `benchmarks.source`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid
        line_of(process)

    def set_rate(self, per_s: float) -> None:
        """Publish at this rate from now on."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{per_s}\n")
        self._process.stdin.flush()

    def stop(self) -> int:
        """Publish nothing more. Returns how many updates were published so far."""
        self.set_rate(0)
        return int(json.loads(line_of(self._process))["published"])


@contextmanager
def source(target: Target, count: int = 1) -> Iterator[Source]:
    """A process that publishes to the first `count` topics."""
    command = [sys.executable, "-m", "benchmarks.source", *target.source, str(count)]
    with started(command, core=machine.CLIENT_CORE, heard=True) as process:
        yield Source(process)
