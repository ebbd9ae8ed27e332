"""A Redis of a test's own, which it may stop, kill, freeze, starve and have fail over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from project.redis_server import binary

UP_S = 20.0


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], object], within_s: float = UP_S) -> None:
    """Wait until the condition holds; a Redis that does not answer does not meet it."""
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        try:
            if condition():
                return
        except redis.RedisError:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not happen")


class OwnRedis:
    """One server, reached by a Unix socket, or by a TCP port of loopback where others must find it.

    Args:
        folder: for its socket and its file.
        port: 0 for the socket alone.
        options: `{"maxmemory": "2mb"}`, for each start.
    """

    def __init__(self, folder: Path, port: int = 0, **options: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = port
        self.path = folder / "redis.sock"
        self.options = {
            "port": str(port), "unixsocket": str(self.path), "dir": str(folder), "save": "", "rdbcompression": "no", **options
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the socket, or of the port."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.path}"

    def begin(self, *more: str) -> None:
        """Start it, without waiting."""
        command = [binary(), *more, *(part for name, value in self.options.items() for part in (f"--{name}", value))]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Start it; it answers when this returns."""
        self.begin()
        until(lambda: self.ask("PING"))

    def ask(self, *command: str, wait_s: float = 2.0) -> Any:
        """The answer to one command, on a connection of its own."""
        where: dict[str, Any] = {"port": self.port} if self.port else {"unix_socket_path": str(self.path)}
        with redis.Redis(**where, socket_timeout=wait_s, retry=Retry(NoBackoff(), 0), decode_responses=True) as client:
            return client.execute_command(*command)

    def config(self, name: str, value: str) -> None:
        """Change a setting of the running server."""
        self.ask("CONFIG", "SET", name, value)

    def save(self) -> None:
        """Write its file now; the next start reads it."""
        self.ask("SAVE")

    def _signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def freeze(self) -> None:
        """It keeps its connections and answers nobody."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does, whatever its state."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)
            self.process = None

    def restart(self, by: Callable[[OwnRedis], None] | None = None) -> None:
        """End it (by `OwnRedis.stop` unless told otherwise) and start it again."""
        (by or OwnRedis.stop)(self)
        self.start()


class Guarded:
    """A master, its replica, and three Sentinels that watch over them.

    Attributes:
        url: as `TICKWIRE_REDIS_URL` has it.
        nodes: the two, by port.
    """

    service = "ticks"

    def __init__(self, folder: Path) -> None:
        ports = [free_port(), free_port()]
        self.nodes = {port: OwnRedis(folder / f"node-{port}", port) for port in ports}
        self.sentinels = [_sentinel(folder, number, self.service, ports[0]) for number in range(3)]
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = f"redis+sentinel://{hosts}/{self.service}"
        self._first, self._second = (self.nodes[port] for port in ports)

    def start(self) -> None:
        """Start all of them; they know each other when this returns."""
        self._first.start()
        self._second.start()
        self._second.ask("REPLICAOF", "127.0.0.1", str(self._first.port))
        until(lambda: self._second.ask("INFO", "replication")["master_link_status"] == "up")
        for sentinel in self.sentinels:
            sentinel.begin(str(sentinel.folder / "sentinel.conf"), "--sentinel")
        until(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))

    def _knows_all(self, sentinel: OwnRedis) -> bool:
        state = sentinel.ask("SENTINEL", "MASTER", self.service)
        return (state["num-slaves"], state["num-other-sentinels"]) == ("1", "2")

    @property
    def master(self) -> OwnRedis:
        """Who is the master in the eyes of the Sentinels."""
        return self.nodes[int(self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)[1])]

    def fail_over(self) -> None:
        """Have the replica promoted while the master lives, which is then demoted."""
        before = self.master
        self.sentinels[0].ask("SENTINEL", "FAILOVER", self.service)
        until(lambda: self.master is not before)

    def lose_master(self) -> None:
        """Kill the master; the replica has been promoted when this returns."""
        before = self.master
        before.kill()
        until(lambda: self.master.process is not None and self.master.ask("ROLE")[0] == "master")

    def close(self) -> None:
        """End all of them."""
        for server in (*self.sentinels, *self.nodes.values()):
            server.kill()


def _sentinel(folder: Path, number: int, service: str, master: int) -> OwnRedis:
    found = OwnRedis(folder / f"sentinel-{number}", free_port())
    found.options = {"port": str(found.port), "dir": str(found.folder)}
    (found.folder / "sentinel.conf").write_text(
        f"sentinel monitor {service} 127.0.0.1 {master} 2\n"
        f"sentinel down-after-milliseconds {service} 1000\n"
        f"sentinel failover-timeout {service} 4000\n"
    )
    return found


@contextmanager
def running(folder: Path, port: int = 0) -> Iterator[OwnRedis]:
    """A server for as long as the block."""
    server = OwnRedis(folder, port)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def watched_over(folder: Path) -> Iterator[Guarded]:
    """A master, its replica and their Sentinels for as long as the block."""
    found = Guarded(folder)
    try:
        found.start()
        yield found
    finally:
        found.close()
