"""One WebSocket from handshake to close: command → action, visibly in order."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import sys
from typing import Any, cast, get_args
from urllib.parse import parse_qs

from channels.consumer import AsyncConsumer
from django.conf import settings

from marketdata.correlation import Correlations
from marketdata.store import now_us
from realtime import auth, protocol
from realtime.bans import bans
from realtime.codes import Close, Code, CodedError, internal
from realtime.commands import Commands, describe, limits_of
from realtime.connection import Connection, Sink
from realtime.expiry import Expiry
from realtime.frames import Wire, encoding
from realtime.limits import TokenBucket
from realtime.node import VERSION, Node
from realtime.overload import notice_of
from realtime.places import Refusal
from realtime.principal import CannotTell, Principal, Unauthorized
from realtime.sessions import owner
from realtime.sinks import EXTENSION, SendSink

logger = logging.getLogger(__name__)

TICKET_PREFIX = "bearer."
DENIAL = "websocket.http.response"  # ASGI: of a server that can refuse a handshake with an answer
ERRORS_PER_SECOND, ERROR_BURST = 1.0, 100  # a client that errs more often is closed with 4507
EXCESSES_PER_SECOND, EXCESS_BURST = 1.0, 100  # one that sends more commands than it may, with 4013
AGENT_LENGTH = 100
COMMANDS = {kind: f"command:{kind.__name__.lower()}" for kind in get_args(protocol.Command)}  # what each is counted as


class MarketConsumer(AsyncConsumer):
    """The socket at `/ws/v1/market`.

    It carries control only: commands in, replies out. Market data goes from the hub, which is in the groups, to the socket
    without it. Therefore it has no channel of its own in the channel layer, and its `dispatch` does not look after database
    connections as Channels' does, which would cost a hop to the one shared thread for every frame.
    """

    connection: Connection | None = None
    deadline: asyncio.TimerHandle | None = None
    expiry: Expiry | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one socket; whatever ends it, the hub lets go of it here.

        Channels' own loop would wait for a channel of this consumer's too, at the price of a task for each socket.
        """
        self.scope, self.base_send = scope, send
        try:
            while (event := await receive())["type"] != "websocket.disconnect":
                await self.dispatch(event)
                if self.connection is not None:
                    await self.connection.caught_up()
        finally:
            if self.connection is not None:
                self.node.hub.detach(self.connection)
                self.node.meter.end(self.connection)
                self.node.admissions.release(self.connection)
                self.connection.sink.release()
                if self.deadline is not None:
                    self.deadline.cancel()
                if self.expiry is not None:
                    self.expiry.stop()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Hand an ASGI event to its method."""
        if message["type"] == "websocket.receive":
            await self.take(message)
        elif message["type"] == "websocket.connect":
            await self.connect()

    # Handshake

    async def connect(self) -> None:
        """Accept, find out who it is, and welcome; or say why not and close."""
        self.node = await Node.here()
        session = secrets.token_urlsafe(16)
        self.correlations = Correlations(session)
        self.correlations.begin_next()
        offered = self.scope.get("subprotocols", [])
        protocols = [name for name in offered if not name.startswith(TICKET_PREFIX)]
        chosen = next((name for name in protocols if name in protocol.SUBPROTOCOLS), None)
        heard = self.node.warden.heard
        principal, refusal = await self._identify(offered)
        agent = next((value for name, value in self.scope["headers"] if name == b"user-agent"), b"")
        self.scope["headers"].clear()  # nobody asks for them again, and they are a kilobyte of each connection
        overload = self.node.overload
        turned_away = overload.refusal() if refusal is None and overload.refuses(principal) else None
        if turned_away is not None and DENIAL in self.scope.get("extensions", {}):
            await self._deny(turned_away)
            return
        await self.base_send({"type": "websocket.accept", "subprotocol": chosen})
        wire: Wire = "msgpack" if protocol.SUBPROTOCOLS.get(chosen or "") == "msgpack" else "json"
        connection = self._open(session, wire, principal)
        connection.agent = sys.intern(agent.decode("latin-1")[:AGENT_LENGTH])  # few are unlike each other
        if refusal is None and protocols and chosen is None:
            refusal = _REFUSALS[Close.PROTOCOL]
        if refusal is None and turned_away is None:
            refusal = await self._refusal(connection)
        if refusal is not None:
            self.node.admissions.release(connection)
            close, text, retry_ms = refusal
            self.node.hub.counts[f"close:{int(close)}"] += 1
            connection.close(close, protocol.notice("limits", text, code=close, retry_after_ms=retry_ms))
            return
        if turned_away is not None:
            connection.close(Close.OVERLOADED, notice_of(turned_away))
            return
        self._welcome(connection)
        self.node.warden.mind(connection, heard)

    async def _deny(self, why: CodedError) -> None:
        """Answer the handshake with 503: cheaper than a socket that is opened to be closed."""
        retry_s = math.ceil((why.retry_after_ms or 0) / 1000)
        headers = [(b"content-type", b"application/json"), (b"retry-after", str(retry_s).encode())]
        await self.base_send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
        await self.base_send({"type": "websocket.http.response.body", "body": protocol.error(why)})

    async def _identify(self, offered: list[str]) -> tuple[Principal | None, Refusal | None]:
        try:
            principal = await self._principal(offered)
        except Unauthorized:
            return None, _REFUSALS[Close.UNAUTHORIZED]
        except CannotTell:
            return None, _REFUSALS[Close.OVERLOADED]
        except Exception:
            logger.exception("nobody can be identified")
            return None, _REFUSALS[Close.INTERNAL]
        is_banned = bans.covers(self._address(), principal.user_id if principal is not None else None)
        return principal, _REFUSALS[Close.DISABLED] if is_banned else None

    async def _principal(self, offered: list[str]) -> Principal | None:
        ticket = next((name for name in offered if name.startswith(TICKET_PREFIX)), None)
        if ticket is not None:
            return await auth.identify_token(ticket.removeprefix(TICKET_PREFIX), self._address())
        return await auth.identify(self.scope)

    def _address(self) -> str:
        return str((self.scope.get("client") or [""])[0])

    def _open(self, session: str, wire: Wire, principal: Principal | None) -> Connection:
        extension = self.scope.get("extensions", {}).get(EXTENSION)
        sink: Sink = extension["sink"] if extension else SendSink(self.base_send, binary=wire == "msgpack")
        if extension:
            extension["sink"].on_fault = self.fault
        batch = parse_qs(self.scope.get("query_string", b"")).get(b"batch") == [b"1"]
        served_as = encoding(wire, batch=batch, deflated=sink.deflates, framed=sink.framed)
        connection = Connection(session, principal, sink, served_as, opened_us=now_us())
        connection.address = self._address()
        return connection

    async def _refusal(self, connection: Connection) -> Refusal | None:
        """Why no further connection is taken from there; None: one is."""
        if (refusal := self._full()) is not None:
            return refusal
        refusal = await self.node.admissions.enter(connection, connection.principal)
        return refusal or self._full()  # others came while it was counted

    def _full(self) -> Refusal | None:
        """Why this process takes nobody."""
        if self.node.draining:
            return _REFUSALS[Close.RESTART]
        full = len(self.node.hub.connections) >= settings.TICKWIRE.serving.max_connections
        return _REFUSALS[Close.OVERLOADED] if full else None

    def _welcome(self, connection: Connection) -> None:
        self.connection = connection
        self.commands = Commands(self.node, connection)
        now, limits = self.node.hub.time(), limits_of(connection)
        self.errors = TokenBucket(ERRORS_PER_SECOND, ERROR_BURST, now)
        self.excesses = TokenBucket(EXCESSES_PER_SECOND, EXCESS_BURST, now)
        self.serves = owner(connection)
        self.bucket = TokenBucket(limits.commands_per_second, limits.command_burst, now)
        connection.renewed = self.renewed
        self.mind_expiry()
        if connection.principal is None:
            deadline_s = settings.TICKWIRE.serving.auth_deadline_s
            self.deadline = asyncio.get_running_loop().call_later(deadline_s, self.auth_deadline)
        connection.beat_at = now + connection.heartbeat_s
        self.node.hub.attach(connection)
        self.node.meter.begin(connection)
        principal = connection.principal
        connection.say(
            protocol.message(
                "welcome",
                session=connection.session,
                server=f"tickwire/{VERSION}",
                node=self.node.name,
                time=now_us(),
                heartbeat=connection.heartbeat_s,
                resume_ttl=settings.TICKWIRE.bus.resume_ttl_s,
                user=principal.name if principal else None,
                plan=principal.plan_name if principal else None,
                limits=describe(limits),
            ),
            *self.node.overload.announcement.standing,
            *self.node.hub.condition.announcement.standing,
        )

    def renewed(self) -> None:
        """Called when the connection is somebody else's, or its owner may do other things than before."""
        assert self.connection is not None
        limits, now_serves = limits_of(self.connection), owner(self.connection)
        if now_serves != self.serves:  # once at most: no connection goes from one user to another
            self.serves = now_serves
            self.bucket = TokenBucket(limits.commands_per_second, limits.command_burst, self.node.hub.time())
        else:
            self.bucket.change(limits.commands_per_second, limits.command_burst)
        self.node.meter.begin(self.connection)
        self.mind_expiry()

    def mind_expiry(self) -> None:
        """See to it that the connection ends with its credential, if that ends."""
        assert self.connection is not None
        if self.expiry is not None:
            self.expiry.stop()
        self.expiry = Expiry.of(self.connection, settings.TICKWIRE.tokens.grace_s)

    def auth_deadline(self) -> None:
        """Called by a timer: whoever has not said who it is by now may not stay."""
        if self.connection is not None and self.connection.principal is None:
            text = "nobody authenticated in time"
            self.connection.close(Close.AUTH_TIMEOUT, protocol.notice("limits", text, code=Close.AUTH_TIMEOUT))

    def fault(self, code: Close) -> None:
        """Called where the peer broke the transport's rules, before the socket is closed for it: say why."""
        if self.connection is not None:
            self.connection.close(code, protocol.notice("limits", _FAULTS[code], code=code))

    # Commands

    async def take(self, event: dict[str, Any]) -> None:
        """Carry out one frame, or answer why not."""
        connection = self.connection
        if connection is None or connection.closing:
            return
        connection.commands += 1
        if connection.tap is not None:
            connection.tap(event.get("text") or event.get("bytes") or b"")
        if _size(event) > protocol.MAX_MESSAGE_BYTES:  # on servers that do not see to it themselves
            self.fault(Close.TOO_BIG)
            return
        self.correlations.begin_next()
        id: protocol.CommandId = None
        try:
            command = self._read(event)
            id = command.id
            self.node.hub.counts[COMMANDS[type(command)]] += 1
            self._throttle(command)
            await self.commands.run(command)
        except protocol.BadCommand as failure:
            self._refuse(connection, failure, failure.id)
        except CodedError as failure:
            self._refuse(connection, failure, id)
        except Exception:
            logger.exception("a command failed")
            self._refuse(connection, internal("something went wrong here; it was logged"), id)

    def _read(self, event: dict[str, Any]) -> protocol.Command:
        assert self.connection is not None
        text, wire = event.get("text"), self.connection.encoding.wire
        data = text if text is not None else event.get("bytes") or b""
        if (text is None) != (wire == "msgpack"):
            raise protocol.BadCommand(Code.BAD_REQUEST, f"expected a {'binary' if wire == 'msgpack' else 'text'} frame")
        return protocol.decode(data, wire)

    def _throttle(self, command: protocol.Command) -> None:
        if isinstance(command, protocol.Unsubscribe):
            return  # leaving lowers the load: it is never refused
        wait_s, principal = self.bucket.take(self.node.hub.time()), cast(Connection, self.connection).principal
        if wait_s and (principal is None or principal.refuses("commands")):
            rate, burst = self.bucket.rate, self.bucket.burst
            text = f"your plan allows {rate:g} commands a second, and {burst:g} at once after a pause"
            details = {"commands_per_second": rate, "command_burst": burst}
            raise CodedError(Code.TOO_MANY_REQUESTS, text, retry_after_ms=round(wait_s * 1000) + 1, details=details)

    def _refuse(self, connection: Connection, failure: CodedError, id: protocol.CommandId) -> None:
        """Answer why not; who goes on for too long with what is refused is closed."""
        connection.say(protocol.error(failure, id))
        self.node.hub.counts[f"error:{failure.code.label}"] += 1
        now = self.node.hub.time()
        if failure.code is Code.TOO_MANY_REQUESTS:
            if self.excesses.take(now):
                connection.close(Close.RATE_LIMITED, protocol.notice("limits", "too many commands", code=Close.RATE_LIMITED))
        elif self.errors.take(now):
            text = "too many errors"
            connection.close(Close.TOO_MANY_ERRORS, protocol.notice("limits", text, code=Close.TOO_MANY_ERRORS))


def _size(event: dict[str, Any]) -> int:
    """Bytes of a message."""
    text: str | None = event.get("text")
    return len(event.get("bytes") or b"") if text is None else len(text.encode())


_FAULTS = {
    Close.NOT_UTF8: "a text message must be UTF-8",
    Close.TOO_BIG: f"a message may have {protocol.MAX_MESSAGE_BYTES} bytes at most",
    Close.HEARTBEAT_TIMEOUT: "you answered no ping in time",
}

_REFUSALS = {
    refusal.close: refusal
    for refusal in (
        Refusal(Close.UNAUTHORIZED, "the credential is not valid"),
        Refusal(Close.DISABLED, auth.BANNED),
        Refusal(Close.INTERNAL, "something went wrong here; it was logged"),
        Refusal(Close.PROTOCOL, "none of the offered subprotocols is spoken here"),
        Refusal(Close.RESTART, "this process is stopping; connect again"),
        Refusal(Close.OVERLOADED, "this process can take nobody just now; try again later"),
    )
}
