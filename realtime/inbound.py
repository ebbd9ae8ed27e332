"""HTTP connections that are bounded: how large a request's head and body may be, and for how long they may be on their way.

Rules of this file:
1. Who connects and says nothing, says it byte by byte, or does not read the answer, is let go of. By itself uvicorn waits for
   ever and takes a head of any size into memory, and Django takes a body of any size onto the disk.
2. What is too large is refused while it comes, whatever length was promised. Refusals have the shape of REST's.
3. A request that arrives in one piece costs no timer.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from realtime.codes import Code, CodedError

MOST_HEAD_BYTES = 32 << 10  # three times what the longest question takes: 200 topics beside a signed token of 8 KiB
MOST_FIELDS = 100
MOST_BODY_BYTES = 4 << 20  # beyond what any view takes, so that views may refuse in their own words


class Phase(Enum):
    """What is expected of the peer; to read is expected besides."""

    HEAD = "head"
    BODY = "body"
    NOTHING = "nothing"


WAITS_S = {Phase.HEAD: 10.0, Phase.BODY: 60.0}
UNREAD_S = 60.0  # for so long an answer may wait for a peer that takes none of it


class TooMuch(Exception):
    """A request that is not read on."""

    def __init__(self, status: HTTPStatus, text: str, code: Code = Code.LIMIT_EXCEEDED) -> None:
        super().__init__(text)
        self.status = status
        self.error = CodedError(code, text)


NO_REQUEST = TooMuch(HTTPStatus.BAD_REQUEST, "this is no HTTP request", Code.BAD_REQUEST)
TOO_LATE = TooMuch(HTTPStatus.REQUEST_TIMEOUT, "the request took too long to arrive")


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with bounds. Give it to uvicorn as `--http realtime.inbound:BoundedProtocol`."""

    waits_s, unread_s = WAITS_S, UNREAD_S
    phase = Phase.HEAD
    size = 0  # bytes of the head, then of the body, as far as they came
    failure: TooMuch | None = None
    timer: asyncio.TimerHandle | None = None
    timed = Phase.NOTHING  # what the timer is for
    unread: asyncio.TimerHandle | None = None

    # What comes

    def connection_made(self, transport: Any) -> None:
        """Called by the transport."""
        super().connection_made(transport)
        self._mind()

    def data_received(self, data: bytes) -> None:
        """Called by the transport; never more than 256 KiB at once."""
        if self.transport.is_closing():
            return  # refused: what was on its way is not looked at
        if self.phase is Phase.HEAD:
            self.size += len(data)
        super().data_received(data)
        if self.phase is Phase.HEAD and self.size > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(_head_too_large())
        self._mind()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the transport."""
        self._forget_timer()
        self._forget_unread()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Called by uvicorn: from now on another protocol has the connection."""
        super().handle_websocket_upgrade()
        self.phase, self.cycle = Phase.NOTHING, None  # type: ignore[assignment]  # nothing is expected here any more

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Called by uvicorn when the parser, or one of the callbacks below, will have no more of it."""
        self._refuse(self.failure or NO_REQUEST)

    # What the parser finds

    def on_message_begin(self) -> None:
        """Called by the parser."""
        if self.phase is not Phase.HEAD:
            self.phase, self.size = Phase.HEAD, 0
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Called by the parser, with a part of it maybe."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser, with whole fields."""
        self._count(len(name) + len(value))
        if len(self.headers) >= MOST_FIELDS:
            self._stop(_head_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called by the parser: the head is there."""
        promised = next((value for name, value in self.headers if name == b"content-length"), b"0")
        if int(promised) > MOST_BODY_BYTES:  # the parser lets nothing but digits through
            self._stop(_body_too_large())
        super().on_headers_complete()
        self.phase, self.size = Phase.BODY, 0

    def on_body(self, body: bytes) -> None:
        """Called by the parser, with a part of it."""
        self.size += len(body)
        if self.size > MOST_BODY_BYTES:
            self._stop(_body_too_large())
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Called by the parser: the request is there."""
        self.phase = Phase.NOTHING
        super().on_message_complete()

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > MOST_HEAD_BYTES:
            self._stop(_head_too_large())

    def _stop(self, failure: TooMuch) -> None:
        """Have the parser give up."""
        self.failure = failure
        raise failure

    # What is too much

    def _refuse(self, failure: TooMuch) -> None:
        """Say why, where that can only mean this request, and close."""
        answered = self.cycle is None or self.cycle.response_complete
        mine = answered if self.phase is Phase.HEAD else not answered and not self.cycle.response_started
        if mine and not self.pipeline:
            fields = failure.error.as_dict() | {"temporary": failure.error.code.temporary}
            self.transport.write(_answer(failure.status, msgspec.json.encode({"error": fields})))
        self.transport.close()

    # Time

    def _mind(self) -> None:
        """See to it that what is expected comes in time."""
        phase = self.phase
        if phase is Phase.NOTHING and self.timeout_keep_alive_task is None and self._is_idle():
            phase = Phase.HEAD  # blank lines between two requests have stopped uvicorn's own timer
        if self.transport.is_closing() or phase is Phase.NOTHING:
            self._forget_timer()
        elif phase is not self.timed:
            self._forget_timer()
            self.timed = phase
            self.timer = self.loop.call_later(self.waits_s[phase], self._late)

    def _forget_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer, self.timed = None, Phase.NOTHING

    def _late(self) -> None:
        self.timer, self.timed = None, Phase.NOTHING
        if self.transport.is_closing():
            return
        if self.phase is Phase.HEAD and self.cycle is not None and not self.cycle.response_complete:
            self._mind()  # the head of the next request, while this one is being answered
        elif self.size:
            self._refuse(TOO_LATE)
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Called by the transport: the kernel takes no more, because the peer does not read."""
        super().pause_writing()
        self._forget_unread()
        self.unread = self.loop.call_later(self.unread_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Called by the transport: the peer has read what waited."""
        self._forget_unread()
        super().resume_writing()

    def _forget_unread(self) -> None:
        if self.unread is not None:
            self.unread.cancel()
            self.unread = None

    def _is_idle(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete


def _head_too_large() -> TooMuch:
    text = f"the head of a request has at most {MOST_HEAD_BYTES} bytes and {MOST_FIELDS} fields"
    return TooMuch(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text)


def _body_too_large() -> TooMuch:
    return TooMuch(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body of a request has at most {MOST_BODY_BYTES} bytes")


def _answer(status: HTTPStatus, body: bytes) -> bytes:
    return (
        b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nx-content-type-options: nosniff\r\n"
        b"connection: close\r\n\r\n%b" % (status, status.phrase.encode(), len(body), body)
    )
