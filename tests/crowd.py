"""Many clients in one thread, each of which checks what it gets: every sequence whole, in order, nothing twice.

It shares no code with the server. `python -m tests.crowd PORT KEY TOPIC…` is one such client in a process of its own, which a
test may stop: it says `live`, and in the end what it has seen.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time
import zlib
from collections.abc import Callable, MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
BROKEN_OFF = 1006
IN_FLIGHT = 64  # handshakes at a time
READ_BYTES = 1 << 18

# The database of a server for crowds: instruments S0000, S0001, … and the key of a member of staff whose plan limits nothing.
SETUP = """
from django.contrib.auth.models import User
from marketdata.models import Instrument
from realtime.keys import create_key
from realtime.models import Account, Plan
Instrument.objects.bulk_create(Instrument(symbol=f"S{{n:04d}}", name="-", kind="stock") for n in range({symbols}))
roomy = Plan.objects.create(
    name="roomy", topics_per_connection=2000, connections_per_user=100000, commands_per_second=50, command_burst=200)
user = User.objects.create_user("crowd", is_staff=True)
Account.objects.create(user=user, plan=roomy)
print(create_key(user, is_staff=True)[1])
"""


def raise_file_limit() -> int:
    """Let this process open as many sockets as the system allows. Returns how many files those are."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@dataclass(frozen=True)
class Way:
    """How a client asks to be served."""

    msgpack: bool = False
    deflate: bool = False
    batch: bool = False
    max_rate: float | None = None

    def request(self, key: str) -> bytes:
        """The handshake."""
        lines = [
            f"GET /ws/v1/market{'?batch=1' if self.batch else ''} HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: tickwire.v1.{'msgpack' if self.msgpack else 'json'}",
            f"Authorization: Bearer {key}",
        ]
        if self.deflate:
            lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
        return "\r\n".join((*lines, "", "")).encode()


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame from a client whose mask is zero."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + head + bytes(4) + payload


def frames(buffer: bytearray) -> list[tuple[int, bytes]]:
    """Take the whole frames off a buffer's front: (first byte, payload)."""
    found, at = [], 0
    while len(buffer) >= at + 2:
        length, head = buffer[at + 1], 2
        if length >= 126:
            head = 4 if length == 126 else 10
            length = int.from_bytes(buffer[at + 2 : at + head], "big")
        end = at + head + length
        if len(buffer) < max(end, at + head):
            break
        found.append((buffer[at], bytes(buffer[at + head : end])))
        at = end
    del buffer[:at]
    return found


def inflate(payload: bytes) -> bytes:
    """What a peer without context takeover has deflated."""
    return zlib.decompressobj(wbits=-15).decompress(payload + b"\x00\x00\xff\xff")


