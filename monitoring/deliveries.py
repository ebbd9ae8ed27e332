"""Messages on their way to notifiers: each attempt in a thread of its own, bounded in number and time, tried again if it fails.

Rules of this file:
1. Nobody waits for the other side: who evaluates rules begins attempts and goes on. A notifier that hangs holds up two threads of
   `MOST` and no other notifier.
2. An attempt is claimed in its row before it begins: no two processes send the same message at once. If a process dies on the
   way, the claim ends, and the message is sent again: rather twice than never.
3. What an attempt says of its failure is without the address.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from django.db import connections
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
        self._outages: dict[str, Outage] = {}
        self._underway: set[threading.Thread] = set()

    def begin(self, now: datetime | None = None) -> int:
        """Begin an attempt at each message that is due, as far as there is room; returns how many were begun."""
        now = now or timezone.now()
        due = Delivery.objects.filter(state=Delivery.State.WAITING, due_at__lte=now).order_by("due_at", "pk")
        claimed = [row for row in due.select_related("notifier")[: 4 * MOST] if self._claim(row, now)]
        for row in claimed:
            assert row.notifier is not None
            recipient = Recipient(row.notifier.pk, row.notifier.name, row.notifier.url)
            self._start(f"delivery {row.pk}", partial(self._attempt, row, recipient))
        return len(claimed)

    def _claim(self, row: Delivery, now: datetime) -> bool:
        if row.notifier is None or not row.notifier.enabled:
            _give_up(row, "the notifier is gone, or not enabled")
            return False
        if not self._enter(row.notifier.pk):
            return False
        claimed = Delivery.objects.filter(pk=row.pk, state=Delivery.State.WAITING, due_at=row.due_at)
        if not claimed.update(due_at=now + CLAIM):
            self._leave(row.notifier.pk)
            return False
        return True

    def directly(self, recipient: Recipient, event: str, text: Message) -> None:
        """Send a message of which there is no row, because the database is away. It is tried once."""
        if self._enter(recipient.pk):
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
        for thread in list(self._underway):
            thread.join(timeout_s)

    def _start(self, name: str, run: Callable[[], None]) -> None:
        def body() -> None:
            try:
                run()
            except Exception:  # the claim ends, and it is tried again
                logger.exception("%s", name)
            finally:
                connections.close_all()
                self._underway.discard(thread)

        thread = threading.Thread(target=body, name=name, daemon=True)
        self._underway.add(thread)
        thread.start()

    def _attempt(self, row: Delivery, recipient: Recipient) -> None:
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

    def _enter(self, pk: int) -> bool:
        with self._lock:
            if self._busy.total() >= MOST or self._busy[pk] >= MOST_EACH:
                return False
            self._busy[pk] += 1
            return True

    def _leave(self, pk: int) -> None:
        with self._lock:
            self._busy[pk] -= 1


def _add(row: Delivery, error: str, took_s: float) -> None:
    row.attempts = [*row.attempts, {"at": timezone.now().isoformat(), "took_ms": round(took_s * 1000), "error": error}]


def _give_up(row: Delivery, error: str) -> None:
    _add(row, error, 0.0)
    row.state, row.due_at = Delivery.State.FAILED, None
    row.save(update_fields=["state", "due_at", "attempts"])


outgoing = Outgoing()
