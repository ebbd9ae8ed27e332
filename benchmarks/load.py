"""The load client: opens sockets, counts what arrives, samples latencies.

It must not be the limit, so it parses nothing: it counts a marker in the raw bytes, and only on every n-th connection looks at
the time stamps, of all updates there. The stamp of an update is the wall clock of its publisher, which runs on this machine; what
the client takes to get round to a socket is part of the latency.

Where all updates are equally long (`Greeting.even`), only the sampled connections are looked at. Of the others the kernel throws
the bytes away and tells how many they were: exactly that many updates, or something else came or was lost.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from benchmarks.figures import percentile

UPDATE = b'"type":"update"'
STAMP = re.compile(rb'"ts":(\d{16})')
SESSION = re.compile(rb'"type":"welcome","session":"([^"]+)"')
READ_BYTES = 1 << 18
IN_FLIGHT = 64  # handshakes at a time
SAMPLED = 20  # connections whose latencies are looked at


def handshake(path: str, *, headers: Sequence[str] = ()) -> bytes:
    """The request that opens a WebSocket."""
    fixed = (
        f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
    )  # fmt: skip
    return "\r\n".join((*fixed, *headers, "", "")).encode()


def frame(payload: bytes, opcode: int = 1) -> bytes:
    """A frame from a client, masked with zeros: the payload as it is."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + head + bytes(4) + payload


@dataclass(frozen=True)
class Greeting:
    """How a client gets its updates.

    Attributes:
        request: the handshake.
        after: frames sent behind it, for the client of that number.
        ready: what the server then sends, and how often, before the client counts as live.
        even: all updates are equally long, and nothing but updates is sent to a live connection.
    """

    request: bytes
    after: Callable[[int], bytes] = lambda _: b""
    ready: tuple[bytes, int] = (b"\r\n\r\n", 1)
    even: bool = False