@dataclass(eq=False)
class Reader:
    """One client: how it is served, what it has seen, and what should not have been.

    Attributes:
        seen: topic → newest seq.
        updates: how many have arrived.
        told: whatever came but updates and snapshots.
        faults: unnamed holes, repetitions, and updates of topics without a snapshot.
        ended: the close code; None while the connection is open.
        node: the process that serves it.
        ages_us: where there is one, how old each update was when it was read, by the `ts` in it.
    """

    number: int
    way: Way
    topics: Sequence[str]
    sock: socket.socket
    seen: dict[str, int] = field(default_factory=dict)
    updates: int = 0
    received_bytes: int = 0
    told: list[Any] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ended: int | None = None
    ages_us: MutableSequence[int] | None = None
    node: str = ""
    greeted: bool = False
    live: bool = False
    buffer: bytearray = field(default_factory=bytearray)

    def say(self, op: str, **fields: Any) -> None:
        """Send a command."""
        command = {"op": op, **fields}
        frame = masked(msgspec.msgpack.encode(command), BINARY) if self.way.msgpack else masked(json.dumps(command).encode())
        self.sock.sendall(frame)

    def read(self, most_bytes: int = READ_BYTES) -> None:
        """Read once, and check all that is whole by now."""
        try:
            data = self.sock.recv(most_bytes)
        except (BlockingIOError, TimeoutError):
            return
        except ConnectionError:
            data = b""
        if not data:
            self.ended = self.ended or BROKEN_OFF
        self.received_bytes += len(data)
        self.buffer += data
        if self.greeted or self._greet():
            for first, payload in frames(self.buffer):
                self._take(first, payload)

    def _greet(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end >= 0:
            assert self.buffer.startswith(b"HTTP/1.1 101"), bytes(self.buffer[:300])
            del self.buffer[: end + 4]
            self.greeted = True
        return self.greeted

    def _take(self, first: int, payload: bytes) -> None:
        opcode = first & 0x0F
        if opcode == CLOSE:
            self.ended = int.from_bytes(payload[:2], "big")
        elif opcode == PING:
            self.sock.sendall(masked(payload, PONG))
        else:
            text = inflate(payload) if first & 0x40 else payload
            decoded = msgspec.msgpack.decode(text) if opcode == BINARY else msgspec.json.decode(text)
            for message in decoded if isinstance(decoded, list) else (decoded,):
                self._check(message)

    def _check(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "update":
            self._update(message)
        elif kind == "snapshot":
            self.seen[message["topic"]] = message["seq"]
        elif kind == "welcome":
            self.node = message["node"]
            rate = {"max_rate": self.way.max_rate} if self.way.max_rate else {}
            self.say("subscribe", topics=self.topics, **rate)
        else:
            if kind == "gap":
                self.seen[message["topic"]] = message["to"]
            self.live |= kind == "subscribed" and not message["rejected"]
            self.told.append(message)

    def _update(self, message: dict[str, Any]) -> None:
        topic, seq = message["topic"], message["seq"]
        last = self.seen.get(topic)
        if last is None or seq <= last or (seq > last + 1 and topic.startswith("trade.")):
            self.faults.append(f"{topic}: {seq} after {last}")
        self.seen[topic] = seq
        self.updates += 1
        if self.ages_us is not None:
            self.ages_us.append(time.time_ns() // 1000 - message["data"]["ts"])


class Crowd:
    """Connections to one server, all read in the caller's thread.

    Args:
        port: of the server, on loopback.
        key: what every client shows.
        choose: number of a client → its topics.
        ways: taken in turn.

    Attributes:
        kind: what each client is.
    """

    kind: type[Reader] = Reader

    def __init__(self, port: int, key: str, choose: Callable[[int], Sequence[str]], ways: Sequence[Way] = (Way(),)) -> None:
        self.port = port
        self.key = key
        self.choose = choose
        self.ways = ways
        self.readers: list[Reader] = []
        self._open: dict[int, Reader] = {}
        self._epoll = select.epoll()

    def connect(self, count: int, within_s: float = 60.0) -> None:
        """Open connections, a few at a time, until all of them are live."""
        left = count
        waiting: list[Reader] = []
        deadline = time.monotonic() + within_s
        while left or waiting:
            fresh = [self._dial() for _ in range(min(left, IN_FLIGHT - len(waiting)))]
            left -= len(fresh)
            self.poll(0.05)
            waiting = [reader for reader in (*waiting, *fresh) if not reader.live]
            ended = [reader for reader in waiting if reader.ended]
            assert not ended, f"client {ended[0].number} was closed with {ended[0].ended}: {ended[0].told}"
            assert time.monotonic() < deadline, f"{left + len(waiting)} of {count} clients are not live in time"

    def _dial(self) -> Reader:
        sock = socket.create_connection(("127.0.0.1", self.port))
        number = len(self.readers)
        reader = self.kind(number, self.ways[number % len(self.ways)], self.choose(number), sock)
        sock.sendall(reader.way.request(self.key))
        sock.setblocking(False)
        self.readers.append(reader)
        self._open[sock.fileno()] = reader
        self._epoll.register(sock, select.EPOLLIN)
        return reader

    def poll(self, wait_s: float) -> None:
        """Read whatever is there, or comes within the wait."""
        for number, _ in self._epoll.poll(wait_s):
            reader = self._open[number]
            reader.read()
            if reader.ended:
                self._epoll.unregister(reader.sock)
                del self._open[number]
                reader.sock.close()

    def run(self, seconds: float) -> None:
        """Read for a while."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.poll(left)

    def until(self, condition: Callable[[], object], within_s: float = 10.0) -> None:
        """Read until the condition holds."""
        ends = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < ends, "it did not happen"
            self.poll(0.02)

    @property
    def updates(self) -> int:
        """All that have arrived."""
        return sum(reader.updates for reader in self.readers)

    @property
    def faults(self) -> list[str]:
        """What should not have been, whoever saw it."""
        return [f"client {reader.number}: {fault}" for reader in self.readers for fault in reader.faults]

    @property
    def gaps(self) -> list[Any]:
        """Losses that were named."""
        return [message for reader in self.readers for message in reader.told if message["type"] == "gap"]

    @property
    def ended(self) -> list[int]:
        """The close codes of those that the server closed."""
        return [reader.ended for reader in self.readers if reader.ended is not None]

    def close(self) -> None:
        """Leave."""
        for reader in self._open.values():
            reader.sock.close()
        self._epoll.close()


def main(port: str, key: str, *topics: str) -> None:
    """Read as one client until the end."""
    crowd = Crowd(int(port), key, lambda _: topics)
    crowd.connect(1)
    print("live", flush=True)  # noqa: T201
    crowd.until(lambda: crowd.ended, 600)
    (reader,) = crowd.readers
    told = [message for message in reader.told if message["type"] in ("notice", "gap")]
    print(json.dumps({"ended": reader.ended, "updates": reader.updates, "told": told[:100]}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
