"""Messages on their way to notifiers: each attempt in a thread of its own, bounded in number and time, tried again if it fails.

Rules of this file:
1. Nobody waits for the other side: who evaluates rules begins attempts and goes on. A notifier that hangs holds up two threads of
   `MOST` and no other notifier. One that takes messages gets all that are due, one after the other, however many those are.
2. An attempt is claimed in its row before it begins: no two processes send the same message at once. If a process dies on the
   way, the claim ends, and the message is sent again: rather twice than never.
3. What an attempt says of its failure is without the address.
4. A notifier hears of an alert in the order in which it happened: no end is told while the beginning still waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db import connections
from django.db.models import Exists, Min, OuterRef, Q, QuerySet
from django.utils import timezone

from marketdata.backoff import pause_s
from marketdata.outage import Outage
from monitoring import notifying
from monitoring.models import Delivery, Notifier
from monitoring.notices import Message, test_message
from monitoring.rulebook import Recipient

logger = logging.getLogger(__name__)

MOST = 16  # threads
MOST_EACH = 2  # for one notifier
TIMEOUT_S = 15.0
CLAIM = timedelta(seconds=60)
MOST_ATTEMPTS = 8
MOST_UNWRITTEN = 1000  # messages to one notifier that wait while the database is away
FIRST_PAUSE_S, LONGEST_PAUSE_S = 20.0, 900.0

Send = Callable[[str, str, str, str], str]


class Outgoing:
    """The attempts of this process. Safe among threads.

    Args:
        send: see `notifying.send`.
        timeout_s: after which an attempt has failed, whatever becomes of it.
    """

    def __init__(self, send: Send = notifying.send, timeout_s: float = TIMEOUT_S) -> None:
        self._send, self._timeout_s = send, timeout_s
        self._lock, self._writing = threading.Lock(), threading.Lock()  # SQLite has one writer at a time
        self._busy: Counter[int] = Counter()
        self._unwritten: defaultdict[int, deque[tuple[Recipient, str, Message]]] = defaultdict(deque)
        self._outages: dict[str, Outage] = {}
        self._underway: set[threading.Thread] = set()

    def begin(self, now: datetime | None = None) -> int:
        """Begin attempts at the messages that are due, as far as there is room; returns how many were begun."""
        now = now or timezone.now()
        for vain in _due(now).filter(Q(notifier=None) | Q(notifier__enabled=False))[: 4 * MOST]:
            _give_up(vain, "the notifier is gone, or not enabled")
        whom = _due(now).exclude(notifier=None).values_list("notifier_id").annotate(first=Min("due_at")).order_by("first")
        begun = [row for pk, _ in whom for _ in range(MOST_EACH) if (row := self._take(pk, now)) is not None]
        for first in begun:
            self._start(f"delivery {first.pk}", partial(self._empty, first, now))
        return len(begun)

    def _take(self, pk: int, now: datetime) -> Delivery | None:
        """The next message to a notifier, claimed, and a place for it; None: there is no message, or no place."""
        if not self._enter(pk):
            return None
        row = None
        try:
            with self._writing:
                row = _claimed(pk, max(now, timezone.now()))
        finally:
            if row is None:
                self._leave(pk)
        return row

    def _empty(self, row: Delivery | None, now: datetime) -> None:
        """Send a message, and while that goes well the next ones to the same notifier."""
        while row is not None and row.notifier is not None:
            recipient = Recipient(row.notifier.pk, row.notifier.name, row.notifier.url)
            row = self._take(recipient.pk, now) if self._attempt(row, recipient) else None

    def directly(self, recipient: Recipient, event: str, text: Message) -> None:
        """Send a message of which there is no row, because the database is away. It is tried once, after those before it."""
        with self._lock:
            waiting = self._unwritten[recipient.pk]
            if has_room := len(waiting) < MOST_UNWRITTEN:
                waiting.append((recipient, event, text))
        if not has_room:
            logger.warning("a message to notifier %s is lost: %d wait, and the database is away", recipient.name, MOST_UNWRITTEN)
        self._next_unwritten(recipient.pk)

    def _next_unwritten(self, pk: int) -> None:
        with self._lock:
            if not self._unwritten[pk] or not self._has_place(pk):
                return
            self._busy[pk] += 1
            recipient, event, text = self._unwritten[pk].popleft()
        self._start(f"delivery to {recipient.name}", lambda: self._note(recipient, self._sent(recipient, event, text)))

    def test(self, notifier: Notifier) -> str:
        """Send a test, and wait for it; what went wrong, or nothing."""
        text = test_message(notifier.name)
        row = Delivery.objects.create(
            notifier=notifier, name=notifier.name, event=Delivery.Event.TEST, title=text.title, body=text.body
        )
        if not self._enter(notifier.pk):
            error = "earlier messages to it have not ended yet"
        else:
            recipient = Recipient(notifier.pk, notifier.name, notifier.url)
            began = time.monotonic()
            error = self._sent(recipient, row.event, text)
            _add(row, error, time.monotonic() - began)
        row.state = Delivery.State.FAILED if error else Delivery.State.SENT
        row.save()
        return error

    def wait(self, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until no attempt is under way."""
        ends = time.monotonic() + timeout_s
        while (thread := self._any_underway()) is not None and (left := ends - time.monotonic()) > 0:
            thread.join(left)

    def _any_underway(self) -> threading.Thread | None:
        with self._lock:
            return next(iter(self._underway), None)

    def _start(self, name: str, run: Callable[[], None]) -> None:
        def body() -> None:
            try:
                run()
            except Exception:  # the claim ends, and it is tried again
                logger.exception("%s", name)
            finally:
                connections.close_all()
                with self._lock:
                    self._underway.discard(thread)

        thread = threading.Thread(target=body, name=name, daemon=True)
        with self._lock:  # whoever waits for it finds it begun
            self._underway.add(thread)
            thread.start()

    def _attempt(self, row: Delivery, recipient: Recipient) -> bool:
        """Try to send a message; whether it was taken."""
        began = time.monotonic()
        error = self._sent(recipient, row.event, Message(row.title, row.body))
        self._note(recipient, error)
        _add(row, error, time.monotonic() - began)
        if not error:
            row.state, row.due_at = Delivery.State.SENT, None
        elif len(row.attempts) >= MOST_ATTEMPTS:
            row.state, row.due_at = Delivery.State.FAILED, None
        else:
            row.due_at = timezone.now() + timedelta(seconds=pause_s(len(row.attempts), FIRST_PAUSE_S, LONGEST_PAUSE_S))
        with self._writing:
            row.save(update_fields=["state", "due_at", "attempts"])
        return not error

    def _sent(self, recipient: Recipient, event: str, text: Message) -> str:
        """Send in a thread that is left behind when it takes too long; it keeps its place until it ends."""
        answers: list[str] = []

        def run() -> None:
            try:
                answers.append(self._send(recipient.url, event, *text))
            except Exception as error:
                answers.append(notifying.redacted(f"{type(error).__name__}: {error}", recipient.url))
            finally:
                self._leave(recipient.pk)

        thread = threading.Thread(target=run, name=f"telling {recipient.name}", daemon=True)
        thread.start()
        thread.join(self._timeout_s)
        return answers[0] if answers else f"no answer within {self._timeout_s:g} s"

    def _note(self, recipient: Recipient, error: str) -> None:
        outage = self._outages.setdefault(recipient.name, Outage(f"notifier {recipient.name}", logger))
        if error:
            outage.failed(error)
        else:
            outage.over()

    def _has_place(self, pk: int) -> bool:
        return self._busy.total() < MOST and self._busy[pk] < MOST_EACH

    def _enter(self, pk: int) -> bool:
        with self._lock:
            if not self._has_place(pk):
                return False
            self._busy[pk] += 1
            return True

    def _leave(self, pk: int) -> None:
        with self._lock:
            self._busy[pk] -= 1
            waiting = [each for each, messages in self._unwritten.items() if messages]
        for each in waiting:
            self._next_unwritten(each)


