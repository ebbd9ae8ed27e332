"""The systems that Tickwire is measured beside, each set up as its own documentation says; one that is not installed is named."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import machine
from benchmarks.load import Greeting, frame, handshake
from benchmarks.servers import Target, free_port, started, wait_for_port
from benchmarks.source import mqtt_length

HERE = Path(__file__).parent
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
PLAIN = Greeting(handshake("/"), even=True)
BINARY = 2


@dataclass(frozen=True)
class Peer:
    """Another system.

    Attributes:
        name: as it stands in the tables.
        open: starts it, given a folder and the socket of a Redis.
        missing: what must be installed before; None when it is all there.
    """

    name: str
    open: Callable[[Path, Path], AbstractContextManager[Target]]
    missing: str | None


@contextmanager
def stock(home: Path, bus: Path, *, layer: str, server: str) -> Iterator[Target]:
    """A stock Channels consumer."""
    port = free_port()
    application = "benchmarks.peers.stock:application"
    commands = {
        "daphne": [sys.executable, "-m", "daphne", "-v", "0", "-b", "127.0.0.1", "-p", str(port), application],
        "uvicorn": uvicorn(application, port),
    }
    env = {"PEER_REDIS": f"unix://{bus}", "PEER_LAYER": layer}
    with started(commands[server], core=machine.SERVER_CORE, env=env, log=home / "peer.log") as process:
        wait_for_port(port, server)
        yield Target(f"Channels {layer}, {server}", process.pid, port, PLAIN, ("channels", f"{layer}|unix://{bus}"))


def uvicorn(application: str, port: int) -> list[str]:
    """uvicorn's command line, quiet."""
    return [sys.executable, "-m", "uvicorn", application, "--port", str(port), "--log-level", "warning", "--no-access-log"]


@contextmanager
def fastapi(home: Path, bus: Path) -> Iterator[Target]:
    """FastAPI on uvicorn."""
    port = free_port()
    command = uvicorn("benchmarks.peers.fastapi_redis:app", port)
    env = {"PEER_REDIS": f"unix://{bus}"}
    with started(command, core=machine.SERVER_CORE, env=env, log=home / "peer.log") as process:
        wait_for_port(port, "FastAPI")
        yield Target("FastAPI + redis", process.pid, port, PLAIN, ("redis", str(bus)))


@contextmanager
def node(home: Path, bus: Path) -> Iterator[Target]:
    """Node with ws and ioredis."""
    port = free_port()
    command = ["node", str(HERE / "node_ws.js"), str(port), str(bus)]
    with started(command, core=machine.SERVER_CORE, log=home / "peer.log") as process:
        wait_for_port(port, "Node")
        yield Target("Node ws + redis", process.pid, port, PLAIN, ("redis", str(bus)))


@contextmanager
def nchan(home: Path, _: Path) -> Iterator[Target]:
    """nginx with nchan, one worker."""
    port = free_port()
    path = configuration("nginx.conf", home, PORT=port)
    with started(["nginx", "-c", str(path)], core=machine.SERVER_CORE, log=home / "peer.log") as process:
        wait_for_port(port, "nginx")
        yield Target("nchan", process.pid, port, Greeting(handshake("/sub"), even=True), ("nchan", str(port)))


@contextmanager
def nats(home: Path, _: Path) -> Iterator[Target]:
    """NATS, followed over its WebSocket."""
    port, source = free_port(), free_port()
    path = configuration("nats.conf", home, PORT=port, SOURCE_PORT=source)
    hello = frame(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB trade.S0000 1\r\nPING\r\n', BINARY)
    greeting = Greeting(handshake("/"), lambda _: hello, (b"PONG", 1))
    with started(["nats-server", "-c", str(path)], core=machine.SERVER_CORE, log=home / "peer.log") as process:
        wait_for_port(port, "NATS")
        yield Target("NATS", process.pid, port, greeting, ("nats", str(source)))


@contextmanager
def mosquitto(home: Path, _: Path) -> Iterator[Target]:
    """mosquitto, followed by MQTT over WebSocket, quality of service 0."""
    port, source = free_port(), free_port()
    path = configuration("mosquitto.conf", home, PORT=port, SOURCE_PORT=source)
    greeting = Greeting(
        handshake("/", headers=["Sec-WebSocket-Protocol: mqtt"]), mqtt_hello, (b"\x90\x03\x00\x01\x00", 1), even=True
    )
    with started(["mosquitto", "-c", str(path)], core=machine.SERVER_CORE, log=home / "peer.log") as process:
        wait_for_port(port, "mosquitto")
        yield Target("mosquitto", process.pid, port, greeting, ("mqtt", str(source)))


def mqtt_hello(number: int) -> bytes:
    """CONNECT and SUBSCRIBE of one client."""
    name = b"c%05d" % number
    connect = b"\x00\x04MQTT\x04\x02\x00\x00" + len(name).to_bytes(2, "big") + name
    subscribe = b"\x00\x01\x00\x0btrade.S0000\x00"
    packets = b"\x10" + mqtt_length(len(connect)) + connect + b"\x82" + mqtt_length(len(subscribe)) + subscribe
    return frame(packets, BINARY)


def configuration(name: str, home: Path, **values: object) -> Path:
    """A configuration of ours with its placeholders filled in."""
    text = (HERE / name).read_text()
    for key, value in {"HOME": home, **values}.items():
        text = text.replace(f"@{key}@", str(value))
    path = home / name
    path.write_text(text)
    return path


def _program(name: str, *needed: Path) -> str | None:
    absent = [path.name for path in needed if not path.exists()]
    return f"{name} is not installed" if shutil.which(name) is None else f"not installed: {', '.join(absent)}" if absent else None


def _package(name: str) -> str | None:
    return None if importlib.util.find_spec(name) else f"the Python package {name} is not installed"


def stock_peers() -> list[Peer]:
    """Channels as it comes, on both layers and both servers."""
    ways = [("core", "daphne"), ("pubsub", "daphne"), ("pubsub", "uvicorn")]
    return [
        Peer(f"Channels {layer}, {server}", partial(stock, layer=layer, server=server), _package(server))
        for layer, server in ways
    ]


def fast_peers() -> list[Peer]:
    """What people take when they need speed."""
    return [
        Peer("FastAPI + redis", fastapi, _package("fastapi")),
        Peer("Node ws + redis", node, _program("node", HERE / "node_modules" / "ws", HERE / "node_modules" / "ioredis")),
        Peer("nchan", nchan, _program("nginx", NCHAN)),
        Peer("NATS", nats, _program("nats-server")),
        Peer("mosquitto", mosquitto, _program("mosquitto")),
    ]
