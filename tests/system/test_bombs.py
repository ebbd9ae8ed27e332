"""Small frames that would be large once they are inflated: the bound on a message holds for what comes out."""

from __future__ import annotations

import zlib

import pytest
from websockets.frames import Frame, Opcode

from realtime.codes import Close
from realtime.protocol import MAX_MESSAGE_BYTES
from tests.system.conftest import Client, Tickwire

ZEROS = 16 << 20
BOMBS = 20
COMPRESSED = 0x40  # the bit RSV1 of a frame's first byte
KEPT = 4 << 20  # bytes that a process may have grown by; one bomb is four times that


def deflated(*sizes: int) -> list[bytes]:
    """So many zeros in one stream, in parts, as permessage-deflate has them in the window that the server agreed to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    parts = [packer.compress(b"0" * size) + packer.flush(zlib.Z_SYNC_FLUSH) for size in sizes]
    return [*parts[:-1], parts[-1][:-4]]


async def throw(client: Client, *parts: bytes) -> None:
    """Send a compressed message in those fragments, past the library, which would compress them again."""
    assert client.socket.protocol.extensions, "compression was not agreed to"
    for at, part in enumerate(parts):
        last, code = at == len(parts) - 1, Opcode.CONT if at else Opcode.TEXT
        frame = bytearray(Frame(code, part, fin=last).serialize(mask=True))
        frame[0] |= COMPRESSED if at == 0 else 0
        client.socket.transport.write(frame)


async def test_a_bomb_is_refused_and_costs_no_memory(tickwire: Tickwire) -> None:
    (bomb,) = deflated(ZEROS)
    assert len(bomb) <= MAX_MESSAGE_BYTES
    before = tickwire.resident_bytes()
    for _ in range(BOMBS):
        async with tickwire.dial() as client:
            await throw(client, bomb)
            assert (await client.closed())[0] == Close.TOO_BIG
    assert tickwire.resident_bytes() - before < KEPT


async def test_the_bound_is_that_of_the_message_not_of_a_fragment(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await throw(client, *deflated(*[MAX_MESSAGE_BYTES // 2 + 1] * 2))
        assert (await client.closed())[0] == Close.TOO_BIG


async def test_a_message_of_empty_fragments_without_end_is_refused(tickwire: Tickwire) -> None:
    async with tickwire.dial() as client:
        await client.until(lambda message: message["type"] == "welcome")
        client.socket.transport.write(Frame(Opcode.TEXT, b"{", fin=False).serialize(mask=True))
        client.socket.transport.write(Frame(Opcode.CONT, b"", fin=False).serialize(mask=True) * 2000)
        assert (await client.until(lambda message: message["type"] == "notice"))["code"] == Close.TOO_BIG
        assert (await client.closed())[0] == Close.TOO_BIG


@pytest.mark.parametrize("fragments", [1, 2])
async def test_a_compressed_message_within_the_bound_is_read(tickwire: Tickwire, fragments: int) -> None:
    async with tickwire.dial() as client:
        await throw(client, *deflated(*[MAX_MESSAGE_BYTES // fragments] * fragments))
        answer = await client.until(lambda message: message["type"] == "error")
        assert answer["name"] == "bad_request"
