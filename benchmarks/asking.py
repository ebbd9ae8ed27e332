"""HTTP clients that ask again as soon as they are answered, and what they were answered, and when."""

from __future__ import annotations

import itertools
import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.figures import percentile

READ_BYTES = 1 << 18
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)\r\n")


def request(path: str, **headers: str) -> bytes:
    """A GET on a connection that stays open; `_` in the name of a header is a hyphen."""
    lines = (f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items()))
    return "\r\n".join((*lines, "", "")).encode()


@dataclass
class Answers:
    """What came in a stretch of time.

    Attributes:
        refused: answers whose status was not 200; they count as none.
    """

    seconds: float = 0.0
    count: int = 0
    refused: int = 0
    received_bytes: int = 0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.count / self.seconds

    def p(self, percent: float) -> float:
        """A percentile of the latencies, in milliseconds."""
        return round(percentile(self.latencies_ms, percent), 2)


class _Client:
    __slots__ = ("asked_at", "seen", "sock", "wanted")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.seen = bytearray()
        self.wanted = 0  # bytes of the answer, once its head is there
        self.asked_at = 0.0


class Asking:
    """Clients of one server, each with one request under way at any time, taken from the given ones in turn."""

    def __init__(self, port: int, requests: Sequence[bytes], clients: int) -> None:
        self._requests = itertools.cycle(requests)
        self._epoll = select.epoll()
        self._clients: dict[int, _Client] = {}
        for _ in range(clients):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[sock.fileno()] = _Client(sock)
            self._epoll.register(sock, select.EPOLLIN)
        self.last = b""  # the newest answer, whole

    def run(self, seconds: float = 0.0, most: int = 1 << 62) -> Answers:
        """Ask for a while, or until so many were answered.

        Raises:
            ConnectionError: the server closed a connection.
            TimeoutError: nothing was answered for ten seconds.
        """
        answers, began = Answers(), time.perf_counter()
        ends = began + (seconds or float("inf"))
        for client in self._clients.values():
            self._ask(client)
        waiting = len(self._clients)
        while waiting:
            ready = self._epoll.poll(10.0)
            if not ready:
                raise TimeoutError("no answer")
            for number, _ in ready:
                client = self._clients[number]
                if not self._read(client, answers):
                    continue
                if time.perf_counter() < ends and answers.count + answers.refused + waiting <= most:
                    self._ask(client)
                else:
                    waiting -= 1
        answers.seconds = time.perf_counter() - began
        return answers

    def _ask(self, client: _Client) -> None:
        client.asked_at = time.perf_counter()
        client.sock.sendall(next(self._requests))

    def _read(self, client: _Client, answers: Answers) -> bool:
        """Take what has come. True: the answer is whole."""
        data = client.sock.recv(READ_BYTES)
        if not data:
            raise ConnectionError(f"closed behind {bytes(client.seen[:300])!r}")
        client.seen += data
        if not client.wanted and (head := client.seen.find(b"\r\n\r\n")) >= 0:
            found = LENGTH.search(client.seen, 0, head + 2)
            client.wanted = head + 4 + (int(found[1]) if found else 0)
        if not client.wanted or len(client.seen) < client.wanted:
            return False
        answers.latencies_ms.append(1000 * (time.perf_counter() - client.asked_at))
        answers.received_bytes += len(client.seen)
        good = client.seen.startswith(b"HTTP/1.1 200 ")
        answers.count += good
        answers.refused += not good
        self.last, client.seen, client.wanted = bytes(client.seen), bytearray(), 0
        return True

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.sock.close()
        self._epoll.close()
