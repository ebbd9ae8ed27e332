"""Who is let in: connections of one holder are counted over all nodes, by leases in Redis.

Rules of this file:
1. A lease ends by itself: what a crashed process held is free again after `lease_s`, by the clock of Redis.
2. Handshakes that are under way together are one call, in the order in which they and the releases came.
3. While Redis is away each process counts its own connections, and nobody is refused for it; when it is back, all are registered.
4. Only a connection that was let in is renewed. One that a newer took the place of learns it at once over the bus, or at the
   latest from its renewal.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import random
import secrets
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marketdata.backoff import Backoff
from marketdata.errors import StoreUnavailable
from marketdata.kept import KeptTask
from marketdata.redis_errors import areachable
from realtime import protocol
from realtime.codes import Close
from realtime.connection import Connection, holder_of

if TYPE_CHECKING:
    from realtime.hub import Hub
    from realtime.principal import Principal

logger = logging.getLogger(__name__)

SCRIPT = (Path(__file__).parent / "admissions.lua").read_text()
PATIENCE_S = 1.0  # a handshake waits no longer for Redis; those behind it do not wait at all
GATHER_S = 0.003  # after a call, for more to come that share the next: calls are what counting costs
LONGEST_S = 5.0  # between two tries
RENEWALS = 2.7  # within the time of a lease: one that fails is made up for by the next
AT_ONCE = 200  # connections in one call
TAKEN_OVER = "a newer connection of yours took the place of this one"


class Lease(NamedTuple):
    """One connection among those of its holder.

    Attributes:
        key: the holder's, in Redis.
        member: when the connection was opened, its node, and a number: unlike any other.
        limit: most connections of the holder.
        takes_over: whether the newest takes the place of the oldest where there would be more.
    """

    connection: Connection
    key: str
    member: str
    limit: int
    takes_over: bool

    def ask(self, what: str) -> str:
        """What the script is asked: `+` admit, `=` renew, `-` release."""
        return f"{what} {self.limit} {'t' if self.takes_over else 'r'} {self.member}"


class Due(NamedTuple):
    """Something that the script is asked for soon; `answer`: where somebody waits to be let in."""

    what: str
    lease: Lease
    answer: asyncio.Future[bool] | None = None


class Admissions:
    """Lets the connections of one hub in.

    Args:
        hub: whose connections; its store keeps the leases, its bus brings word of take-overs.
        lease_s: for how long a lease lasts that nobody renews.

    Attributes:
        leases: of the connections that were let in, by member, the oldest first.
        held: how many connections of this process each key has.
        alone: Redis is away, and this process counts its own connections only.
        task: what renews the leases.
    """

    def __init__(self, hub: Hub, lease_s: float) -> None:
        self.hub = hub
        self.lease_s = lease_s
        self.leases: dict[str, Lease] = {}
        self.held: Counter[str] = Counter()
        self.alone = False
        self.task = KeptTask("leases", self._renew_on, logger)
        self._node = secrets.token_hex(6)  # not its name: a container that starts again has the same one
        self._channels = f"{hub.layout.prefix}:node:"
        self._numbers = itertools.count()
        self._due: deque[Due] = deque()
        self._working = self._listening = False
        self._calling = asyncio.Lock()
        self._lost = asyncio.Event()
        self._script = hub.store.client.register_script(SCRIPT)
        self._trying = Backoff("counting connections over all nodes", logger, longest_s=LONGEST_S)
        hub.counts["counts_alone"] = 0

    # Letting in and out

    async def admit(self, connection: Connection, principal: Principal) -> bool:
        """Let a connection in as one of the principal's; what it held for somebody else before, it gives up.

        Returns:
            False: the plan allows no further one, and nothing changed.
        """
        lease = self._lease(connection, principal)
        before = self.leases.get(connection.lease)
        if before is not None and before.key == lease.key:
            self.leases[before.member] = lease._replace(member=before.member)
            return True
        if not await self._ask(lease):
            self.hub.counts["refused_connections"] += 1
            return False
        self.release(connection)
        connection.lease = lease.member
        return True

    def release(self, connection: Connection) -> None:
        """A connection is gone. Doing so twice is no error."""
        self._release(connection.lease)

    def _release(self, member: str) -> None:
        lease = self._forget(member)
        if lease is not None and not self.alone:  # else it ends by itself
            self._soon(Due("-", lease))

    def _lease(self, connection: Connection, principal: Principal) -> Lease:
        key, limits = self._key(holder_of(principal, connection.address)), principal.limits
        member = f"{connection.opened_us:016}:{self._node}:{next(self._numbers)}"
        return Lease(connection, key, member, limits.connections, limits.takes_over)

    def _key(self, holder: tuple[str, int | str]) -> str:
        digest = hashlib.blake2b(repr(holder).encode(), digest_size=12).hexdigest()
        return f"{self.hub.layout.prefix}:held:{digest}"

    async def _ask(self, lease: Lease) -> bool:
        if self.alone:
            return self._decide(lease)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._soon(Due("+", lease, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            self._release(lease.member)
            raise

    def _decide(self, lease: Lease) -> bool:
        """Let a connection in by what this process knows."""
        if self.held[lease.key] >= lease.limit:
            if not lease.takes_over:
                return False
            self._take_over(next(each.member for each in self.leases.values() if each.key == lease.key))
        self.hub.counts["admitted_alone"] += 1
        self._remember(lease)
        return True

    def _remember(self, lease: Lease) -> None:
        self.leases[lease.member] = lease
        self.held[lease.key] += 1

    def _forget(self, member: str) -> Lease | None:
        lease = self.leases.pop(member, None)
        if lease is not None:
            self.held[lease.key] -= 1
            if not self.held[lease.key]:
                del self.held[lease.key]
        return lease

    def _take_over(self, member: str) -> None:
        """A newer connection, here or elsewhere, has the place of this one."""
        lease = self._forget(member)
        if lease is not None:
            self.hub.counts["taken_over"] += 1
            lease.connection.close(Close.TAKEN_OVER, protocol.notice("limits", TAKEN_OVER, code=Close.TAKEN_OVER))

    # Calling the script

    def _soon(self, due: Due) -> None:
        self._due.append(due)
        if not self._working:
            self._working = True
            self.hub.spawn(self._work())

    async def _work(self) -> None:
        """Ask for what is due: the first at once, what comes behind it together."""
        try:
            while self._due:
                async with self._calling:
                    await self._settle([self._due.popleft() for _ in range(min(len(self._due), AT_ONCE))])
                if len(self._due) < AT_ONCE:
                    await asyncio.sleep(GATHER_S)
        finally:
            self._working = False

    async def _settle(self, batch: Sequence[Due]) -> None:
        try:
            answers = None if self.alone else await self._call([(due.what, due.lease) for due in batch])
        except StoreUnavailable as error:
            self._trying.outage.failed(error)
            answers = None
        for at, due in enumerate(batch):
            if due.answer is not None:
                self._answer(due.lease, due.answer, None if answers is None else bool(answers[at]))

    def _answer(self, lease: Lease, answer: asyncio.Future[bool], admitted: bool | None) -> None:
        if answer.done():  # the handshake was given up
            if admitted:
                self._due.append(Due("-", lease))
            return
        if admitted:
            self._remember(lease)
        answer.set_result(self._decide(lease) if admitted is None else admitted)

    async def _call(self, asked: Sequence[tuple[str, Lease]]) -> list[int]:
        keys, texts = [lease.key for _, lease in asked], [lease.ask(what) for what, lease in asked]
        try:
            async with areachable(self.hub.store.client), asyncio.timeout(PATIENCE_S):
                answers: list[int] = await self._script(keys, [round(self.lease_s * 1000), self._channels, *texts])
        except StoreUnavailable:
            self._is_alone(True)
            self._lost.set()
            raise
        return answers

    def _is_alone(self, alone: bool) -> None:
        self.alone = alone
        self.hub.counts["counts_alone"] = int(alone)

    # Staying in

    async def _renew_on(self) -> None:
        while True:
            self._lost.clear()
            await self._trying.until_done(self.renew, StoreUnavailable)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.lease_s / RENEWALS * random.uniform(0.9, 1.0)):  # noqa: S311
                    await self._lost.wait()

    async def renew(self) -> None:
        """Renew the leases of all connections; those that Redis does not know are taken again.

        Raises:
            StoreUnavailable: Redis did not answer; some are renewed.
        """
        if self.alone:
            await self._call(())
            self._is_alone(False)  # who comes from here on is counted there, who came before is renewed here
        members = list(self.leases)
        for at in range(0, len(members), AT_ONCE):
            async with self._calling:  # else one that is released meanwhile could be taken again
                await self._renew([self.leases[member] for member in members[at : at + AT_ONCE] if member in self.leases])
        if not self._listening:
            await self.hub.bus.follow({f"{self._channels}{self._node}".encode(): self._hear})
            self._listening = True

    async def _renew(self, leases: Sequence[Lease]) -> None:
        for lease, kept in zip(leases, await self._call([("=", lease) for lease in leases]), strict=True):
            if not kept:
                self._take_over(lease.member)

    def _hear(self, payload: bytes) -> None:
        self._take_over(payload.decode(errors="replace"))

    async def stop(self) -> None:
        """Release what is held, so that it is free at once; while Redis is away it is so when its lease ends."""
        for member in list(self.leases):
            self._release(member)
        await self._work()
        if self._listening:
            await self.hub.bus.unfollow([f"{self._channels}{self._node}".encode()])
