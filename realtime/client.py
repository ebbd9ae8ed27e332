"""One client of a server, which checks every number that it is sent.

It is quick rather than complete: it knows what servers of this protocol send, whole and unmasked frames, reads no more of a
message than it must, and keeps no data. What it finds goes into a `Tally` that it shares with others.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from realtime.codes import Close
from realtime.frames import BINARY, RSV1, TEXT, Wire, array_of_json, array_of_msgpack
from realtime.protocol import MAX_TOPICS, SUBPROTOCOLS
from realtime.tally import Latencies, Positions, Tally

CLOSE, PING, PONG, FIN = 0x8, 0x9, 0xA, 0x80
NO_CLOSE_FRAME = 1006
DEFLATE = "permessage-deflate; client_no_context_takeover; server_no_context_takeover; client_max_window_bits"


class Unreadable(Exception):
    """What came is nothing that a server of this protocol sends."""


class Refused(Exception):
    """A connection did not come up; the message says why."""


# Frames


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Cut a stream into frames.

    Returns:
        The whole frames at its beginning, as (first byte, payload), and what is left.

    Raises:
        Unreadable: a frame is masked, which no server's is.
    """
    frames, at, most = [], 0, len(data) - 2
    while at <= most:
        length, start = data[at + 1], at + 2
        if length > 125:
            if length > 127:
                raise Unreadable("a masked frame")
            start += 2 if length == 126 else 8
            length = int.from_bytes(data[at + 2 : start], "big")
        end = start + length
        if end > most + 2:
            break
        frames.append((data[at], data[start:end]))
        at = end
    return frames, data[at:]


def masked(payload: bytes, opcode: int) -> bytes:
    """A frame from a client, shorter than 64 KiB; masked with zeros, which leave the payload as it is."""
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([FIN | opcode]) + head + bytes(4) + payload


# The socket


class Stamp(msgspec.Struct, gc=False):
    """What is read of an update's data where latency is measured."""

    ts: int | None = None


class Message(msgspec.Struct, gc=False):
    """What is read of every message."""

    type: str
    topic: str = ""
    seq: int = 0


class TimedMessage(Message, gc=False):
    """What is read of every message where latency is measured."""

    data: Stamp | None = None


@dataclass(frozen=True)
class Way:
    """How a client introduces itself and is served.

    Attributes:
        host, path: what the handshake names.
        api_key: who it is; empty for a visitor.
        wire, batch, compress: in which encoding.
        max_rate: updates per second of each latest topic; None for the plan's.
    """

    host: str
    path: str
    api_key: str = ""
    wire: Wire = "json"
    batch: bool = False
    compress: bool = False
    max_rate: float | None = None

    @property
    def request(self) -> bytes:
        """The handshake."""
        path = self.path + ("&batch=1" if "?" in self.path else "?batch=1") if self.batch else self.path
        subprotocol = next(name for name, wire in SUBPROTOCOLS.items() if wire == self.wire)
        lines = [
            f"GET {path} HTTP/1.1", f"Host: {self.host}", "Upgrade: websocket", "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {subprotocol}",
        ]  # fmt: skip
        lines += [f"Authorization: Bearer {self.api_key}"] if self.api_key else []
        lines += [f"Sec-WebSocket-Extensions: {DEFLATE}"] if self.compress else []
        return "\r\n".join((*lines, "", "")).encode()

    @property
    def codec(self) -> Any:
        """What reads and writes messages."""
        return msgspec.json if self.wire == "json" else msgspec.msgpack

    def command(self, **fields: Any) -> bytes:
        """A command as a frame."""
        return masked(self.codec.encode(fields), TEXT if self.wire == "json" else BINARY)

    def subscribes(self, topics: Sequence[str]) -> list[bytes]:
        """The commands that follow topics."""
        rate = {} if self.max_rate is None else {"max_rate": self.max_rate}
        parts = [topics[at : at + MAX_TOPICS] for at in range(0, len(topics), MAX_TOPICS)]
        return [self.command(op="subscribe", topics=part, **rate) for part in parts]

    def arrays(self, payloads: list[bytes]) -> list[bytes]:
        """What frames carry, as few arrays of messages, which are read much sooner than messages one by one."""
        if self.wire == "json":
            return [array_of_json([payload[1:-1] for payload in payloads] if self.batch else payloads)]
        return payloads if self.batch else [array_of_msgpack(payloads)]


