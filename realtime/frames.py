"""WebSocket frames encoded once for all receivers.

An `Encoding` turns a message (JSON bytes) into what goes over the wire to everybody who is served the same way: text or
MessagePack, one message a frame or an array of them, deflated or not, framed here or left to a foreign server.
Frames from a server are unmasked and whole, so the same bytes serve every socket; a deflated frame does too, because each begins
with an empty dictionary (RFC 7692, `no_context_takeover` both ways).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

Wire = Literal["json", "msgpack"]
TEXT, BINARY = 0x1, 0x2
RSV1 = 0x40
WINDOW_BITS = 12  # what is negotiated with every client, see realtime/server.py
DEFLATE_FROM_BYTES = 256  # shorter payloads hardly shrink


def frame(payload: bytes, opcode: int = TEXT, flags: int = 0) -> bytes:
    """One complete frame from a server. Source: RFC 6455 section 5.2."""
    first, length = 0x80 | flags | opcode, len(payload)
    if length < 126:
        return struct.pack("!BB", first, length) + payload
    if length < 65536:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload


def deflate(payload: bytes) -> bytes:
    """Compress a payload for any receiver. Source: RFC 7692 section 7.2.1."""
    compressor = zlib.compressobj(wbits=-WINDOW_BITS, memLevel=5)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def to_msgpack(message: bytes) -> bytes:
    """The same object as MessagePack."""
    return msgspec.msgpack.encode(msgspec.json.decode(message))


def array_of_json(messages: list[bytes]) -> bytes:
    """Messages as one JSON array."""
    return b"[" + b",".join(messages) + b"]"


def array_of_msgpack(messages: list[bytes]) -> bytes:
    """Messages as one MessagePack array."""
    count = len(messages)
    head = bytes([0x90 | count]) if count < 16 else b"\xdc" + struct.pack("!H", count)
    return head + b"".join(messages)


def size_of(payload: bytes | list[bytes]) -> int:
    """The bytes of what `Encoding.join` made."""
    return len(payload) if isinstance(payload, bytes) else sum(map(len, payload))


@dataclass(frozen=True, eq=False)
class Encoding:
    """One way to be served. There is one instance per way (`encoding`), so that they can be keys and be compared by identity.

    Attributes:
        kind: messages of encodings of the same kind are the same bytes, and are made once.
        message: JSON bytes of a message → its bytes in this encoding.
        join: those of several messages → what is given to the sink, in one write.
    """

    wire: Wire
    batch: bool
    deflated: bool
    framed: bool
    kind: str
    message: Callable[[bytes], bytes]
    join: Callable[[list[bytes]], bytes | list[bytes]]


_encodings: dict[tuple[Wire, bool, bool, bool], Encoding] = {}


def encoding(wire: Wire = "json", *, batch: bool = False, deflated: bool = False, framed: bool = True) -> Encoding:
    """The encoding of that way to be served."""
    key = (wire, batch, deflated, framed)
    if key not in _encodings:
        _encodings[key] = _make(*key)
    return _encodings[key]


def _make(wire: Wire, batch: bool, deflated: bool, framed: bool) -> Encoding:
    shape = to_msgpack if wire == "msgpack" else bytes
    array = array_of_msgpack if wire == "msgpack" else array_of_json
    finish = _framer(wire, deflated) if framed else bytes
    if batch:
        return Encoding(wire, batch, deflated, framed, wire, shape, _arrays(array, finish, framed))
    kind = f"{wire}-deflated" if deflated and framed else f"{wire}-frame" if framed else wire
    return Encoding(wire, batch, deflated, framed, kind, lambda json: finish(shape(json)), b"".join if framed else list)


def _framer(wire: Wire, deflated: bool) -> Callable[[bytes], bytes]:
    opcode = BINARY if wire == "msgpack" else TEXT

    def plain(payload: bytes) -> bytes:
        return frame(payload, opcode)

    def deflating(payload: bytes) -> bytes:
        return frame(deflate(payload), opcode, RSV1) if len(payload) >= DEFLATE_FROM_BYTES else frame(payload, opcode)

    return deflating if deflated else plain


def _arrays(
    array: Callable[[list[bytes]], bytes], finish: Callable[[bytes], bytes], framed: bool
) -> Callable[[list[bytes]], bytes | list[bytes]]:
    if framed:
        return lambda messages: finish(array(messages))
    return lambda messages: [array(messages)]


def opened(payload: bytes | list[bytes]) -> Iterator[dict[str, Any]]:
    """The messages in what any encoding's `join` made, as objects: the way back, for who looks on."""
    for data in _payloads(payload) if isinstance(payload, bytes) else payload:
        found = msgspec.json.decode(data) if data[:1] in (b"{", b"[") else msgspec.msgpack.decode(data)
        yield from found if isinstance(found, list) else [found]


def _payloads(frames: bytes) -> Iterator[bytes]:
    """What is in whole frames of a server, one behind the other."""
    at = 0
    while at < len(frames):
        first, length = frames[at], frames[at + 1]
        at += 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(frames[at : at + size], "big"), at + size
        data, at = frames[at : at + length], at + length
        yield zlib.decompressobj(-WINDOW_BITS).decompress(data + b"\0\0\xff\xff") if first & RSV1 else data
