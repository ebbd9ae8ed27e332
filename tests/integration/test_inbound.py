"""HTTP connections that are bounded in size and time, on real sockets with short times."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from realtime.inbound import MOST_BODY_BYTES, MOST_FIELDS, MOST_HEAD_BYTES, BoundedProtocol, Phase
from realtime.sinks import FramesProtocol

START = b"GET / HTTP/1.1\r\nhost: here\r\n"
SHORT_S, LONG_S = 0.2, 30.0
LARGE = 64 << 20
UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: here\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Says how long the body was; at `/large` it answers much, at `/hasty` at once; a socket stays open."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    size, more = 0, scope["path"] != "/hasty"
    while more:
        event = await receive()
        size, more = size + len(event.get("body", b"")), event.get("more_body", False)
    body = b"x" * LARGE if scope["path"] == "/large" else b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


class Site:
    """A server; each connection has its own times."""

    def __init__(self) -> None:
        self.state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def __call__(self, *, head_s: float = LONG_S, body_s: float = LONG_S, unread_s: float = LONG_S) -> Peer:
        """Connect."""
        times = {"waits_s": {Phase.HEAD: head_s, Phase.BODY: body_s}, "unread_s": unread_s}
        kind = type("Quick", (BoundedProtocol,), times)
        config = uvicorn.Config(application, http=kind, ws=FramesProtocol, log_config=None, access_log=False)
        server = await asyncio.get_running_loop().create_server(lambda: kind(config, self.state, {}), "127.0.0.1", 0)
        self._servers.append(server)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        self._writers.append(writer)
        return reader, writer

    def close(self) -> None:
        """End it."""
        for writer in self._writers:
            writer.transport.abort()
        for server in self._servers:
            server.close()


@pytest.fixture
async def dial() -> AsyncIterator[Site]:
    site = Site()
    yield site
    site.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the server closes."""
    async with asyncio.timeout(10):
        return await reader.read()


async def refusal(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Status and name of a coded error, behind which the connection is closed."""
    head, _, body = (await rest(reader)).partition(b"\r\n\r\n")
    assert b"connection: close" in head
    return int(head.split()[1]), json.loads(body)["error"]["name"]


async def answer(peer: Peer, request: bytes) -> bytes:
    """The body of the one answer to a request, on a connection that stays open."""
    peer[1].write(request)
    async with asyncio.timeout(10):
        head = await peer[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        return await peer[0].readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))


async def test_who_says_nothing_is_let_go_of(dial: Site) -> None:
    reader, _ = await dial(head_s=SHORT_S)
    assert await rest(reader) == b""


async def test_half_a_head_is_not_waited_for(dial: Site) -> None:
    reader, writer = await dial(head_s=SHORT_S)
    writer.write(START)
    assert await refusal(reader) == (408, "limit_exceeded")


async def test_a_head_that_comes_byte_by_byte_has_no_more_time(dial: Site) -> None:
    reader, writer = await dial(head_s=SHORT_S)

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(SHORT_S / 20)

    dripping = asyncio.create_task(drip())
    with suppress(ConnectionError):  # a byte that came too late
        await rest(reader)
    dripping.cancel()


async def test_blank_lines_behind_an_answer_keep_no_connection(dial: Site) -> None:
    peer = await dial(head_s=SHORT_S)
    assert await answer(peer, START + b"\r\n") == b"0"
    peer[1].write(b"\r\n")
    assert await rest(peer[0]) == b""


async def test_a_body_that_comes_slowly_is_not_waited_for(dial: Site) -> None:
    reader, writer = await dial(body_s=SHORT_S)
    writer.write(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\nabc")
    assert await refusal(reader) == (408, "limit_exceeded")


async def test_who_does_not_read_the_answer_is_cut_off(dial: Site) -> None:
    _, writer = await dial(unread_s=SHORT_S)
    writer.transport.pause_reading()
    writer.write(b"GET /large HTTP/1.1\r\nhost: here\r\n\r\n")
    async with asyncio.timeout(10):
        while not dial.state.connections:  # it is there
            await asyncio.sleep(0)
        while dial.state.connections:
            await asyncio.sleep(SHORT_S / 10)


@pytest.mark.parametrize("field", [b"a: " + b"x" * 60_000, b"a: b\r\n" * MOST_FIELDS, b"a: %b" % (b"x" * MOST_HEAD_BYTES)])
async def test_a_head_that_is_too_large_is_refused(dial: Site, field: bytes) -> None:
    reader, writer = await dial()
    writer.write(START + field)
    writer.write(b"\r\n\r\n")
    assert await refusal(reader) == (431, "limit_exceeded")


async def test_a_question_as_long_as_any_that_makes_sense_is_answered(dial: Site) -> None:
    topics = b",".join(b"kline.15m." + b"A" * 32 for _ in range(200))
    request = b"GET /?topics=%b HTTP/1.1\r\nhost: here\r\nauthorization: Bearer %b\r\n\r\n" % (topics, b"x" * 8192)
    assert await answer(await dial(), request) == b"0"


async def test_a_body_of_too_great_a_length_is_refused_before_it_comes(dial: Site) -> None:
    reader, writer = await dial()
    writer.write(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n" % (MOST_BODY_BYTES + 1))
    assert await refusal(reader) == (413, "limit_exceeded")


async def test_a_body_without_a_length_is_refused_when_it_is_too_large(dial: Site) -> None:
    reader, writer = await dial()
    writer.write(b"POST / HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    for _ in range(MOST_BODY_BYTES // 65_536 + 1):
        writer.write(chunk)
    assert await refusal(reader) == (413, "limit_exceeded")


async def test_a_body_of_the_greatest_length_is_read(dial: Site) -> None:
    request = b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n" % MOST_BODY_BYTES + b"x" * MOST_BODY_BYTES
    assert await answer(await dial(), request) == b"%d" % MOST_BODY_BYTES


async def test_a_request_that_was_answered_gets_no_second_answer(dial: Site) -> None:
    peer = await dial(body_s=SHORT_S)
    assert await answer(peer, b"POST /hasty HTTP/1.1\r\nhost: here\r\ncontent-length: 10\r\n\r\nabc") == b"0"
    assert await rest(peer[0]) == b""


async def test_what_is_no_http_is_refused_in_our_words(dial: Site) -> None:
    reader, writer = await dial()
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert await refusal(reader) == (400, "bad_request")


async def test_requests_one_behind_the_other_are_all_answered(dial: Site) -> None:
    peer = await dial(head_s=SHORT_S)
    peer[1].write((START + b"\r\n") * 3)
    assert [await answer(peer, b"") for _ in range(3)] == [b"0"] * 3


async def test_a_socket_that_was_opened_behind_a_request_is_not_timed(dial: Site) -> None:
    peer = await dial(head_s=SHORT_S)
    assert await answer(peer, START + b"\r\n") == b"0"
    peer[1].write(UPGRADE)
    async with asyncio.timeout(10):
        assert (await peer[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3 * SHORT_S):
            await peer[0].readexactly(1)
