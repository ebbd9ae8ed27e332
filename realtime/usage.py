"""What users use, by API key and day: added up in memory, written to the database in bulk.

Rules of this file:
1. Adding is memory only, from any thread. Whatever the database does, neither a socket nor a request waits for it.
2. A row grows by what is written, whichever process writes it: nobody reads it before.
3. What waits is bounded; beyond that, what is new is lost, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import chain, islice
from threading import Lock
from typing import NamedTuple

from django.contrib.auth.models import User
from django.db import connection, transaction

from realtime.models import Usage
from realtime.principal import Principal

AMOUNTS = ("connections", "messages", "commands", "bytes", "requests")
MOST_WAITING = 50_000  # users, keys and days: some 20 MiB
MOST_ROWS = 1000  # in one statement: SQLite takes 32,766 parameters
MOST_PRUNED = 5000  # rows in one go
_KEY = ("user_id", "key", "day")


class Holder(NamedTuple):
    """Whose use it is; `key` is the prefix of the API key that was shown, empty without one."""

    user_id: int
    key: str


class Line(NamedTuple):
    """What one holder used on one day."""

    holder: Holder
    day: date
    amounts: tuple[int, ...]


def metered(principal: Principal | None) -> Holder | None:
    """Whose use is counted; None: visitors' is not."""
    if principal is None or principal.user_id is None:
        return None
    return Holder(principal.user_id, principal.key_prefix or "")


def today() -> date:
    """The day, UTC."""
    return datetime.now(UTC).date()


class Sums:
    """What this process has yet to write. Safe among threads.

    Args:
        most: holders and days that may wait.
        day: which one it is.

    Attributes:
        lost: how many additions there was no room for.
    """

    def __init__(self, most: int = MOST_WAITING, day: Callable[[], date] = today) -> None:
        self.most = most
        self.lost = 0
        self._day = day
        self._sums: dict[tuple[Holder, date], list[int]] = {}
        self._taken = 0  # in the hands of whoever writes them
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._sums) + self._taken

    def add(
        self, holder: Holder, *, connections: int = 0, messages: int = 0, commands: int = 0, bytes: int = 0, requests: int = 0
    ) -> None:
        """Add to what a holder used today."""
        with self._lock:
            self._add(holder, self._day(), (connections, messages, commands, bytes, requests))

    def _add(self, holder: Holder, day: date, amounts: Sequence[int]) -> None:
        sums = self._sums.get((holder, day))
        if sums is not None:
            sums[:] = map(int.__add__, sums, amounts)
        elif len(self) < self.most:
            self._sums[holder, day] = list(amounts)
        else:
            self.lost += 1

    def take(self, most: int = MOST_ROWS) -> list[Line]:
        """Give out what has waited longest; the caller says `done` about it, or `put_back`."""
        with self._lock:
            taken = [Line(*key, tuple(self._sums.pop(key))) for key in list(islice(self._sums, most))]
            self._taken += len(taken)
        return taken

    def done(self, lines: Sequence[Line]) -> None:
        """They are written."""
        with self._lock:
            self._taken -= len(lines)

    def put_back(self, lines: Sequence[Line]) -> None:
        """They could not be written, and wait on."""
        with self._lock:
            self._taken -= len(lines)
            for line in lines:
                self._add(*line)

    def forget(self) -> None:
        """Begin with nothing."""
        with self._lock:
            self._sums.clear()
            self.lost = 0


sums = Sums()


def save(lines: Sequence[Line]) -> None:
    """Add to what the database says was used; all of it, or nothing where this raises. Users that are gone are left out.

    Args:
        lines: `MOST_ROWS` at most; one statement.
    """
    with transaction.atomic():
        ids = {line.holder.user_id for line in lines}
        known = set(User.objects.filter(pk__in=ids).values_list("pk", flat=True))
        if kept := sorted(line for line in lines if line.holder.user_id in known):  # two who write at once lock in one order
            _upsert(kept)


def _upsert(lines: Sequence[Line]) -> None:
    # Written by hand because bulk_create cannot add to what is there. SQLite and PostgreSQL read it alike.
    table, columns = _quoted(Usage._meta.db_table), [_quoted(name) for name in (*_KEY, *AMOUNTS)]
    row = f"({', '.join(['%s'] * len(columns))})"
    sql = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * len(lines))} "  # noqa: S608
        f"ON CONFLICT ({', '.join(map(_quoted, _KEY))}) DO UPDATE SET "
        f"{', '.join(f'{name} = {table}.{name} + excluded.{name}' for name in map(_quoted, AMOUNTS))}"
    )
    rows: list[tuple[str | int | date, ...]] = [(*line.holder, line.day, *line.amounts) for line in lines]
    with connection.cursor() as cursor:
        cursor.execute(sql, list(chain.from_iterable(rows)))


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def prune(days: int, most: int = MOST_PRUNED) -> int:
    """Delete rows of days that are over for longer than so many days, the oldest first.

    Returns:
        How many; `most` where there may be more.
    """
    old = Usage.objects.filter(day__lt=today() - timedelta(days=days)).order_by("day").values_list("pk", flat=True)
    deleted, _ = Usage.objects.filter(pk__in=list(old[:most])).delete()
    return deleted