def _due(now: datetime) -> QuerySet[Delivery]:
    """What is to be tried now, the oldest first, without what has to wait for an earlier message about the same alert."""
    waiting = Delivery.objects.filter(state=Delivery.State.WAITING)
    earlier = waiting.filter(alert=OuterRef("alert"), notifier=OuterRef("notifier"), pk__lt=OuterRef("pk"))
    return waiting.filter(~Exists(earlier), due_at__lte=now).order_by("due_at", "pk")


def _claimed(pk: int, now: datetime) -> Delivery | None:
    """The next message to a notifier, that nobody else sends for a while now."""
    for row in _due(now).filter(notifier=pk, notifier__enabled=True).select_related("notifier")[:MOST]:
        free = Delivery.objects.filter(pk=row.pk, state=Delivery.State.WAITING, due_at=row.due_at)
        if free.update(due_at=now + CLAIM):
            return row
    return None


def _add(row: Delivery, error: str, took_s: float) -> None:
    row.attempts = [*row.attempts, {"at": timezone.now().isoformat(), "took_ms": round(took_s * 1000), "error": error}]


def _give_up(row: Delivery, error: str) -> None:
    _add(row, error, 0.0)
    row.state, row.due_at = Delivery.State.FAILED, None
    row.save(update_fields=["state", "due_at", "attempts"])


outgoing = Outgoing()
