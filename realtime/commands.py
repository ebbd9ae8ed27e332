"""What each command does: the checks, the one call of the hub, the reply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from marketdata.as_of import AsyncAsOf
from marketdata.errors import MarketDataError, StoreUnavailable
from marketdata.reads import AsyncReads
from marketdata.store import Stamped, now_us
from marketdata.topics import Topic, parse
from realtime import auth, protocol
from realtime.bans import bans
from realtime.codes import Code, CodedError
from realtime.cohorts import Pace
from realtime.connection import Connection
from realtime.frames import encoding
from realtime.limits import Limits
from realtime.node import Node
from realtime.principal import Principal
from realtime.protocol import Position
from realtime.replays import Opening
from realtime.sessions import Saved

NO_LIMITS = Limits(0, 0, None, 1.0, 5, frozenset())  # of somebody who has yet to say who it is
AT_ONCE = 200  # updates that go out in one write with the reply; more go in portions
NEVER = Stamped("", 0, 0, b"null")  # of a topic that was never published to
WITHOUT_PRINCIPAL = (protocol.Auth, protocol.Ping)


def limits_of(connection: Connection) -> Limits:
    """What the connection's principal may do."""
    return connection.principal.limits if connection.principal is not None else NO_LIMITS


def describe(limits: Limits) -> dict[str, Any]:
    """The `limits` of a welcome."""
    return {
        "topics": limits.topics,
        "max_rate": limits.max_rate,
        "commands_per_second": limits.commands_per_second,
        "max_message_bytes": protocol.MAX_MESSAGE_BYTES,
    }