@dataclass
class Window:
    """What arrived in a stretch of time."""

    seconds: float = 0.0
    updates: int = 0
    received_bytes: int = 0
    reads: int = 0
    client_cpu_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    def p(self, percent: float) -> float | None:
        """A percentile of the latencies, in milliseconds; None when nothing was sampled."""
        return round(percentile(self.latencies_ms, percent), 2) if self.latencies_ms else None

    @property
    def rate(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds


class _Client:
    """One socket."""

    __slots__ = ("carry", "number", "sampled", "seen", "size", "sock", "updates")

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.number = number
        self.sock = sock
        self.carry = b""
        self.seen = b""
        self.sampled = False
        self.size = 0
        self.updates = 0


class Load:
    """Connections to one server.

    Attributes:
        closed: connections that the server ended.
        sessions: of Tickwire's clients, by their number.
    """

    def __init__(self, port: int, greeting: Greeting) -> None:
        self.port = port
        self.greeting = greeting
        self.closed = 0
        self.sessions: dict[int, str] = {}
        self._clients: dict[int, _Client] = {}
        self._buffer = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._epoll = select.epoll()
        self._window = Window()

    def __len__(self) -> int:
        return len(self._clients)

    # Connecting

    def connect(self, count: int, within_s: float = 60.0) -> float:
        """Open connections, a few at a time, until all of them are live.

        Returns:
            Seconds that it took.

        Raises:
            TimeoutError: some are not live in time.
        """
        began, first, opened = time.monotonic(), len(self._clients), 0
        waiting: dict[int, _Client] = {}
        while opened < count or waiting:
            while opened < count and len(waiting) < IN_FLIGHT:
                client = self._open(first + opened)
                waiting[client.sock.fileno()] = client
                opened += 1
            for number, _ in self._epoll.poll(1.0):
                if number in waiting and self._greet(waiting[number]):
                    del waiting[number]
                elif number not in waiting:
                    self._read(self._clients[number])
            if time.monotonic() - began > within_s:
                sample = next(iter(waiting.values())).seen[:300] if waiting else b""
                raise TimeoutError(f"{len(waiting)} of {count} connections were not live in time; one got {sample!r}")
        self._choose_sampled()
        return time.monotonic() - began

    def _open(self, number: int) -> _Client:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(self.greeting.request)
        sock.setblocking(False)
        client = self._clients[sock.fileno()] = _Client(number, sock)
        self._epoll.register(sock, select.EPOLLIN)
        return client

    def _greet(self, client: _Client) -> bool:
        """Go on with a handshake. True when the connection is live."""
        data = client.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionError(f"refused: {client.seen[:300]!r}")
        begun = b"\r\n\r\n" in client.seen
        client.seen += data
        if not begun and b"\r\n\r\n" in client.seen and (after := self.greeting.after(client.number)):
            client.sock.sendall(after)
        marker, times = self.greeting.ready
        if client.seen.count(marker) < times:
            return False
        if found := SESSION.search(client.seen):
            self.sessions[client.number] = found[1].decode()
        client.carry, client.seen = client.seen[1 - len(UPDATE) :], b""
        return True

    def _choose_sampled(self) -> None:
        every = max(1, len(self._clients) // SAMPLED)
        for index, client in enumerate(self._clients.values()):
            client.sampled = index % every == every - 1  # the last one written to is among them

    # Reading

    def mark(self) -> None:
        """Count from here on; nothing is on its way now."""
        for client in self._clients.values():
            client.size = client.updates = 0

    @property
    def updates(self) -> int:
        """What arrived on all connections since the mark."""
        looked_at, length = self._looked_at()
        return looked_at + sum(int(client.size / length) for client in self._skimmed())

    @property
    def unclear(self) -> int:
        """Connections on which something came that is no whole number of updates."""
        _, length = self._looked_at()
        return sum(client.size % length != 0 for client in self._skimmed())

    def _looked_at(self) -> tuple[int, Fraction]:
        """Updates on the connections that are looked at, and the length of one."""
        clients = [client for client in self._clients.values() if client.sampled or not self.greeting.even]
        updates = sum(client.updates for client in clients)
        return updates, Fraction(sum(client.size for client in clients) or 1, updates or 1)

    def _skimmed(self) -> list[_Client]:
        return [client for client in self._clients.values() if not client.sampled] if self.greeting.even else []

    def run(self, seconds: float) -> Window:
        """Read for a while."""
        window = self._window = Window()
        before, size = self.updates, self._size()
        cpu, began = time.process_time(), time.perf_counter()
        ends = began + seconds
        while (left := ends - time.perf_counter()) > 0:
            self._poll(left)
        window.seconds = time.perf_counter() - began
        window.client_cpu_s = time.process_time() - cpu
        window.updates, window.received_bytes = self.updates - before, self._size() - size
        return window

    def _size(self) -> int:
        return sum(client.size for client in self._clients.values())

    def run_until(self, updates: int, within_s: float) -> bool:
        """Read until so many updates have arrived since the mark, for a while at most. Returns whether they have."""
        ends = time.perf_counter() + within_s
        while self.updates < updates and time.perf_counter() < ends:
            self._poll(0.05)
        return self.updates >= updates

    def _poll(self, wait_s: float) -> None:
        for number, _ in self._epoll.poll(wait_s):
            self._read(self._clients[number])

    def _read(self, client: _Client) -> None:
        skim = self.greeting.even and not client.sampled
        try:
            size = client.sock.recv_into(self._view, READ_BYTES, socket.MSG_TRUNC if skim else 0)
        except (BlockingIOError, ConnectionResetError):
            return
        if not size:
            self._lose(client)
            return
        client.size += size
        self._window.reads += 1
        if not skim:
            self._look(client, size)

    def _look(self, client: _Client, size: int) -> None:
        buffer, overlap = self._buffer, len(UPDATE) - 1
        client.updates += buffer.count(UPDATE, 0, size) + (client.carry + buffer[:overlap][:size]).count(UPDATE)
        client.carry = (
            bytes(buffer[max(0, size - overlap) : size]) if size >= overlap else (client.carry + buffer[:size])[-overlap:]
        )
        if client.sampled:
            now = time.time_ns() // 1000
            self._window.latencies_ms += [(now - int(stamp)) / 1000 for stamp in STAMP.findall(buffer, 0, size)]

    def _lose(self, client: _Client) -> None:
        self.closed += 1
        self._epoll.unregister(client.sock)
        del self._clients[client.sock.fileno()]
        client.sock.close()

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.sock.close()
        self._clients.clear()
        self._epoll.close()
