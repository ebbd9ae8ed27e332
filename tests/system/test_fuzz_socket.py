"""A live server and frames that nobody would send: it answers with codes, closes with codes, and nobody else notices."""

from __future__ import annotations

import asyncio
import re
import struct
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from realtime.codes import Close, Code
from tests.fuzz import Fuzz
from tests.system.conftest import Tickwire

TRADE = "trade.AAPL"
TEXT, BINARY, MORE = 0x1, 0x2, 0x0
FRAMES = 60  # a connection; it is closed with 4507 after a hundred errors, and anonymous ones are throttled before
CONNECTIONS = 30  # of each kind
MOST_GROWTH_BYTES = 24 << 20
CODES = {int(code) for code in Code} - {int(Code.INTERNAL)}
MAY_CLOSE = {1000, 1001, 1002, 1007, 1009, int(Close.TOO_MANY_ERRORS)}


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True, length: int | None = None) -> bytes:
    """A frame as it goes over the wire, right or wrong; the mask is zero, which changes nothing."""
    size = len(payload) if length is None else length
    mask = 0x80 if masked else 0
    head = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([size | mask])
    else:
        head += bytes([126 | mask]) + struct.pack(">H", size) if size < 65536 else bytes([127 | mask]) + struct.pack(">Q", size)
    return head + (bytes(4) if masked else b"") + payload


def broken_up(opcode: int, payload: bytes, random: Random) -> bytes:
    """A message in fragments, some of them empty."""
    cuts = sorted(random.choices(range(len(payload) + 1), k=random.randint(1, 5)))
    parts = [payload[start:end] for start, end in zip([0, *cuts], [*cuts, len(payload)], strict=True)]
    last = len(parts) - 1
    return b"".join(frame(MORE if number else opcode, part, fin=number == last) for number, part in enumerate(parts))


def is_utf8(data: bytes) -> bool:
    """Whether a text frame may carry it; what else happens to the others is tested below."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass
class Raw:
    """A WebSocket client that writes whatever it likes, and reads properly."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: ClientProtocol
    wire: str
    told: list[Any] = field(default_factory=list)
    closed: int | None = None

    async def say(self, data: bytes) -> None:
        """Write bytes; a peer that has gone is seen by reading."""
        self.writer.write(data)
        try:
            await self.writer.drain()
        except ConnectionError:
            pass

    async def read_on(self) -> bool:
        """Read some more. False: that was the end."""
        try:
            data = await self.reader.read(1 << 16)
        except ConnectionError:
            data = b""
        if not data:
            return False
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
                decode = msgspec.msgpack.decode if self.wire == "msgpack" else msgspec.json.decode
                said = decode(event.data)
                self.told += said if isinstance(said, list) else [said]  # a `configure` may have asked for batches
            elif isinstance(event, Frame) and event.opcode is Opcode.CLOSE:
                self.closed = struct.unpack(">H", event.data[:2])[0]
                return False
        return True

    async def read_until(self, nonce: str) -> bool:
        """Read to the answer to that ping, or to the end, which gives False."""
        while not any(message.get("nonce") == nonce or message.get("id") == nonce for message in self.told):
            if not await self.read_on():
                return False
        return True


@asynccontextmanager
async def dial(server: Tickwire, wire: str) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    protocol = ClientProtocol(parse_uri(server.socket_url), subprotocols=[f"tickwire.v1.{wire}"], max_size=None)  # type: ignore[list-item]
    protocol.send_request(protocol.connect())
    writer.write(b"".join(protocol.data_to_send()))
    client = Raw(reader, writer, protocol, wire)
    try:
        while not client.told:
            assert await client.read_on()
        yield client
    finally:
        writer.close()


def ping(wire: str, nonce: str) -> bytes:
    command = {"op": "ping", "id": nonce, "nonce": nonce}
    return frame(TEXT, msgspec.json.encode(command)) if wire == "json" else frame(BINARY, msgspec.msgpack.encode(command))


async def shout(server: Tickwire, wire: str, frames: Sequence[bytes]) -> tuple[list[Any], int | None]:
    """Send frames, then a ping. What was said to them, and the code of the close if there was one."""
    async with asyncio.timeout(20), dial(server, wire) as client:
        await client.say(b"".join(frames) + ping(wire, "the end"))
        await client.read_until("the end")
        return client.told, client.closed


def check(told: list[Any], closed: int | None) -> Counter[str]:
    """Coded errors and closes only. Returns what came how often."""
    assert closed in {None, *MAY_CLOSE}
    errors = [message for message in told if message["type"] == "error"]
    assert {message["code"] for message in errors} <= CODES
    return Counter(message.get("name", message["type"]) for message in told) + Counter([f"closed {closed}"])


@asynccontextmanager
async def bystander(server: Tickwire) -> AsyncIterator[None]:
    """A client that is sent a trade now and then, and gets each of them."""
    seqs: list[int] = []
    server.publish(TRADE, {"n": 0})
    async with server.dial() as client:
        assert (await client.ask("subscribe", topics=[TRADE]))["rejected"] == []
        before = server.resident_bytes()
        yield
        for _ in range(20):
            seqs += server.publish(TRADE, {"n": 1})
        while seqs:
            message = await client.until(lambda message: message.get("topic") == TRADE and message["type"] == "update")
            assert message["seq"] == seqs.pop(0)
    assert server.process is not None
    assert server.process.poll() is None
    assert server.resident_bytes() - before < MOST_GROWTH_BYTES
    assert "a command failed" not in server.log.read_text()
    assert "Exception in ASGI application" not in server.log.read_text()


