"""What a client may resume: its topics, their rates and its positions, kept in Redis so that any process can go on.

Rules of this file:
1. Saved behind the reply, many sessions in one go, each change by itself; what Redis did not take is saved later.
2. A session outlives its connection by the resume time, however that ended: nobody has to say goodbye.
3. A session's name is a secret that opens it. Redis knows a digest of it, and only its owner gets it back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marketdata.backoff import Backoff
from marketdata.errors import StoreUnavailable
from marketdata.redis_errors import areachable
from realtime.cohorts import Pace
from realtime.connection import Connection
from realtime.protocol import Position

if TYPE_CHECKING:
    from realtime.hub import Hub

logger = logging.getLogger(__name__)

SCRIPT = (Path(__file__).parent / "sessions.lua").read_text()
SAVE_S = 0.1  # changes of so long are saved together
LONGEST_S = 5.0  # between two tries
REFRESHES = 4  # of the time to live, within one resume time
AT_ONCE = 200  # sessions in one round trip
MOST_WAITING = 50_000  # sessions with changes that Redis has yet to take; those of one more are lost, and counted
OWNER, RATE = "owner", "rate "  # fields of a session beside its topics: whose it is; and before a topic, how fast it is followed


Fields = dict[str, str]  # of a session; empty: it is gone


class Saved(NamedTuple):
    """A session as Redis has it.

    Attributes:
        positions: topic → the last update that the client surely has.
        rates: topic → updates per second; of those that have all of them, nothing.
    """

    positions: dict[str, Position]
    rates: dict[str, float]


class Sessions:
    """The sessions of one hub's connections.

    Args:
        hub: whose connections; its store keeps them.
        ttl_s: for how long after its connection a session may be resumed.
    """

    def __init__(self, hub: Hub, ttl_s: int) -> None:
        self.hub = hub
        self.ttl_s = ttl_s
        self._changed: dict[str, Fields] = {}  # by session
        self._leaving: dict[str, Fields] = {}  # on their way to Redis
        self._script = hub.store.client.register_script(SCRIPT)
        self._writing = asyncio.Lock()
        self._trying = Backoff("saving sessions", logger, longest_s=LONGEST_S)
        self._saving = False
        self._refresh_at = 0.0

    def place(self, connection: Connection, positions: Mapping[str, Position]) -> None:
        """A connection follows topics from positions on, or acknowledged these."""
        self._change(connection, {name: f"{at.epoch or ''}:{at.seq}" for name, at in positions.items()})

    def pace(self, connection: Connection, rates: Mapping[str, float | None]) -> None:
        """A connection follows topics at rates."""
        self._change(connection, {RATE + name: "" if rate is None else repr(rate) for name, rate in rates.items()})

    def forget(self, connection: Connection, names: Iterable[str]) -> None:
        """A connection follows topics no longer."""
        self._change(connection, {prefix + name: "" for name in names for prefix in ("", RATE)})

    def identify(self, connection: Connection) -> None:
        """A connection belongs to somebody else from now on."""
        if connection.cohort is not None and connection.cohort.paces:
            self._change(connection, {OWNER: owner(connection)})

    def _change(self, connection: Connection, fields: Fields) -> None:
        if not fields:
            return
        self._changed.setdefault(connection.session, {OWNER: owner(connection)}).update(fields)
        if not self._saving:
            self._saving = True
            self.hub.spawn(self._save_on())

    async def _save_on(self) -> None:
        try:
            while self._changed:
                await asyncio.sleep(SAVE_S)
                await self._trying.until_done(self.save, StoreUnavailable)
        finally:
            self._saving = False

    async def save(self) -> None:
        """Save what changed.

        Raises:
            StoreUnavailable: Redis did not take it; it is saved with the next changes.
        """
        async with self._writing:
            due = list(self._changed)  # not what changes meanwhile, which would go in ever smaller portions
            for at in range(0, len(due), AT_ONCE):
                self._leaving = {session: self._changed.pop(session) for session in due[at : at + AT_ONCE]}
                try:
                    await self._write()
                except BaseException:  # nobody knows what was saved; saving it again changes nothing
                    self._keep()
                    raise
                finally:
                    self._leaving = {}

    async def _write(self) -> None:
        texts = ("".join([f"{name}\n{text}\n" for name, text in fields.items()]) for fields in self._leaving.values())
        async with areachable(self.hub.store.client):
            await self._script([self._key(session) for session in self._leaving], [self._keep_s, *texts])

    def _keep(self) -> None:
        for session, fields in self._leaving.items():
            if session in self._changed or len(self._changed) < MOST_WAITING:
                self._changed[session] = fields | self._changed.get(session, {})
            else:
                self.hub.counts["sessions_unsaved"] += 1

    @property
    def _keep_s(self) -> int:
        return self.ttl_s + self.ttl_s // REFRESHES + 1

    def _key(self, session: str) -> str:
        digest = hashlib.blake2b(session.encode(), digest_size=16).hexdigest()
        return f"{self.hub.layout.prefix}:session:{digest}"

    async def load(self, connection: Connection, session: str) -> Saved | None:
        """A session that a connection may resume; None: there is none, or it belongs to somebody else.

        In the same round trip its places become those of the connection's own session, so that a client that dies again
        before anything else is saved can go on from that.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        if session == connection.session:
            return None
        if session in self._changed or session in self._leaving:
            await self.save()  # its client was quick
        theirs, ours = self._key(session), self._key(connection.session)
        client = self.hub.store.client
        with self.hub.joins.asking():
            async with areachable(client):
                async with client.pipeline(transaction=False) as pipe:
                    pipe.hgetall(theirs)
                    pipe.copy(theirs, ours)
                    pipe.expire(ours, self._keep_s)
                    found, copied, _ = await pipe.execute(raise_on_error=False)
                if isinstance(found, Exception):
                    raise found
                if found.pop(OWNER.encode(), b"").decode() == owner(connection):
                    return _read(found)  # whether it could be copied or not: Redis may have no memory left
                if copied == 1:
                    await client.delete(ours)
        return None

    async def refresh(self) -> None:
        """Prolong the sessions of the connections that live; called every second, works a few times per resume time."""
        if self.hub.time() < self._refresh_at:
            return
        self._refresh_at = self.hub.time() + self.ttl_s / REFRESHES
        following = [each for each in self.hub.connections.values() if each.cohort is not None and each.cohort.paces]
        try:
            for at in range(0, len(following), AT_ONCE):
                await self._prolong(following[at : at + AT_ONCE])
        except StoreUnavailable:
            self._refresh_at = self.hub.time() + LONGEST_S

    async def stop(self) -> None:
        """Save what changed lately; if Redis is away, it is lost with the process."""
        try:
            await self.save()
        except StoreUnavailable:
            self.hub.counts["sessions_unsaved"] += len(self._changed)

    async def _prolong(self, connections: Collection[Connection]) -> None:
        client = self.hub.store.client
        async with areachable(client), client.pipeline(transaction=False) as pipe:
            for connection in connections:
                pipe.expire(self._key(connection.session), self._keep_s)
            found = await pipe.execute()
        for connection, there in zip(connections, found, strict=True):
            if not there and connection.cohort is not None:  # Redis lost it
                self._save_all(connection, connection.cohort.paces)

    def _save_all(self, connection: Connection, paces: Mapping[str, Pace]) -> None:
        views = {name: pace.view() for name, pace in paces.items()}
        self.place(connection, {name: Position(epoch or None, seq) for name, (epoch, seq, _) in views.items()})
        self.pace(connection, {name: pace.rate for name, pace in paces.items()})


def _read(fields: Mapping[bytes, bytes]) -> Saved:
    texts = {name.decode(): text.decode() for name, text in fields.items()}
    rates = {name.removeprefix(RATE): float(text) for name, text in texts.items() if name.startswith(RATE)}
    return Saved({name: _position(text) for name, text in texts.items() if not name.startswith(RATE)}, rates)


def _position(text: str) -> Position:
    epoch, _, seq = text.rpartition(":")
    return Position(epoch or None, int(seq))


def owner(connection: Connection) -> str:
    """To whom a connection's session belongs: a user, or whoever knows its name."""
    principal = connection.principal
    return f"user:{principal.user_id}" if principal is not None and principal.user_id is not None else "visitor"
