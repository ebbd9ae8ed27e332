"""Where a connection's bytes leave: through uvicorn's transport, or through any server's plain `send`.

The traps met here: uvicorn's keepalive ends a connection with `close()`, which waits for ever for a peer that does not read; the
kernel takes megabytes of stale prices before a slow peer shows; one shared compressed frame is right for all receivers only where
no context is taken over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState, NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory
from websockets.frames import Frame
from websockets.protocol import State

from realtime.codes import Close
from realtime.frames import WINDOW_BITS

logger = logging.getLogger(__name__)

EXTENSION = "tickwire.sink"
HIGH_WATER_BYTES = 64 * 1024  # what may wait for the kernel before a connection counts as slow
NOTSENT_LOWAT_BYTES = 64 * 1024
TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
CLOSE_S = 2.0  # how long a closed peer may take to read what it was sent
MOST_FRAGMENTS = 1024  # of one message; empty ones cost no bytes of its bound
PLAIN_HIGH, PLAIN_LOW = 64, 16  # messages that wait in a `SendSink`
# daphne sends an application's close codes from 3000 on only; these give the same advice: reconnect, or do not
PLAIN_CODES = {
    Close.GOING_AWAY: Close.REBALANCE,
    Close.RESTART: Close.REBALANCE,
    Close.OVERLOADED: Close.REBALANCE,
    Close.INTERNAL: Close.STATE_INVALIDATED,
    Close.TOO_BIG: Close.PROTOCOL,
}

_OPEN = asyncio.Event()  # shared by all sockets that can be written to; nobody ever waits for it
_OPEN.set()


class _SharedFrames(ServerPerMessageDeflateFactory):
    """Agrees to compression only with who can read the frames that all share: a smaller window would have to be asked of each."""

    def process_request_params(self, *offer: Any) -> tuple[list[tuple[str, str | None]], PerMessageDeflate]:
        """Called for each offer of a client; when all are declined it is served uncompressed."""
        answer, agreed = super().process_request_params(*offer)
        if agreed.local_max_window_bits < WINDOW_BITS:
            raise NegotiationError("the window is too small")
        return answer, agreed


_EXTENSIONS = [
    _SharedFrames(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=WINDOW_BITS,
        client_max_window_bits=WINDOW_BITS,
        compress_settings={"memLevel": 5},
    )
]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class FrameSink:
    """Writes frames straight to the transport; see `realtime.connection.Sink`."""

    __slots__ = ("_paused", "_protocol", "full", "on_fault", "on_pause", "on_resume")

    framed = True

    def __init__(self, protocol: FramesProtocol) -> None:
        self._protocol = protocol
        self._paused = False  # so much waits for the kernel that `on_pause` was called
        self.full = False
        self.on_fault: Callable[[Close], None] | None = None  # called before the protocol ends the connection by itself
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None

    @property
    def deflates(self) -> bool:
        """The client agreed to compressed frames."""
        return bool(self._protocol.conn.extensions)

    def write(self, payload: bytes | list[bytes]) -> bool:
        """Hand over whole frames."""
        protocol = self._protocol
        if protocol.close_sent or protocol.disconnected or protocol.transport.is_closing():
            return False
        protocol.transport.write(payload)  # type: ignore[arg-type]  # a framed encoding makes bytes
        if self.full and not self._paused:
            self._measure()
        return True

    def choke(self) -> None:
        """Called by the protocol: bytes wait for the kernel."""
        self.full = True
        self._measure()

    def _measure(self) -> None:
        if self._protocol.transport.get_write_buffer_size() > HIGH_WATER_BYTES:
            self._paused = True
            if self.on_pause is not None:
                self.on_pause()

    def clear(self) -> None:
        """Called by the protocol: nothing waits any more."""
        self.full = self._paused = False
        if self.on_resume is not None:
            self.on_resume()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame; a peer that does not answer is cut off after two seconds."""
        self._protocol.close_soon(code, reason)

    def release(self) -> None:
        """Nothing works for this socket but uvicorn, which ends it."""