@pytest.mark.parametrize("wire", ["json", "msgpack"])
async def test_any_commands_get_coded_answers(tickwire: Tickwire, wire: str) -> None:
    found: Counter[str] = Counter()
    opcode = TEXT if wire == "json" else BINARY
    async with bystander(tickwire):
        for seed in range(CONNECTIONS):
            random = Random(seed)
            made = [data for data in Fuzz(seed).frames(FRAMES, wire) if opcode == BINARY or is_utf8(data)]
            sent = [broken_up(opcode, data, random) if random.random() < 0.2 else frame(opcode, data) for data in made]
            found += check(*await shout(tickwire, wire, sent))
    assert {"bad_request", "unknown_op", "subscriptions", "configured", "pong"} <= set(found), found


@pytest.mark.parametrize("wire", ["json", "msgpack"])
async def test_a_frame_of_the_wrong_kind_is_a_bad_request(tickwire: Tickwire, wire: str) -> None:
    wrong = BINARY if wire == "json" else TEXT
    async with bystander(tickwire):
        told, closed = await shout(tickwire, wire, [frame(wrong, b'{"op":"list"}')] * 20)
        assert check(told, closed)["bad_request"] == 20


WRONG = {
    "text that is no UTF-8": (frame(TEXT, b'{"op":"ping","nonce":"\xff"}'), {1007}),
    "the same before a goodbye": (frame(TEXT, b"\xff") + frame(0x8, struct.pack(">H", 1000)), {1000}),
    "half a character": (frame(TEXT, b'{"op":"ping","nonce":"\xe2\x82'), {1007}),
    "a surrogate in UTF-8": (frame(TEXT, b'{"op":"ping","nonce":"\xed\xa0\x80"}'), {1007}),
    "a message of 16 KiB and one byte": (frame(TEXT, b" " * (16 * 1024 + 1)), {1009}),
    "the same in fragments": (
        frame(TEXT, b" " * 9000, fin=False) + frame(MORE, b" " * 9000, fin=False) + frame(MORE, b" "),
        {1009},
    ),
    "the promise of an exabyte": (frame(TEXT, b"x", length=1 << 60), {1009}),
    "a length below zero": (frame(TEXT, b"x", length=(1 << 64) - 1), {1002, 1009}),
    "a continuation of nothing": (frame(MORE, b"x"), {1002}),
    "a message within a message": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), {1002}),
    "no mask": (frame(TEXT, b'{"op":"ping"}', masked=False), {1002}),
    "an opcode that is reserved": (frame(0x3, b"x"), {1002}),
    "a bit that is reserved": (frame(TEXT | 0x20, b"x"), {1002}),
    "a ping in fragments": (frame(0x9, b"x", fin=False), {1002}),
    "a ping of 126 bytes": (frame(0x9, b"x" * 126), {1002}),
    "a close without reason": (frame(0x8, b"\x03"), {1002}),
    "a close that no client may send": (frame(0x8, struct.pack(">H", 1006)), {1002}),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", {1002}),
}


@pytest.mark.parametrize(("data", "codes"), WRONG.values(), ids=WRONG)
async def test_what_is_no_message_ends_the_connection_with_a_code(tickwire: Tickwire, data: bytes, codes: set[int]) -> None:
    async with bystander(tickwire):
        told, closed = await shout(tickwire, "json", [data])
        assert closed in codes
        assert [message["code"] for message in told[1:]] == [closed] * (closed in (1007, 1009))  # a notice


NESTED = [b"[" * 16_000, b'{"a":' * 3_000, b'{"op":"ping","nonce":' + b"[" * 8_000]
ODD = [
    *NESTED, b'{"op":"ping","id":' + b"9" * 5_000 + b"}", b'{"op":"ping","nonce":1e999}', b'{"op":"ping","nonce":NaN}',
    b'{"op":"ping","nonce":"\\ud800"}', b'{"op":"subscribe","topics":["\\ud800"]}', b'{"op":"history","topic":"quote.\\u0000"}',
    b'{"op":"list","op":"list","id":1,"id":2}', b'{"\\ud800":1}', b"\x00", b"", b"\xef\xbb\xbf{}", b'{"op":"list"}' * 2,
]  # fmt: skip


async def test_odd_json_is_answered_and_the_connection_lives(tickwire: Tickwire) -> None:
    async with bystander(tickwire):
        for data in ODD:
            told, closed = await shout(tickwire, "json", [frame(TEXT, data)])
            assert [message["type"] in ("error", "pong", "subscriptions", "subscribed") for message in told[1:]] == [True, True]
            check(told, closed)
            assert closed is None


async def test_who_errs_without_end_is_closed_and_may_dial_again(tickwire: Tickwire) -> None:
    async with bystander(tickwire):
        for _ in range(3):
            told, closed = await shout(tickwire, "json", [frame(TEXT, b"{")] * 200)
            assert closed == Close.TOO_MANY_ERRORS
            assert check(told, closed)["bad_request"] <= 101 + 5


async def test_bytes_at_random_disturb_nobody(tickwire: Tickwire) -> None:
    async with bystander(tickwire):
        for seed in range(CONNECTIONS):
            random = Random(seed)
            check(*await shout(tickwire, "json", [random.randbytes(random.randint(1, 2000))]))


async def test_an_invalid_client_fills_no_log(tickwire: Tickwire) -> None:
    async with bystander(tickwire):
        before = len(tickwire.log.read_text())
        for data, _ in WRONG.values():
            await shout(tickwire, "json", [data])
        await shout(tickwire, "json", [frame(TEXT, b"{")] * 200)
        text = tickwire.log.read_text()[before:]
    assert not re.search('Traceback|"exception":', text), text
