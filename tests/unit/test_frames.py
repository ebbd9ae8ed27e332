"""Bytes that serve every receiver."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from realtime.frames import BINARY, RSV1, TEXT, WINDOW_BITS, Wire, array_of_msgpack, deflate, encoding, frame

MESSAGES = [b'{"type":"update","seq":%d,"data":{"price":"1.0"}}' % seq for seq in range(20)]


def parsed(data: bytes) -> list[Frame]:
    """Read frames with the websockets library, as a client that takes no context over would."""
    inflate = PerMessageDeflate(True, True, WINDOW_BITS, WINDOW_BITS)
    reader, frames = StreamReader(), []
    reader.feed_data(data)
    reader.feed_eof()
    while True:
        try:
            coroutine = Frame.parse(reader.read_exact, mask=False, extensions=[inflate])
            next(coroutine)
        except StopIteration as done:
            frames.append(done.value)
        except EOFError:
            return frames


@given(st.binary(max_size=70_000))
def test_a_frame_reads_back(payload: bytes) -> None:
    (found,) = parsed(frame(payload, BINARY))
    assert (found.opcode, found.fin, bytes(found.data)) == (Opcode.BINARY, True, payload)


@pytest.mark.parametrize("size", [125, 126, 65535, 65536])
def test_lengths_at_the_borders_read_back(size: int) -> None:
    (found,) = parsed(frame(b"x" * size, TEXT))
    assert len(found.data) == size


def test_every_deflated_frame_stands_alone() -> None:
    frames = [frame(deflate(message), TEXT, RSV1) for message in MESSAGES]
    assert [bytes(parsed(data)[0].data) for data in reversed(frames)] == MESSAGES[::-1]


@pytest.mark.parametrize("wire", ["json", "msgpack"])
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("deflated", [True, False])
def test_every_encoding_carries_the_same_objects(wire: Wire, batch: bool, deflated: bool) -> None:
    way = encoding(wire, batch=batch, deflated=deflated)
    frames = parsed(way.join([way.message(message) for message in MESSAGES]))  # type: ignore[arg-type]
    read = msgspec.msgpack.decode if wire == "msgpack" else json.loads
    objects = [read(bytes(found.data)) for found in frames]
    assert len(frames) == (1 if batch else len(MESSAGES))
    assert (objects[0] if batch else objects) == [json.loads(message) for message in MESSAGES]


def test_short_payloads_are_not_deflated() -> None:
    way = encoding("json", deflated=True)
    assert not way.message(b"{}")[0] & RSV1
    assert way.message(b'"%b"' % (b"x" * 300))[0] & RSV1


def test_an_unframed_encoding_gives_the_messages_to_the_server() -> None:
    way = encoding("json", batch=True, framed=False)
    assert way.join([way.message(message) for message in MESSAGES[:2]]) == [b"[" + MESSAGES[0] + b"," + MESSAGES[1] + b"]"]


@given(st.integers(0, 40))
def test_a_messagepack_array_knows_its_length(count: int) -> None:
    assert msgspec.msgpack.decode(array_of_msgpack([b"\x01"] * count)) == [1] * count


def test_each_way_to_be_served_exists_once() -> None:
    assert encoding("json", batch=True) is encoding("json", batch=True)
    assert encoding("json") is not encoding("msgpack")