class Mailbox:
    """What one socket's application has yet to receive: as much of `asyncio.Queue` as uvicorn needs, three kilobytes smaller."""

    __slots__ = ("_arrived", "_events")

    def __init__(self) -> None:
        self._events: list[Any] = []
        self._arrived: asyncio.Future[None] | None = None

    def put_nowait(self, event: Any) -> None:
        """Add an event."""
        self._events.append(event)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._events

    async def get(self) -> Any:
        """Wait for the next event. There is one who receives."""
        while not self._events:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        self._arrived = None
        return self._events.pop(0)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class FramesProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol with a sink that the application may write frames to.

    Give it to uvicorn as `--ws realtime.sinks:FramesProtocol`. Beyond offering the sink in `scope["extensions"]` it negotiates
    compression without context takeover, bounds what the kernel buffers, frees sockets whose peer stopped reading, and keeps
    little of a connection that is idle.
    """

    sink: FrameSink | None = None
    pong = b""  # owed to a peer that does not read

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue = Mailbox()  # type: ignore[assignment]  # all that is asked of the queue
        self.writable = _OPEN
        if self.config.ws_per_message_deflate:
            self.conn.available_extensions = _EXTENSIONS

    async def run_asgi(self) -> None:
        """Called by uvicorn when the handshake was read: the one moment at which the scope is complete and nobody has it yet."""
        self.sink = FrameSink(self)
        with contextlib.suppress(OSError, AttributeError):  # a Unix socket has no such option
            self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
        self.scope["extensions"][EXTENSION] = {"sink": self.sink}
        try:
            await super().run_asgi()
        finally:
            self.sink.on_fault = self.sink.on_pause = self.sink.on_resume = None

    async def send(self, message: Any) -> None:
        """Called by the application."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.request = self.response = None  # type: ignore[assignment]  # never looked at again
            self.loop.call_soon(self._write_through)  # not yet: what is said on accepting leaves together with the handshake
        elif message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # or uvicorn logs an error for each handshake that was refused with an answer

    def _write_through(self) -> None:
        if not self.transport.is_closing():
            self.transport.set_write_buffer_limits(0)  # or uvloop keeps bytes until all callbacks of its turn have run

    def handle_cont(self, event: Frame) -> None:
        """Called by uvicorn with a further fragment of a message."""
        if len(self.frames) < MOST_FRAGMENTS:
            super().handle_cont(event)
        elif not self.close_sent:
            self.frames = []
            self._say_why(Close.TOO_BIG)
            self.close_soon(Close.TOO_BIG, Close.TOO_BIG.label)  # unless that was done to say why

    def send_receive_event_to_app(self) -> None:
        """Called by uvicorn with a whole message. Text that is no UTF-8 ends the connection; uvicorn would log a traceback."""
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            with contextlib.suppress(InvalidState):  # the peer has said goodbye behind it
                self.conn.send_close(Close.NOT_UTF8, Close.NOT_UTF8.label)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def pause_writing(self) -> None:
        """Called by the transport: the kernel did not take everything."""
        self.writable = asyncio.Event()
        if self.sink is not None:
            self.sink.choke()

    def resume_writing(self) -> None:
        """Called by the transport: the kernel has taken everything."""
        self.writable.set()
        self.writable = _OPEN
        if self.sink is not None:
            self.sink.clear()
        if self.pong:
            pong, self.pong = self.pong, b""
            self.transport.write(pong)

    def handle_ping(self) -> None:
        """Called by uvicorn when the peer pings. Of a peer that does not read, only the newest is answered (RFC 6455, 5.5.3)."""
        pongs = self.conn.data_to_send()  # to all pings that came in one read
        if self.sink is None or not self.sink.full:
            self.transport.write(b"".join(pongs))
        elif pongs:
            self.pong = pongs[-1]

    def handle_parser_exception(self) -> None:
        """Called by uvicorn when the peer sent what cannot be taken; the close frame is made and has not left."""
        if self.conn.close_sent is not None and self.conn.close_sent.code in (Close.NOT_UTF8, Close.TOO_BIG):
            self._say_why(Close(self.conn.close_sent.code))
        super().handle_parser_exception()

    def _say_why(self, code: Close) -> None:
        if self.sink is not None and self.sink.on_fault is not None:
            self.sink.on_fault(code)

    def keepalive_timeout(self) -> None:
        """Called by uvicorn's timer: the peer answered no ping. A peer that does not read either is cut off."""
        if not self.close_sent:
            self._say_why(Close.HEARTBEAT_TIMEOUT)
            self.close_soon(Close.HEARTBEAT_TIMEOUT, Close.HEARTBEAT_TIMEOUT.label)  # unless that was done to say why

    def close_soon(self, code: int, reason: str) -> None:
        """Send a close frame without waiting for anything, tell the application, and free the socket in any case."""
        if self.close_sent or self.transport.is_closing() or self.conn.state is not State.OPEN:
            return
        with contextlib.suppress(InvalidState):
            self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_S, self.transport.abort)


def _tell_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a socket takes no messages any more", exc_info=error)


class SendSink:
    """Writes messages through ASGI's `send`, from one task that may wait for the peer; see `realtime.connection.Sink`.

    For servers that offer no sink of their own, daphne among them.
    """

    framed = False
    deflates = False

    def __init__(self, send: Send, *, binary: bool) -> None:
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self._send = send
        self._key = "bytes" if binary else "text"
        self._waiting: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._closing: tuple[int, str] | None = None
        self.full = False
        self._task = asyncio.create_task(self._run(), name="sink")
        self._task.add_done_callback(_tell_if_failed)

    def write(self, payload: bytes | list[bytes]) -> bool:
        """Hand over messages."""
        if self._closing is not None or self._task.done():
            return False
        self._waiting.extend(payload)  # type: ignore[arg-type]  # an unframed encoding makes a list
        self._arrived.set()
        if len(self._waiting) > PLAIN_HIGH and not self.full:
            self.full = True
            if self.on_pause is not None:
                self.on_pause()
        return True

    def close(self, code: int, reason: str) -> None:
        """Close behind what waits; a peer that does not read is left to the server's own time-out."""
        if self._closing is None:
            self._closing = (int(PLAIN_CODES.get(Close(code), code)), reason)
            self._arrived.set()

    def release(self) -> None:
        """End the task, which would wait for messages for ever."""
        self._task.cancel()

    async def _run(self) -> None:
        with contextlib.suppress(OSError):  # the peer is gone; the application hears of it by itself
            while self._waiting or self._closing is None:
                if not self._waiting:
                    self._arrived.clear()
                    self._resume()
                    await self._arrived.wait()
                    continue
                message = self._waiting.popleft()
                await self._send({"type": "websocket.send", self._key: message if self._key == "bytes" else message.decode()})
                if len(self._waiting) < PLAIN_LOW:
                    self._resume()
            await self._send({"type": "websocket.close", "code": self._closing[0], "reason": self._closing[1]})

    def _resume(self) -> None:
        if self.full:
            self.full = False
            if self.on_resume is not None:
                self.on_resume()
