"""Holds open connections to what their owners may do now: whatever an operator, a user or the clock changes acts on live sockets.

Rules of this file:
1. A change is told over the bus (`changes`) and acted on at once. What was not told, or not heard, is found by looking: some
   connections each second, in turn, those of a plan that changed first.
2. Looking never happens in the event loop: a few queries for many connections (`reviews`), in a thread.
3. While the database does not answer nobody loses anything; what was due stays due.
4. Who loses something is told what and why: topics by `evicted`, the connection by a notice with the code of its close.
5. Credentials that are remembered are looked at in turn, too: one that was revoked in SQL opens nothing for long.
6. Who was identified before the word of a change and joins after it is looked at as well (`mind`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from channels.db import database_sync_to_async

from marketdata.database import answering
from marketdata.errors import DatabaseUnavailable
from marketdata.kept import KeptTask
from marketdata.outage import Outage
from marketdata.store import now_us
from realtime import auth, limits, protocol
from realtime.bans import bans
from realtime.codes import Close, Eviction
from realtime.connection import Connection
from realtime.limits import Limits
from realtime.principal import Principal
from realtime.reviews import Verdict, review, visitor

if TYPE_CHECKING:
    from realtime.admissions import Admissions
    from realtime.hub import Hub
    from realtime.orders import Changed
    from realtime.sessions import Sessions

logger = logging.getLogger(__name__)

EVERY_S = 2.0  # what is told is acted on at once; this is for what is not
GATHER_S = 0.02  # from the word of a change on, for more of them
LOOKED_AT = 1000  # connections in one look, beside those that are due
REMEMBERED_LOOKED_AT = 200  # credentials
TEXTS = {
    Close.UNAUTHORIZED: "your credential is not valid any more",
    Close.DISABLED: "you may not use this server any more",
    Close.MAX_SESSION_AGE: "your plan ends connections of this age; connect again",
}
CHANGED = "what you may do here has changed"

_threads = ThreadPoolExecutor(1, "warden")  # its own: nobody else's query waits behind it


class Warden:
    """Of one hub.

    Args:
        hub: whose connections.
        admissions: counts them.
        sessions: keeps what they follow.

    Attributes:
        task: what looks.
        heard: how often there was word of a change, or it was found that there had been one.
    """

    def __init__(self, hub: Hub, admissions: Admissions, sessions: Sessions) -> None:
        self.hub = hub
        self.admissions = admissions
        self.sessions = sessions
        self.task = KeptTask("warden", self._run, logger)
        self._due: dict[str, Connection] = {}
        self._called = asyncio.Event()
        self._plans: Mapping[str, Limits] = {}
        self._bans = bans.version
        self._next = self._next_remembered = 0
        self.heard = 0
        self._tried: set[str] = set()  # sessions that a limit on trial would have ended: each is counted once
        self._outage = Outage("looking after open connections", logger)
        self._listening = False
        hub.bus.watch(self._bus_changed)

    # Word of changes

    def listens(self) -> None:
        """From now on every change that is told is heard."""
        self._listening = True
        self._bus_changed(self.hub.bus.connected.is_set())

    def _bus_changed(self, connected: bool) -> None:
        """What was told while the bus was away was told to nobody."""
        auth.hears_of_changes(connected and self._listening)
        self.heard += 1
        if connected:
            self._call(self.hub.connections.values())

    def hear(self, change: Changed) -> None:
        """Look at once at those whom a change may concern."""
        self._forget()
        concerned = set(change.users), set(change.sessions)
        every = change.plans or change.bans or change.everyone
        self._call(each for each in self.hub.connections.values() if every or _is_among(each.principal, *concerned))

    def mind(self, connection: Connection, heard: int) -> None:
        """Look at a connection soon if something changed since `heard` was that: when its owner's credential was checked."""
        if heard != self.heard:
            self._call([connection])

    def _forget(self) -> None:
        """What was known before there was word of a change is worth nothing."""
        self.heard += 1
        auth.forget_principals()

    def _call(self, connections: Iterable[Connection]) -> None:
        self._due |= {connection.session: connection for connection in connections}
        self._called.set()

    # Looking

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._called.wait()
                    await asyncio.sleep(GATHER_S)
            self._called.clear()
            await self.look()

    async def look(self) -> None:
        """Look at those who are due, and at some others."""
        try:
            await self._read()
            wanted = self._turn() | self._due
            self._due = {}
            try:
                await self._look_at([each for each in wanted.values() if not each.closing])
            except BaseException:
                self._due = wanted | self._due
                raise
        except DatabaseUnavailable as error:
            self._outage.failed(error)
        else:
            self._outage.over()

    async def _read(self) -> None:
        """Learn of plans and bans, and have those looked at whom a change in them concerns."""
        await _read_in_thread()
        plans = limits.last_known() or {}
        changed = {name for name in plans.keys() | self._plans.keys() if plans.get(name) != self._plans.get(name)}
        if changed and self._plans:
            self._forget()
            self._call(each for each in self.hub.connections.values() if each.principal and each.principal.plan_name in changed)
        if bans.version != self._bans:
            self._bans = bans.version
            self.heard += 1
            self._call(self.hub.connections.values())
        self._plans = plans

    def _turn(self) -> dict[str, Connection]:
        everyone = list(self.hub.connections.values())
        if self._next >= len(everyone):
            self._next = 0
            self._tried &= self.hub.connections.keys()
        turn = everyone[self._next : self._next + LOOKED_AT]
        self._next += LOOKED_AT
        return {connection.session: connection for connection in turn}

    def _turn_of_remembered(self) -> list[Principal]:
        everyone = auth.remembered()
        if self._next_remembered >= len(everyone):
            self._next_remembered = 0
        self._next_remembered += REMEMBERED_LOOKED_AT
        return everyone[self._next_remembered - REMEMBERED_LOOKED_AT : self._next_remembered]

    async def _look_at(self, connections: Collection[Connection]) -> None:
        principals = {_identity(each): each for each in self._turn_of_remembered()}
        principals |= {_identity(each.principal): each.principal for each in connections if each.principal}
        users = [principal for principal in principals.values() if principal.user_id is not None]
        found = await _review_in_thread(users) if users else []
        verdicts: dict[object, Verdict] = {_identity(each): verdict for each, verdict in zip(users, found, strict=True)}
        for connection in connections:
            principal = connection.principal
            if principal is not None and not connection.closing:  # it may have gone, or renewed, meanwhile
                verdict = verdicts.get(_identity(principal)) if principal.user_id is not None else visitor(principal)
                self._judge(connection, verdict if verdict is not None else principal)
        if any(verdict != principals[identity] for identity, verdict in verdicts.items()):
            self._forget()  # perhaps nobody told it

    def _judge(self, connection: Connection, verdict: Verdict) -> None:
        if isinstance(verdict, Principal):
            if bans.covers(connection.address, verdict.user_id):
                verdict = Close.DISABLED
            elif self._is_over(connection, verdict):
                verdict = Close.MAX_SESSION_AGE
        try:
            self._enforce(connection, verdict)
        except Exception:  # of one: the others are looked at all the same
            self.hub.counts["failures"] += 1
            logger.exception("a connection cannot be held to what its owner may do: it is closed")
            connection.close(Close.INTERNAL)

    def _enforce(self, connection: Connection, verdict: Verdict) -> None:
        if isinstance(verdict, Close):
            self.hub.counts["ended_by_rule"] += 1
            connection.close(verdict, protocol.notice("limits", TEXTS[verdict], code=verdict))
        elif verdict != connection.principal:
            connection.say(protocol.notice("limits", CHANGED))
            self.hold(connection, verdict)

    def _is_over(self, connection: Connection, principal: Principal) -> bool:
        """Whether a connection is older than the plan allows; where that is on trial, it is counted once."""
        hours = principal.limits.max_session_hours
        if hours is None or now_us() - connection.opened_us <= hours * 3_600_000_000:
            return False
        if "session_hours" not in principal.limits.dry_run:
            return True
        if connection.session not in self._tried:
            self._tried.add(connection.session)
            principal.refuses("session_hours")  # which counts it
        return False

    # Acting

    def hold(self, connection: Connection, principal: Principal) -> None:
        """Make a connection the principal's, and have it keep no more than that one may have."""
        before = connection.principal
        self.hub.identify(connection, principal)
        if connection.closing or connection.cohort is None:
            return
        self._evict(connection, self._forbidden(connection, principal), Eviction.ENTITLEMENT_REVOKED)
        self._evict(connection, self._excess(connection, principal), Eviction.LIMIT_LOWERED)
        self._pace(connection, principal)
        if before is not None and _counted(before) != _counted(principal):
            self.admissions.relimit(connection, principal)

    def _forbidden(self, connection: Connection, principal: Principal) -> list[str]:
        assert connection.cohort is not None
        topics = {name: pace.entry.topic for name, pace in connection.cohort.paces.items()}
        return [name for name, topic in topics.items() if principal.objection(topic.type, topic.symbol) is not None]

    def _excess(self, connection: Connection, principal: Principal) -> list[str]:
        """The topics that were subscribed to last, where there are too many."""
        following = list(connection.asked)
        excess = following[principal.limits.topics :]
        return excess[::-1] if excess and principal.refuses("topics") else []

    def _evict(self, connection: Connection, names: list[str], why: Eviction) -> None:
        if names:
            left = self.hub.unsubscribe(connection, names)
            self.sessions.forget(connection, left)
            self.hub.counts["evicted"] += len(left)
            connection.say(*(protocol.evicted(name, why) for name in left))

    def _pace(self, connection: Connection, principal: Principal) -> None:
        """Serve topics as fast as is asked and allowed now."""
        assert connection.cohort is not None
        rates = {name: principal.limits.rate(asked) for name, asked in connection.asked.items()}
        paces = connection.cohort.paces
        changed = {name: rate for name, rate in rates.items() if not paces[name].entry.every and paces[name].rate != rate}
        if changed:
            self.hub.subscribe(connection, changed)


def _read() -> None:
    with answering():
        limits.refresh()
    bans.refresh_if_older(0.0)


_read_in_thread = database_sync_to_async(_read, thread_sensitive=False, executor=_threads)
_review_in_thread = database_sync_to_async(review, thread_sensitive=False, executor=_threads)


def _is_among(principal: Principal | None, users: set[int], sessions: set[str]) -> bool:
    return principal is not None and (
        principal.user_id in users or (principal.login is not None and principal.login.digest in sessions)
    )


def _identity(principal: Principal | None) -> object:
    """What principals have in common of whom the same is to be asked."""
    assert principal is not None
    login, plan = principal.login, principal.plan_name if principal.plan_claimed else None
    return (
        principal.user_id, principal.key_prefix, login.digest if login else None, plan, principal.expires_at_us,
        principal.can_publish, principal.is_staff,
    )  # fmt: skip


def _counted(principal: Principal) -> tuple[int, bool, bool]:
    limits = principal.limits
    return limits.connections, limits.takes_over, "connections" in limits.dry_run
