"""The serving processes: own sockets, paced drain."""

from __future__ import annotations

import gc
import logging
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import uvicorn
from django.conf import settings

from realtime import protocol
from realtime.inbound import BoundedProtocol
from realtime.node import Node
from realtime.sinks import FramesProtocol

logger = logging.getLogger(__name__)

BACKLOG = 4096
SHUTDOWN_S = 5.0  # behind the drain window: for requests that are being answered
GC_THRESHOLDS = (50_000, 20, 100)
SPARE_FILES = 100  # beside the sockets of clients: Redis, the database, logs, HTTP


class DrainingServer(uvicorn.Server):
    """uvicorn's server, closing its sockets slowly when it stops, so that their clients do not all come back at once.

    Args:
        drain_s: over how many seconds.
    """

    def __init__(self, config: uvicorn.Config, drain_s: float) -> None:
        super().__init__(config)
        self.drain_s = drain_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve; what start-up has made is never looked at by the garbage collector again."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse what is new, close what is open in slices, then stop."""
        node = await Node.here()
        node.drain.begun = True
        for server in self.servers:
            server.close()
        await node.drain.run(self.drain_s, lambda: self.force_exit)
        await super().shutdown(sockets)


def listen(host: str, port: int, *, shared: bool) -> socket.socket:
    """Bind a socket of our own.

    Args:
        shared: other processes bind the same port (`SO_REUSEPORT`); the kernel then spreads connections evenly among them, which
            processes that accept from one common socket do not.

    Raises:
        OSError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def allow_files(connections: int) -> None:
    """Let this process open the files that so many sockets need; a warning says where the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    wanted = connections + SPARE_FILES
    may = max(soft, wanted if hard == resource.RLIM_INFINITY else min(wanted, hard))
    resource.setrlimit(resource.RLIMIT_NOFILE, (may, hard))
    if may < connections:
        text = "TICKWIRE_MAX_CONNECTIONS is %d, but this process may open %d files only; raise its hard limit (ulimit -Hn)"
        logger.warning(text, connections, may)


def announce(host: str, port: int) -> None:
    """Say on standard output where requests may be sent."""
    print(f"serving on http://{host}:{port}", flush=True)  # noqa: T201


def serve_one(sock: socket.socket, drain_s: float) -> None:
    """Serve from a bound socket in this process until SIGTERM or SIGINT."""
    allow_files(settings.TICKWIRE.serving.max_connections)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    module, _, name = settings.ASGI_APPLICATION.rpartition(".")
    config = uvicorn.Config(
        f"{module}:{name}",
        loop="uvloop",
        http=BoundedProtocol,
        ws=FramesProtocol,
        ws_max_size=protocol.MAX_MESSAGE_BYTES,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=settings.TICKWIRE.site.trusted_proxies,  # never uvicorn's own variable
        timeout_graceful_shutdown=int(SHUTDOWN_S),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises the signal again when it has stopped, which ends in order
    DrainingServer(config, drain_s).run(sockets=[sock])


def serve_many(host: str, port: int, workers: int, drain_s: float) -> int:
    """Run several serving processes, start again those that die, and stop all on SIGTERM or SIGINT.

    Returns:
        The exit code: 0 when all stopped as they were asked to.
    """
    with listen(host, port, shared=True) as reserved:  # never listens: it only keeps the port ours between restarts
        port = reserved.getsockname()[1]
        announce(host, port)
        command = [
            sys.executable, sys.argv[0], "serve", "--host", host, "--port", str(port), "--drain", str(drain_s), "--as-worker",
        ]  # fmt: skip
        return _Family(command, workers).run()


class _Family:
    """The parent of the serving processes."""

    def __init__(self, command: Sequence[str], size: int) -> None:
        self.command = command
        self.children = [self._bear() for _ in range(size)]
        self.stopping = False

    def _bear(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command)

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self.stopping:
            time.sleep(0.5)
            for index, child in enumerate(self.children):
                if child.poll() is not None and not self.stopping:
                    logger.error("serving process %d ended with %s, starting another", child.pid, child.returncode)
                    self.children[index] = self._bear()
        return max(abs(child.wait()) for child in self.children)

    def _stop(self, *_: object) -> None:
        self.stopping = True
        for child in self.children:
            if child.poll() is None:
                child.terminate()
