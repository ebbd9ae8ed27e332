"""The socket at `/ws/v1/monitor`: staff watch the installation.

Rules of this file:
1. Staff only, from the first message on; `Audience` looks again every few seconds.
2. What is shown never waits for a reader: of each view one message waits at most, the newest.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, get_args

from channels.consumer import AsyncConsumer

from marketdata.correlation import Correlations
from marketdata.store import now_us
from monitoring.audience import EVERY_S, Audience, audiences, judge
from monitoring.monitor_commands import SUBPROTOCOL, Ping, Watch, decode
from monitoring.panes import View
from realtime import auth, protocol
from realtime.codes import Close, Code, CodedError
from realtime.consumers import TICKET_PREFIX
from realtime.limits import TokenBucket
from realtime.node import VERSION, Node
from realtime.principal import CannotTell, Principal, Unauthorized
from realtime.sinks import EXTENSION, PLAIN_CODES

COMMANDS_PER_SECOND, COMMAND_BURST = 5.0, 50


class MonitorConsumer(AsyncConsumer):
    """One watcher; see `audience.Watcher`."""

    principal: Principal
    audience: Audience | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one socket; whatever ends it, nothing is computed for it any more."""
        self.scope, self.base_send = scope, send
        self.address = str((scope.get("client") or [""])[0])
        self._views: dict[View, bytes] = {}
        self._replies: list[bytes] = []
        self._close: Close | None = None
        self._filled = asyncio.Event()
        writing: asyncio.Task[None] | None = None
        try:
            while (event := await receive())["type"] != "websocket.disconnect":
                if event["type"] == "websocket.connect":
                    await self._enter()
                    writing = asyncio.create_task(self._write(), name="monitor socket")
                elif self._close is None:
                    self._take(event)
        finally:
            if self.audience is not None:
                self.audience.leave(self)
            if writing is not None:
                writing.cancel()

    # Handshake

    async def _enter(self) -> None:
        """Accept, and welcome staff; close all others."""
        self._correlations = Correlations("monitor")
        self._correlations.begin_next()
        audience = await audiences.here()
        offered = self.scope.get("subprotocols", [])
        refusal = await self._refusal(offered)
        chosen = SUBPROTOCOL if SUBPROTOCOL in offered else None
        await self.base_send({"type": "websocket.accept", "subprotocol": chosen})
        if refusal is None and audience.full:
            refusal = Close.OVERLOADED
        if refusal is not None:
            self.end(refusal)
            return
        self.audience, self._bucket = audience, TokenBucket(COMMANDS_PER_SECOND, COMMAND_BURST, _time())
        audience.enter(self)
        node = await Node.here()
        who = {"server": f"tickwire/{VERSION}", "node": node.name, "user": self.principal.name, "time": now_us()}
        self._reply(protocol.message("welcome", **who, views=get_args(View), every_ms=round(EVERY_S * 1000)))

    async def _refusal(self, offered: list[str]) -> Close | None:
        try:
            found = await self._identify(offered)
        except Unauthorized:
            return Close.UNAUTHORIZED
        except CannotTell:
            return Close.OVERLOADED
        if found is None or found.user_id is None:
            return Close.UNAUTHORIZED
        self.principal = found
        return judge(self, found)

    async def _identify(self, offered: list[str]) -> Principal | None:
        ticket = next((name for name in offered if name.startswith(TICKET_PREFIX)), None)
        if ticket is not None:
            return await auth.identify_token(ticket.removeprefix(TICKET_PREFIX), self.address)
        return await auth.identify(self.scope)

    # Commands

    def _take(self, event: dict[str, Any]) -> None:
        """Carry out one frame, or answer why not."""
        self._correlations.begin_next()
        if self._bucket.take(_time()):
            self.end(Close.RATE_LIMITED)
            return
        try:
            command = decode(event.get("text") or event.get("bytes") or b"")
        except protocol.BadCommand as failure:
            self._reply(protocol.error(failure, failure.id))
            return
        match command:
            case Watch():
                self._watch(command)
            case Ping():
                self._reply(protocol.message("pong", command.id, time=now_us()))

    def _watch(self, command: Watch) -> None:
        assert self.audience is not None
        if command.filters.user_id is not None:
            failure = CodedError(Code.BAD_REQUEST, "connections are found by 'user', not by 'user_id'")
            self._reply(protocol.error(failure, command.id))
            return
        self._views.clear()
        self._reply(protocol.message("watching", command.id, views=command.views))
        self.audience.watch(self, command.questions())

    # What it is sent

    def show(self, view: View, message: bytes) -> None:
        """Send a view, unless a newer one comes before the socket takes it."""
        self._views[view] = message
        self._filled.set()

    def end(self, close: Close) -> None:
        """Close it."""
        if self._close is None:
            self._close = close
            self._filled.set()

    def _reply(self, message: bytes) -> None:
        self._replies.append(message)
        self._filled.set()

    async def _write(self) -> None:
        """Send what there is until it is closed; a socket that is gone says so to `__call__` as well."""
        with suppress(OSError):
            while self._close is None or self._replies:
                await self._filled.wait()
                self._filled.clear()
                while self._replies:
                    await self._send(self._replies.pop(0))
                while self._views and self._close is None:
                    await self._send(self._views.pop(next(iter(self._views))))
            await self.base_send({"type": "websocket.close", "code": self._code(self._close), "reason": self._close.label})

    async def _send(self, message: bytes) -> None:
        await self.base_send({"type": "websocket.send", "text": message.decode()})

    def _code(self, close: Close) -> int:
        return int(close if EXTENSION in self.scope.get("extensions", {}) else PLAIN_CODES.get(close, close))


def _time() -> float:
    return asyncio.get_running_loop().time()
