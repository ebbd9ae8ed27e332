"""One evaluation of all rules, by whoever may: read, judge, record, tell.

Rules of this file:
1. One process at a time evaluates, and none within `LEAST_S` of another: a lease in Redis says so, and what is known of alerts
   and counters is its note. While Redis is away the database says whose turn it is.
2. Without Redis nothing is known but that; all other alerts stay as they are.
3. Without the database the rules last read stay in force. What fires then is told at once, once, and written down afterwards.
   Who has read none judges nothing: it would forget the alerts that others know of.
4. Without both nobody can be sure to be alone, and nobody is told. Prometheus, which has the same rules, is for that.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import msgspec

from marketdata.database import answering
from marketdata.errors import DatabaseUnavailable, StoreUnavailable
from marketdata.leases import Leases
from marketdata.outage import Outage
from marketdata.redis_errors import reachable
from marketdata.store import Store
from monitoring import incidents
from monitoring.deliveries import Outgoing, outgoing
from monitoring.installation import Snapshot
from monitoring.judging import Judged, Memory, judge, key_of
from monitoring.models import Turn
from monitoring.notices import message
from monitoring.readings import Readings
from monitoring.reports import Identity
from monitoring.rulebook import Rulebook
from monitoring.samples import sample
from monitoring.standings import Standing, note_standing, read_standing, standing_key, watched_since

logger = logging.getLogger(__name__)

LEAST_S = 3.0
LEASE_MS = 20_000
NAME = "alerts"
TOLD_S = 86_400  # for how long it is remembered what was told without the database
FORGET_S = 3600.0
LEARN_S = 60.0
_UP = "tickwire_redis_up"


class Evaluator:
    """Evaluates for one process. Not to be used by two threads at once.

    Args:
        store: of this installation.
        send: what takes messages.
        clock: wall clock, seconds.
    """

    def __init__(self, store: Store, send: Outgoing = outgoing, clock: Callable[[], float] = time.time) -> None:
        self._store, self._outgoing, self._clock = store, send, clock
        self._prefix = store.layout.prefix
        self._leases = Leases(store)
        self._book = Rulebook()
        self._database = Outage("evaluating alert rules: the database", logger)
        self._forgot_at = self._at = 0.0

    def round(self) -> bool:
        """Evaluate, unless somebody else does or just did; whether it was done.

        Raises:
            DatabaseUnavailable: it does not answer, and neither does Redis, or this process knows no rules.
        """
        try:
            return self._by_lease()
        except StoreUnavailable:
            return self._by_turn()

    def learn(self) -> None:
        """Read the rules while the database answers, if that is long ago: whoever has to evaluate when it is away knows them."""
        read_at = self._book.read_at
        if read_at is None or time.monotonic() - read_at > LEARN_S:
            with suppress(DatabaseUnavailable):
                self._book.read()

    def age_s(self) -> float:
        """Since somebody else last evaluated; for ever, if this process was the last one, or nothing is known of it."""
        try:
            with reachable(self._store.client):
                standing = read_standing(self._store.client.get(standing_key(self._prefix)))
        except StoreUnavailable:
            return float("inf")
        if standing is None or standing.at == self._at:
            return float("inf")
        return self._clock() - standing.at

    def _by_lease(self) -> bool:
        lease = self._leases.take(NAME, LEASE_MS)
        if lease is None:
            return False
        memory, now = _read(lease.note), self._clock()
        note = lease.note
        try:
            if 0 <= now - memory.at < LEAST_S:
                return False
            snapshot = Snapshot.take(self._store)
            undelivered = self._evaluate(memory, Readings(snapshot.reports, snapshot.samples), now)
            self._note(memory, snapshot.standing, undelivered, now)
            note = msgspec.json.encode(memory).decode()
        finally:
            self._leases.give_back(lease, note)
        return True

    def _by_turn(self) -> bool:
        """Without Redis: of all that is watched, only that it is away is known.

        Raises:
            DatabaseUnavailable: it does not answer either.
        """
        now = self._clock()
        with answering():
            Turn.objects.get_or_create(name=NAME, defaults={"until": incidents.time_of(0)})
            mine = Turn.objects.filter(name=NAME, until__lte=incidents.time_of(now))
            if not mine.update(until=incidents.time_of(now) + timedelta(seconds=LEAST_S)):
                return False
        away = Readings([Identity.here("web").report([sample(_UP, 0)])], ())
        self._evaluate(Memory(), away, now, only=_UP)
        return True

    def _evaluate(self, memory: Memory, readings: Readings, now: float, *, only: str | None = None) -> int | None:
        """Judge, record and tell; how many messages are undelivered, or None: the database is away."""
        try:
            self._book.read()
            incidents.agree(memory, self._book.rules, now)
            is_writing = True
        except DatabaseUnavailable as error:
            if only is not None or self._book.read_at is None:
                raise
            self._database.failed(error)
            is_writing = False
        judged = judge(self._book.rules, memory, readings, now, only=only)
        for each in judged:
            is_writing = is_writing and self._record(each, now)
            if not is_writing:
                self._tell_directly(each, now)
        if not is_writing:
            return None
        self._database.over()
        return self._finish(now)

    def _record(self, judged: Judged, now: float) -> bool:
        try:
            incidents.record(judged, self._book, now)
        except DatabaseUnavailable as error:
            self._database.failed(error)
            return False
        return True

    def _tell_directly(self, judged: Judged, now: float) -> None:
        """The database is away: what there is to tell is told now, by whoever of all processes is first."""
        kept, (instance, transition, notice) = judged.kept, judged.step
        kept.recorded = kept.recorded and transition is None
        if notice is None:
            return
        event = f"{notice}:{instance.since if notice != 'resolved' else judged.before.since}:{instance.escalations}"
        name = f"{self._prefix}:alert:{judged.rule.pk}:{key_of(kept.labels)}:{event}"
        with reachable(self._store.client):
            if not self._store.client.set(name, 1, nx=True, ex=TOLD_S):
                return
        text = message(notice, *incidents.about(judged), now, instance.escalations)
        before = judged.rule.escalation_notifiers if judged.before.escalations else ()
        for recipient in self._book.told(judged.rule, notice, before):
            self._outgoing.directly(recipient, notice, text)

    def _finish(self, now: float) -> int:
        """Let go of what is old, and begin what is to be delivered; how many messages are undelivered."""
        with answering():
            undelivered = incidents.undelivered(now)
            if now - self._forgot_at > FORGET_S:
                self._forgot_at = now
                incidents.forget_old(now)
            self._outgoing.begin(incidents.time_of(now))
        return undelivered

    def _note(self, memory: Memory, before: Standing | None, undelivered: int | None, now: float) -> None:
        """Note how alerting stands; without the database, of what could not be delivered the number stays."""
        severities = {rule.pk: rule.severity for rule in self._book.rules}
        firing: Counter[str] = Counter(severities[each.rule] for each in memory.kept if each.instance.state == "firing")
        if undelivered is None:
            undelivered = before.undelivered if before else 0
        standing = Standing(now, dict(firing), undelivered, watched_since(before, now))
        with reachable(self._store.client):
            note_standing(self._store.client, self._prefix, standing)
        self._at = now


def _read(note: str) -> Memory:
    """What the last evaluation left; of one of another version, nothing."""
    try:
        return msgspec.json.decode(note, type=Memory) if note else Memory()
    except msgspec.DecodeError:
        return Memory()