class Client(asyncio.Protocol):
    """One connection.

    Args:
        way: how it is served.
        topics: what it follows.
        tally: where it counts.
        latencies: where it counts how old updates are by this machine's clock; None: it does not look.
        timed: the topics of which it looks; empty: of all.
        bytes_per_s: how quickly it reads once it is live; 0: not at all; None: as quickly as it can.

    Attributes:
        live: done when it follows its topics, or `Refused`.
        gone: its socket is closed.
    """

    def __init__(
        self, way: Way, topics: Sequence[str], tally: Tally, *, latencies: Latencies | None = None,
        timed: frozenset[str] = frozenset(), bytes_per_s: int | None = None,
    ) -> None:  # fmt: skip
        self.way = way
        self.topics = topics
        self.tally = tally
        self.latencies = latencies
        self.timed = timed
        self.bytes_per_s = bytes_per_s
        self._loop = asyncio.get_running_loop()
        self.live: asyncio.Future[None] = self._loop.create_future()
        self.gone: asyncio.Future[None] = self._loop.create_future()
        self._positions = Positions(tally)
        self._decode = way.codec.Decoder(list[Message] if latencies is None else list[TimedMessage]).decode
        self._data_frame = FIN | (TEXT if way.wire == "json" else BINARY)
        self._rest = b""
        self._connected = self._upgraded = False
        self._awaited = 0
        self._leaving = False
        self._code: int | None = None
        self._last_words = ""

    # Events of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._transport, self._connected = cast(asyncio.Transport, transport), True
        self._transport.write(self.way.request)

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        now_us = time.time_ns() // 1000
        size = len(data)
        self.tally.received_bytes += size
        try:
            data = self._rest + data
            if not self._upgraded:
                data = self._upgrade(data)
            frames, self._rest = split(data) if self._upgraded else ([], data)
            self._read(frames, now_us)
        except (Unreadable, Refused, msgspec.DecodeError, zlib.error, KeyError, TypeError) as error:
            self._give_up(str(error) if isinstance(error, Refused) else f"unreadable: {error!s}")
        if self.bytes_per_s is not None and self.live.done():
            self._rest_a_while(size)

    def connection_lost(self, _: Exception | None) -> None:
        """Say why the connection ended, unless we ended it."""
        self.gone.set_result(None)
        if self._leaving:
            self._refuse("left before it was live")
            return
        why = named(self._code if self._code is not None else NO_CLOSE_FRAME)
        if not self._refuse(f"{why}: {self._last_words}" if self._last_words else why):
            self.tally.closed[why] += 1

    # Leaving

    def leave(self) -> None:
        """Say goodbye."""
        self._leaving = True
        if not self._transport.is_closing():
            self._transport.write(masked((1000).to_bytes(2, "big"), CLOSE))
            self._transport.close()

    def vanish(self) -> None:
        """Go without a word, as a client does whose network is gone."""
        self._leaving = True
        if self._connected:
            self._transport.abort()

    def wake(self) -> None:
        """Read as quickly as it can from now on."""
        self.bytes_per_s = None
        self._resume()

    # Reading

    def _upgrade(self, data: bytes) -> bytes:
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            return data
        status = head.split(maxsplit=2)
        if status[1:2] != [b"101"]:
            raise Refused(f"HTTP {status[1].decode('latin-1')}" if len(status) > 1 else "not HTTP")
        if self.way.compress and b"permessage-deflate" not in head:
            raise Refused("the server does not compress")
        self._upgraded = True
        return rest

    def _read(self, frames: list[tuple[int, bytes]], now_us: int) -> None:
        plain, update, updates = self._data_frame, self._positions.update, 0
        payloads = [payload if first == plain else self._unpack(first, payload) for first, payload in frames]
        for text in self.way.arrays([payload for payload in payloads if payload]):
            whole: list[dict[str, Any]] = []
            for index, message in enumerate(self._decode(text)):
                if message.type == "update":
                    updates += 1
                    update(message.topic, message.seq)
                    if self.latencies is not None:
                        self._time(message, now_us)
                else:
                    whole = whole or self.way.codec.decode(text)
                    self._hear(whole[index])
        self.tally.updates += updates

    def _unpack(self, first: int, payload: bytes) -> bytes:
        """What a frame carries that is not simply data; nothing, when it is about the connection."""
        if first == self._data_frame | RSV1 and self.way.compress:
            return zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        if first == FIN | PING:
            self._transport.write(masked(payload, PONG))
        elif first == FIN | CLOSE:
            self._code = int.from_bytes(payload[:2], "big") or 1005
            self._transport.write(masked(payload[:2], CLOSE))
            self._transport.close()
        elif first != FIN | PONG:
            raise Unreadable(f"a frame that begins with {first:#04x}")
        return b""

    def _time(self, message: TimedMessage, now_us: int) -> None:
        if message.data is not None and message.data.ts is not None and (not self.timed or message.topic in self.timed):
            assert self.latencies is not None
            self.latencies.add(now_us - message.data.ts)

    def _hear(self, message: dict[str, Any]) -> None:
        """Take a message that is no update."""
        match message["type"]:
            case "snapshot":
                self._positions.snapshot(message["topic"], message["epoch"], message["seq"])
            case "gap":
                self._positions.gap(message["topic"], message["epoch"], message["from"], message["to"])
            case "welcome":
                self._subscribe()
            case "subscribed":
                self._follow(message)
            case "notice":
                self.tally.notices[message["kind"]] += 1
                self._last_words = message["message"]
            case "evicted":
                self.tally.evicted[message["name"]] += 1
                self._positions.end(message["topic"])
            case "error":
                raise Refused(f"{message['code']} {message['name']}: {message['message']}")

    def _subscribe(self) -> None:
        commands = self.way.subscribes(self.topics)
        self._awaited = len(commands)
        self._transport.write(b"".join(commands))

    def _follow(self, reply: dict[str, Any]) -> None:
        for accepted in reply["accepted"]:
            every = accepted["delivery"] == "every"
            self._positions.begin(accepted["topic"], accepted["epoch"], accepted["seq"], every=every)
        for rejected in reply["rejected"]:
            self.tally.rejected[f"{rejected['code']} {rejected['name']}"] += 1
        self._awaited -= 1
        if not self._awaited and not self.live.done():
            self.live.set_result(None)

    # Being slow

    def _rest_a_while(self, read_bytes: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.pause_reading()
        if self.bytes_per_s:
            self._loop.call_later(read_bytes / self.bytes_per_s, self._resume)

    def _resume(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # Ends

    def _refuse(self, why: str) -> bool:
        """Say that the connection will not be live; False: it has been."""
        if self.live.done():
            return False
        self.live.set_exception(Refused(why))
        return True

    def _give_up(self, why: str) -> None:
        if not self._refuse(why):
            self.tally.closed[f"by us, {why}"] += 1
        self.vanish()


def named(code: int) -> str:
    """A close code with its name."""
    if code == NO_CLOSE_FRAME:
        return f"{code} without a close frame"
    try:
        return f"{code} {Close(code).label}"
    except ValueError:
        return str(code)