class Commands:
    """Carries out the commands of one connection; each method sends its own reply."""

    def __init__(self, node: Node, connection: Connection) -> None:
        self.node = node
        self.hub = node.hub
        self.connection = connection

    async def run(self, command: protocol.Command) -> None:
        """Carry out a command.

        Raises:
            CodedError: it is refused as a whole, and nothing changed.
        """
        if self.connection.principal is None and not isinstance(command, WITHOUT_PRINCIPAL):
            raise CodedError(Code.UNAUTHORIZED, "say who you are first: send 'auth'")
        match command:
            case protocol.Ping():
                self._reply("pong", command, nonce=command.nonce, time=now_us())
            case protocol.Subscribe():
                await self._subscribe(command)
            case protocol.Unsubscribe():
                self._unsubscribe(command)
            case protocol.Update():
                self._update(command)
            case protocol.List():
                self._list(command)
            case protocol.Snapshot():
                await self._snapshot(command)
            case protocol.History():
                await self._history(command)
            case protocol.Resume():
                await self._resume(command)
            case protocol.Ack():
                self._ack(command)
            case protocol.Configure():
                self._configure(command)
            case protocol.Auth():
                await self._auth(command)

    def _reply(self, type: str, command: protocol.Command, **fields: Any) -> None:
        self.connection.say(protocol.message(type, command.id, **fields))

    def _following(self) -> Mapping[str, Pace]:
        return self.connection.cohort.paces if self.connection.cohort is not None else {}

    # Checks

    def _screen(self, names: Iterable[str]) -> tuple[dict[str, Topic], dict[str, CodedError]]:
        """Sort topics into those that may be read and those that may not, with the reason."""
        good: dict[str, Topic] = {}
        refused: dict[str, CodedError] = {}
        for name in names:
            try:
                good[name] = self._check(name)
            except CodedError as failure:
                refused[name] = failure
        return good, refused

    def _check(self, name: str) -> Topic:
        try:
            topic = parse(name)
        except MarketDataError as error:
            raise CodedError(Code(error.code), str(error)) from None
        if self.node.instruments.get(topic.symbol) is None:
            raise CodedError(Code.UNKNOWN_SYMBOL, f"there is no instrument {topic.symbol!r}")
        if (objection := self._principal().objection(topic.type, topic.symbol)) is not None:
            raise CodedError(Code.INSUFFICIENT_PLAN, objection)
        return topic

    def _principal(self) -> Principal:
        return cast(Principal, self.connection.principal)  # `run` saw to it that there is one

    def _within_limit(self, good: dict[str, Topic], refused: dict[str, CodedError]) -> None:
        """Move the topics that go over the plan's number to the refused ones."""
        limit = limits_of(self.connection).topics
        total = len(self._following())
        for name in list(good):
            if name in self._following():
                continue
            total += 1
            if total > limit and self._principal().refuses("topics"):
                del good[name]
                text = f"your plan allows {limit} topics a connection"
                refused[name] = CodedError(Code.TOPIC_LIMIT_EXCEEDED, text, details={"limit": limit})

    def _rates(self, asked: Mapping[str, float | None]) -> dict[str, float | None]:
        """How fast topics are served of which so much is asked; what is asked is remembered for when the plan changes."""
        limits = limits_of(self.connection)
        entries = self.hub.delays.entries(self.connection.delay_us)
        self.connection.asked |= {entries[name].name: rate for name, rate in asked.items()}
        if limits.max_rate is not None and any(rate is None or rate > limits.max_rate for rate in asked.values()):
            self._principal().refuses("max_rate")  # counts it where it is on trial
        return {name: limits.rate(rate) for name, rate in asked.items()}

    def _wanted(self, name: str, rate: float | None) -> float | None:
        """How fast a topic is to come of which a `subscribe` says so, or nothing: then as it comes already, or as all others."""
        if rate is None and name in self._following():
            return self.connection.asked[name]
        return rate or self.connection.max_rate

    def _save_rates(self, followed: Iterable[tuple[Pace, bool]]) -> None:
        asked = self.connection.asked
        self.node.sessions.pace(self.connection, {pace.entry.name: asked[pace.entry.name] for pace, _ in followed})

    # Commands

    async def _subscribe(self, command: protocol.Subscribe) -> None:
        good, refused = self._screen(protocol.wanted_topics(command))
        self._within_limit(good, refused)
        since = command.since or {}
        try:
            await self._prepare(good, refused, since)
        except CodedError as failure:
            refused |= dict.fromkeys(good, failure)
            good = {}
        rates = self._rates({name: self._wanted(name, command.max_rate) for name in good})
        followed = self.hub.subscribe(self.connection, rates, since)
        openings = self._open(followed, since, snapshot=command.snapshot)
        reply = protocol.message(
            "subscribed",
            command.id,
            accepted=[_accepted(pace, already, openings.get(pace), since) for pace, already in followed],
            rejected=protocol.rejected(refused),
            total=len(self._following()),
            limit=limits_of(self.connection).topics,
        )
        self._begin(reply, openings)

    async def _prepare(self, good: dict[str, Topic], refused: dict[str, CodedError], since: protocol.Positions) -> None:
        """Have topics ready to be followed; those that may not be any more when they are ready go to the refused ones."""
        checked_as = None
        while self._has_changed_since(checked_as, good):
            if checked_as is not None:
                self._check_again(good, refused)
            checked_as = self._principal()
            await self._ensure(list(good.values()), since, checked_as.delay_us)

    def _has_changed_since(self, checked_as: Principal | None, good: Mapping[str, Topic]) -> bool:
        """Whether an operator edited meanwhile what the connection's owner may do, or ended an instrument."""
        listed = self.node.instruments
        return self._principal() is not checked_as or any(listed.get(topic.symbol) is None for topic in good.values())

    def _check_again(self, good: dict[str, Topic], refused: dict[str, CodedError]) -> None:
        _, lost = self._screen(good)
        refused |= lost
        for name in lost:
            del good[name]
        self._within_limit(good, refused)

    async def _ensure(self, topics: list[Topic], since: protocol.Positions, delay_us: int) -> None:
        try:
            if since:
                await self.hub.replays.prepare(topics, since, delay_us)
            else:
                await self.hub.ensure(topics, delay_us=delay_us)
        except StoreUnavailable:
            raise CodedError(Code.FEED_UNAVAILABLE, "the bus does not answer; try again", retry_after_ms=1000) from None

    def _open(self, followed: Sequence[tuple[Pace, bool]], since: protocol.Positions, *, snapshot: bool) -> dict[Pace, Opening]:
        """How the topics begin that were not followed already, and a note of where, for a `resume` later on."""
        fresh = [pace for pace, already in followed if not already]
        begun = fresh if snapshot else [pace for pace in fresh if pace.entry.name in since]
        openings = {pace: self.hub.replays.open(pace, since.get(pace.entry.name)) for pace in begun}
        places = {pace.entry.name: _place(pace, openings.get(pace), since) for pace in fresh}
        self.node.sessions.place(self.connection, places)
        self._save_rates((pace, already) for pace, already in followed if already or self.connection.asked[pace.entry.name])
        return openings

    def _begin(self, reply: bytes, openings: Mapping[Pace, Opening]) -> None:
        """Send the reply, and behind it how the topics begin."""
        losses = [message for pace, opening in openings.items() for message in opening.losses(pace.entry)]
        self.connection.gaps += len(losses)
        missed = [(pace.entry.name, opening.items) for pace, opening in openings.items()]
        if sum(len(items) for _, items in missed) > AT_ONCE:
            self.hub.slow.replay(self.connection, [reply, *losses], missed)
        else:
            self.connection.say(reply, *losses, *(item.message(name) for name, items in missed for item in items))

    async def _resume(self, command: protocol.Resume) -> None:
        saved = await self._saved(command)
        since = saved.positions | (command.positions or {})
        good, refused = self._screen(since)
        for name in [name for name in good if name in self._following()]:
            refused[name] = CodedError(Code.BAD_REQUEST, "this connection follows it already: resume before you subscribe")
            del good[name]
        self._within_limit(good, refused)
        await self._prepare(good, refused, since)
        usual = self.connection.max_rate
        rates = self._rates({name: saved.rates.get(name) if name in saved.positions else usual for name in good})
        openings = self._open(self.hub.subscribe(self.connection, rates, since), since, snapshot=True)
        reply = protocol.message(
            "resumed",
            command.id,
            recovered=[pace.entry.name for pace, opening in openings.items() if opening.recovered],
            snapshot=[pace.entry.name for pace, opening in openings.items() if not opening.recovered],
            rejected=protocol.rejected(refused),
        )
        self._begin(reply, openings)

    async def _saved(self, command: protocol.Resume) -> Saved:
        """What is known of a session. One that nobody knows any more does not matter to a client that names its positions."""
        try:
            saved = await self.node.sessions.load(self.connection, command.session)
        except StoreUnavailable:
            raise CodedError(Code.FEED_UNAVAILABLE, "the store does not answer; try again", retry_after_ms=1000) from None
        if saved is None and not command.positions:
            text = "there is no such session, or it is over: subscribe again"
            raise CodedError(Code.UNRECOVERABLE_POSITION, text)
        return saved or Saved({}, {})

    def _ack(self, command: protocol.Ack) -> None:
        following = self._following()
        known = {
            name: position
            for name, position in command.positions.items()
            if name in following and position.epoch == following[name].entry.epoch
        }
        self.node.sessions.place(self.connection, known)
        self._reply("acked", command, count=len(known))

    def _unsubscribe(self, command: protocol.Unsubscribe) -> None:
        if command.all == (command.topics is not None):
            raise CodedError(Code.BAD_REQUEST, "name either 'topics' or 'all': true")
        names = list(self._following()) if command.all else command.topics or []
        left = self.hub.unsubscribe(self.connection, dict.fromkeys(names))
        self.node.sessions.forget(self.connection, left)
        self._reply("unsubscribed", command, topics=left, total=len(self._following()))

    def _update(self, command: protocol.Update) -> None:
        names = protocol.bounded_topics(command.topics)
        known = [name for name in names if name in self._following()]
        followed = self.hub.subscribe(self.connection, self._rates(dict.fromkeys(known, command.max_rate)))
        self._save_rates(followed)
        missing = {name: CodedError(Code.NOT_SUBSCRIBED, "not subscribed") for name in names if name not in known}
        updated = [{"topic": pace.entry.name, "max_rate": pace.rate} for pace, _ in followed]
        self._reply("updated", command, topics=updated, rejected=protocol.rejected(missing))

    def _list(self, command: protocol.List) -> None:
        topics = [_standing(pace) for pace in self._following().values()]
        self._reply("subscriptions", command, topics=topics, total=len(topics), limit=limits_of(self.connection).topics)

    def _seen(self) -> AsyncReads | AsyncAsOf:
        """What the connection sees of the store: all, or nothing younger than its delay."""
        delay_us = self.connection.delay_us
        return AsyncAsOf(self.node.store, now_us() - delay_us) if delay_us else self.node.store

    async def _snapshot(self, command: protocol.Snapshot) -> None:
        good, refused = self._screen(protocol.bounded_topics(command.topics))
        try:
            latest = await self._seen().latest(list(good))
        except StoreUnavailable:
            raise CodedError(Code.FEED_UNAVAILABLE, "the store does not answer; try again", retry_after_ms=1000) from None
        found = [protocol.stamped(name, *(stamped or NEVER)) for name, stamped in zip(good, latest, strict=True)]
        self._reply("snapshots", command, snapshots=found, rejected=protocol.rejected(refused))

    async def _history(self, command: protocol.History) -> None:
        topic = self._check(command.topic)
        if command.from_seq is not None and command.to_seq is not None and command.to_seq < command.from_seq:
            raise CodedError(Code.BAD_REQUEST, "'to_seq' is less than 'from_seq'")
        newest = command.from_seq is None
        try:
            epoch, updates = await self._seen().history(
                str(topic),
                from_seq=command.from_seq or 1,
                to_seq=command.to_seq,
                limit=command.limit or protocol.MAX_HISTORY,
                newest=newest,
            )
        except StoreUnavailable:
            raise CodedError(Code.FEED_UNAVAILABLE, "the store does not answer; try again", retry_after_ms=1000) from None
        numbered = protocol.numbered((stamped.seq, stamped.body) for stamped in updates)
        self._reply("history", command, topic=str(topic), epoch=epoch or None, updates=numbered)

    def _configure(self, command: protocol.Configure) -> None:
        connection, now = self.connection, connection_settings(self.connection)
        if command.heartbeat is not None:
            connection.heartbeat_s = command.heartbeat
            connection.beat_at = self.hub.time() + command.heartbeat
        if isinstance(command.max_rate, float | None):
            connection.max_rate = command.max_rate
            self._save_rates(self.hub.subscribe(connection, self._rates(dict.fromkeys(connection.asked, command.max_rate))))
        batch = now["batch"] if command.batch is None else command.batch
        self._reply("configured", command, **connection_settings(connection) | {"batch": batch})
        current = connection.encoding
        if batch != current.batch:
            changed = encoding(current.wire, batch=batch, deflated=current.deflated, framed=current.framed)
            self.hub.serve_as(connection, changed)

    async def _auth(self, command: protocol.Auth) -> None:
        heard = self.node.warden.heard
        principal = await auth.identify_token(command.token, self.connection.address)
        before = self.connection.principal
        if before is not None and before.user_id not in (None, principal.user_id):  # its session, too, is that user's
            raise CodedError(Code.UNAUTHORIZED, "this connection is another user's: open a new one")
        if bans.covers(self.connection.address, principal.user_id):
            raise CodedError(Code.PERMISSION_DENIED, auth.BANNED)
        await self._admit(principal)
        self._reply(
            "authenticated",
            command,
            user=principal.name,
            plan=principal.plan_name,
            expires_at=principal.expires_at_us,
            limits=describe(principal.limits),
        )
        self.node.warden.hold(self.connection, principal)  # behind the reply: topics may go, others may come faster
        self.node.sessions.identify(self.connection)
        self.node.warden.mind(self.connection, heard)

    async def _admit(self, principal: Principal) -> None:
        """Count the connection as the principal's, if it may have another one."""
        if not await self.node.admissions.admit(self.connection, principal):
            limit = principal.limits.connections
            text = f"your plan allows {limit} connections at once"
            raise CodedError(Code.CONNECTION_LIMIT_EXCEEDED, text, details={"limit": limit})


def connection_settings(connection: Connection) -> dict[str, Any]:
    """The effective values that a `configured` names."""
    return {
        "batch": connection.encoding.batch,
        "heartbeat": connection.heartbeat_s,
        "max_rate": limits_of(connection).rate(connection.max_rate),
    }


def _standing(pace: Pace) -> dict[str, Any]:
    epoch, seq, _ = pace.view()
    return {"topic": pace.entry.name, "epoch": epoch or None, "seq": seq, "max_rate": pace.rate}


def _accepted(pace: Pace, already: bool, opening: Opening | None, since: protocol.Positions) -> dict[str, Any]:
    fields = _standing(pace) | {"delivery": "every" if pace.entry.every else "latest"}
    if opening is not None and pace.entry.name in since:
        fields["recovered"] = opening.recovered
    return fields | {"already": True} if already else fields


def _place(pace: Pace, opening: Opening | None, since: protocol.Positions) -> Position:
    """The last update that a client surely has, though it may be gone before the first byte reaches it."""
    if opening is not None and opening.recovered:
        return since[pace.entry.name]
    epoch, seq, _ = pace.view()
    return Position(epoch or None, seq - 1 if epoch and opening is not None else seq)
