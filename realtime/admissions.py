"""Who is let in: connections of one holder are counted over all nodes, by leases in Redis.

Rules of this file:
1. A lease ends by itself: what a crashed process held is free again after `lease_s`, by the clock of Redis.
2. Handshakes that are under way together are one call, in the order in which they and the releases came.
3. While Redis is away each process counts its own connections, and nobody is refused for it; when it is back, all are registered.
4. Only a connection that was let in is renewed. One that a newer took the place of learns it at once over the bus, or at the
   latest from its renewal. A process that stood still for longer than a lease gives up the places that others have by now.
5. A limit that was lowered ends the newest of those that are too many, or with `take_over` the oldest, wherever they are.
6. An address may have so many connections, and so many handshakes in five minutes, whoever they belong to. Addresses of
   `TICKWIRE_UNCOUNTED_ADDRESSES` are not counted: this machine's own, behind which a proxy may hide everybody.
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
from realtime.guesses import network
from realtime.places import ENDED, NO_RULES, AddressRules, Lease, Policy, Refusal, policy_of
from realtime.trials import trials

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
REFUSED, ADMITTED, OVER = 0, 1, 2  # what the script says; less than nothing: refused for so many ms


class Due(NamedTuple):
    """Something that the script is asked for soon; `answer`: where somebody waits for what it says."""

    what: str
    lease: Lease
    answer: asyncio.Future[int] | None = None


class Admissions:
    """Lets the connections of one hub in.

    Args:
        hub: whose connections; its store keeps the leases, its bus brings word of take-overs.
        lease_s: for how long a lease lasts that nobody renews.
        rules: what one address may have.

    Attributes:
        leases: of the connections that were let in, by member, the oldest first.
        held: how many connections of this process each key has.
        alone: Redis is away, and this process counts its own connections only.
        task: what renews the leases.
    """

    def __init__(self, hub: Hub, lease_s: float, rules: AddressRules = NO_RULES) -> None:
        self.hub = hub
        self.lease_s = lease_s
        self.rules = rules
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
        self._renewed_at = hub.time()
        self._script = hub.store.client.register_script(SCRIPT)
        self._trying = Backoff("counting connections over all nodes", logger, longest_s=LONGEST_S)
        hub.counts["counts_alone"] = 0

    # Letting in and out

    async def enter(self, connection: Connection, principal: Principal | None) -> Refusal | None:
        """Let a new connection in, as one of its address's and, if that is known already, of its owner's.

        Returns:
            Why not; None: it is in.
        """
        if not self.rules.counts(connection.address):
            admitted, refusal = principal is None or await self.admit(connection, principal), None
        elif principal is not None and policy_of(principal.limits) is Policy.TAKE_OVER:
            refusal = await self._take_place(connection)  # first: nobody's place is taken for one that is refused
            admitted = refusal is None and await self.admit(connection, principal)
        else:
            taking = self._take_place(connection)
            admitting = self.admit(connection, principal) if principal is not None else asyncio.sleep(0, True)
            refusal, admitted = await asyncio.gather(taking, admitting)  # one call of the script
        if refusal is None and not admitted and principal is not None:
            refusal = Refusal(
                Close.CONNECTION_LIMIT, f"your plan allows at most {principal.limits.connections} connections at once"
            )
        if refusal is not None:
            self.release(connection)
        return refusal

    async def _take_place(self, connection: Connection) -> Refusal | None:
        """Count a connection and its handshake among those of its address."""
        rules = self.rules
        key = self._key(("address", network(connection.address)))
        policy = Policy.TRIAL if rules.on_trial else Policy.REJECT
        lease = Lease(connection, key, self._member(connection), rules.connections, policy, rules.handshakes)
        answer = await self._ask(lease)
        if answer > 0:
            connection.place = lease.member
            if answer == OVER:
                trials.note("address", "connections")
            return None
        self.hub.counts["refused_addresses"] += 1
        if answer < 0:
            return Refusal(Close.RATE_LIMITED, "too many connections were begun from your address", -answer)
        return Refusal(Close.CONNECTION_LIMIT, f"at most {rules.connections} connections at once from your address")

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
        if not (answer := await self._ask(lease)):
            self.hub.counts["refused_connections"] += 1
            return False
        if answer == OVER:
            principal.refuses("connections")  # it is on trial: this counts it
        self._release(connection.lease)
        connection.lease = lease.member
        return True

    def release(self, connection: Connection) -> None:
        """A connection is gone. Doing so twice is no error."""
        self._release(connection.lease)
        self._release(connection.place)

    def relimit(self, connection: Connection, principal: Principal) -> None:
        """A principal may have another number of connections from now on: those that are too many end."""
        before = self.leases.get(connection.lease)
        if before is None:
            return
        lease = self._lease(connection, principal)._replace(member=before.member)
        self.leases[before.member] = lease
        self._soon(Due("!", lease))

    def _release(self, member: str) -> None:
        lease = self._forget(member)
        if lease is not None and not self.alone:  # else it ends by itself
            self._soon(Due("-", lease))

    def _lease(self, connection: Connection, principal: Principal) -> Lease:
        key, limits = self._key(holder_of(principal, network(connection.address))), principal.limits
        return Lease(connection, key, self._member(connection), limits.connections, policy_of(limits))

    def _member(self, connection: Connection) -> str:
        return f"{connection.opened_us:016}:{self._node}:{next(self._numbers)}"

    def _key(self, holder: tuple[str, int | str]) -> str:
        digest = hashlib.blake2b(repr(holder).encode(), digest_size=12).hexdigest()
        return f"{self.hub.layout.prefix}:held:{digest}"

    async def _ask(self, lease: Lease) -> int:
        if self.alone:
            return self._decide(lease)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._soon(Due("+", lease, answer))
        try:
            return await answer
        except asyncio.CancelledError:
            self._release(lease.member)
            raise

    def _decide(self, lease: Lease) -> int:
        """Let a connection in by what this process knows."""
        over = self.held[lease.key] >= lease.limit
        if over and lease.policy is Policy.REJECT:
            return REFUSED
        if over and lease.policy is Policy.TAKE_OVER:
            self._end(self._members(lease.key)[0], Policy.TAKE_OVER)
        self.hub.counts["admitted_alone"] += 1
        self._remember(lease)
        return OVER if over and lease.policy is Policy.TRIAL else ADMITTED

    def _trim(self, lease: Lease) -> None:
        """End what is too many of a holder by what this process knows."""
        members = self._members(lease.key)
        over = max(0, len(members) - lease.limit) if lease.policy in ENDED else 0
        for member in members[:over] if lease.policy is Policy.TAKE_OVER else members[len(members) - over :]:
            self._end(member, lease.policy)

    def _members(self, key: str) -> list[str]:
        """What a holder has here, the oldest first."""
        return sorted(each.member for each in self.leases.values() if each.key == key)

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

    def _end(self, member: str, why: Policy) -> None:
        """A newer connection, here or elsewhere, has the place of this one, or there is none for it any more."""
        lease = self._forget(member)
        if lease is not None:
            close, count, text = ENDED[why]
            self.hub.counts[count] += 1
            lease.connection.close(close, protocol.notice("limits", text, code=close))

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
                self._answer(due.lease, due.answer, None if answers is None else answers[at])
            elif answers is None and due.what == "!":
                self._trim(due.lease)

    def _answer(self, lease: Lease, answer: asyncio.Future[int], said: int | None) -> None:
        admitted = said is not None and said > 0
        if answer.done():  # the handshake was given up
            if admitted:
                self._due.append(Due("-", lease))
            return
        if admitted:
            self._remember(lease)
        answer.set_result(self._decide(lease) if said is None else said)

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
        began = self.hub.time()
        stood_still = not self.alone and began - self._renewed_at > self.lease_s
        if self.alone:
            await self._call(())
            self._is_alone(False)  # who comes from here on is counted there, who came before is renewed here
        members = list(self.leases)
        for at in range(0, len(members), AT_ONCE):
            async with self._calling:  # else one that is released meanwhile could be taken again
                some = [self.leases[member] for member in members[at : at + AT_ONCE] if member in self.leases]
                await self._renew("~" if stood_still else "=", some)
        self._renewed_at = began
        if not self._listening:
            await self.hub.bus.follow({f"{self._channels}{self._node}".encode(): self._hear})
            self._listening = True

    async def _renew(self, what: str, leases: Sequence[Lease]) -> None:
        for lease, kept in zip(leases, await self._call([(what, lease) for lease in leases]), strict=True):
            if not kept:
                self._end(lease.member, Policy.TAKE_OVER if lease.policy is Policy.TAKE_OVER else Policy.REJECT)

    def _hear(self, payload: bytes) -> None:
        why, member = payload[:1].decode(errors="replace"), payload[1:].decode(errors="replace")
        if why in ENDED:
            self._end(member, Policy(why))

    async def stop(self) -> None:
        """Release what is held, so that it is free at once; while Redis is away it is so when its lease ends."""
        for member in list(self.leases):
            self._release(member)
        await self._work()
        if self._listening:
            await self.hub.bus.unfollow([f"{self._channels}{self._node}".encode()])
