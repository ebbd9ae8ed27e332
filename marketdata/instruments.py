"""Read model of instruments: lookup by symbol, cached.

Whoever serves many lookups (hub, ingest, a view) calls `refresh_if_older` or `arefresh_if_older` now and then; nothing here
starts a thread or a timer of its own. An operator's edit acts once the owner has refreshed.

The table is read only when its mark (how many rows, how many of them active, when the last was saved) has changed: a thread that
reads thousands of rows every two seconds holds the interpreter, and every frame waits for it.
"""

from __future__ import annotations

import time as clock
from collections.abc import Collection, Iterable
from datetime import datetime, time
from functools import cache, lru_cache
from typing import NamedTuple, Self
from zoneinfo import ZoneInfo

import msgspec
from channels.db import database_sync_to_async
from django.core.exceptions import ValidationError
from django.db.models import Count, Max, Q

from marketdata import models
from marketdata.errors import FeedError
from marketdata.feeds import Listing
from marketdata.klines import DAY_ZONES


class Session(NamedTuple):
    """Opening hours of a venue, Monday to Friday, by its own clock. Holidays are not known: on one, it counts as open."""

    zone: ZoneInfo
    hours: tuple[tuple[time, time], ...]


READ_ANYWAY_S = 60.0  # a change that leaves no mark, such as a bulk update of names, acts after so long

SESSIONS: dict[str, Session | None] = {
    "always": None,
    "us": Session(ZoneInfo(DAY_ZONES["us"]), ((time(9, 30), time(16)),)),
    "cn": Session(ZoneInfo(DAY_ZONES["cn"]), ((time(9, 30), time(11, 30)), (time(13), time(15)))),
}


def is_open(session: str, ts_us: int) -> bool:
    """Whether an instrument of that session trades at an instant, in µs since the Unix epoch."""
    return _is_open_in(session, ts_us // 60_000_000)


@lru_cache(maxsize=1024)
def _is_open_in(session: str, minute: int) -> bool:
    """Sessions begin and end with a minute."""
    found = SESSIONS[session]
    if found is None:
        return True
    local = datetime.fromtimestamp(minute * 60, found.zone)
    return local.weekday() < 5 and any(opens <= local.time() < closes for opens, closes in found.hours)


def open_since(session: str, ts_us: int) -> int | None:
    """When the trading hours began that an instant lies in, in µs; 0: they never do; None: nothing trades then."""
    found = SESSIONS[session]
    if found is None:
        return 0
    local = datetime.fromtimestamp(ts_us / 1e6, found.zone)
    begun = [opens for opens, closes in found.hours if local.weekday() < 5 and opens <= local.time() < closes]
    return round(datetime.combine(local.date(), begun[0], found.zone).timestamp() * 1e6) if begun else None


class Instrument(msgspec.Struct, frozen=True):
    """One row of `marketdata.models.Instrument`, in flight."""

    symbol: str
    name: str
    kind: str
    venue: str
    currency: str
    price_decimals: int
    size_decimals: int
    session: str
    simulated: bool
    active: bool
    updated_at: datetime


class Mark(NamedTuple):
    """What tells that the table has changed."""

    rows: int
    active: int
    saved_at: datetime | None

    @classmethod
    def of(cls, instruments: Collection[Instrument]) -> Self:
        """The mark of a table with these rows."""
        saved_at = max((one.updated_at for one in instruments), default=None)
        return cls(len(instruments), sum(one.active for one in instruments), saved_at)

    @classmethod
    def of_table(cls) -> Self:
        """The table's mark now: one query."""
        active = Count("pk", filter=Q(active=True))
        return cls(**models.Instrument.objects.aggregate(rows=Count("pk"), active=active, saved_at=Max("updated_at")))


class Instruments:
    """All instruments as of the last refresh; the first lookup makes the first refresh.

    Attributes:
        version: grows whenever a refresh found something changed.
    """

    def __init__(self) -> None:
        self.version = 0
        self._known: dict[str, Instrument] | None = None
        self._active: dict[str, Instrument] = {}
        self._mark: Mark | None = None
        self._read_at = self._looked_at = 0.0  # monotonic seconds

    def get(self, symbol: str) -> Instrument | None:
        """The active instrument of that symbol."""
        if self._known is None:
            self.refresh()
        return self._active.get(symbol)

    def find(self, symbol: str) -> Instrument | None:
        """The instrument of that symbol, active or not."""
        if self._known is None:
            self.refresh()
        return (self._known or {}).get(symbol)

    def all(self) -> list[Instrument]:
        """The active instruments, by symbol."""
        if self._known is None:
            self.refresh()
        return list(self._active.values())

    def refresh(self) -> None:
        """Look at the table's mark, and read the table if that has changed."""
        due = self._known is None or clock.monotonic() - self._read_at > READ_ANYWAY_S
        if due or self._mark != Mark.of_table():
            rows = models.Instrument.objects.order_by("symbol").values_list(*Instrument.__struct_fields__)
            self._take({row[0]: Instrument(*row) for row in rows})
        self._looked_at = clock.monotonic()

    def _take(self, known: dict[str, Instrument]) -> None:
        if known != self._known:
            self._known = known
            self._active = {symbol: instrument for symbol, instrument in known.items() if instrument.active}
            self.version += 1
        self._mark, self._read_at = Mark.of(known.values()), clock.monotonic()
        self._looked_at = self._read_at

    async def arefresh(self) -> None:
        """Refresh from asynchronous code."""
        await database_sync_to_async(self.refresh)()

    @property
    def loaded(self) -> bool:
        """Whether there was a refresh."""
        return self._known is not None

    def is_older(self, seconds: float) -> bool:
        """Whether the last refresh was longer ago than that, or never was."""
        return self._known is None or clock.monotonic() - self._looked_at > seconds

    def refresh_if_older(self, seconds: float) -> None:
        """Refresh unless that was done within the last `seconds`."""
        if self.is_older(seconds):
            self.refresh()

    async def arefresh_if_older(self, seconds: float) -> None:
        """Refresh from asynchronous code unless that was done within the last `seconds`."""
        if self.is_older(seconds):
            await self.arefresh()


@cache
def instruments() -> Instruments:
    """The process's one read model."""
    return Instruments()


def list_instruments(listings: Iterable[Listing]) -> None:
    """Make the missing rows for a feed's listings; what is there, perhaps edited by an operator, stays as it is.

    Raises:
        FeedError: a listing that no row can be made of.
    """
    rows = [
        models.Instrument(
            symbol=listing.symbol,
            name=listing.name,
            kind=listing.kind,
            venue=listing.venue,
            currency=listing.currency,
            price_decimals=listing.price_decimals,
            size_decimals=listing.size_decimals,
            session=listing.session,
            simulated=listing.simulated,
        )
        for listing in listings
    ]
    for row in rows:
        try:
            row.clean_fields()
        except ValidationError as error:
            raise FeedError(f"listing {row.symbol!r}: {'; '.join(error.messages)}") from None
    models.Instrument.objects.bulk_create(rows, ignore_conflicts=True)
