"""The overview's series in the database: seconds for an hour, minutes for thirty days, each row all series of one moment.

Rules of this file:
1. Rows are written in bulk, and writing one again changes nothing: two writers for a moment do no harm.
2. What is old goes: an hour of seconds and thirty days of minutes are 46,800 rows at most, some 25 MB.
3. A minute is made of the seconds that were seen; of one without any there is no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from django.db.models import Max

from monitoring.models import Rollup
from monitoring.overview import SERIES, Values

SECOND, MINUTE = 1, 60
KEPT_S = {SECOND: 3600, MINUTE: 30 * 86_400}
MOST_PRUNED = 5000  # rows in one go
DIGITS = 6  # behind the point: a microsecond


class Moment(NamedTuple):
    """All series over one stretch that begins at `at`, seconds since the Unix epoch."""

    at: int
    values: Mapping[str, float | None]


def combined(values: Sequence[Mapping[str, float | None]]) -> Values:
    """One set of values for many: by their mean, or their maximum, as the series has it. What is not known does not count."""
    found: Values = {}
    for name, series in SERIES.items():
        known = [value for each in values if (value := each.get(name)) is not None]
        whole = max(known, default=None) if series.over == "max" else sum(known) / len(known) if known else None
        found[name] = None if whole is None else round(whole, DIGITS)
    return found


def stretched(moments: Iterable[Moment], step_s: int) -> list[Moment]:
    """Moments in order as longer ones, each beginning at a multiple of `step_s`."""
    return [
        Moment(at, combined([each.values for each in some]))
        for at, some in groupby(moments, lambda each: each.at // step_s * step_s)
    ]


def save(step_s: int, moments: Iterable[Moment]) -> None:
    """Write moments; those that are there stay as they are."""
    rows = [Rollup(step_s=step_s, at=at, values=_kept(values)) for at, values in moments]
    Rollup.objects.bulk_create(rows, ignore_conflicts=True)


def _kept(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in values.items() if value is not None}


def load(step_s: int, first: int, last: int) -> list[Moment]:
    """Moments that begin in first … last, seconds since the Unix epoch, in order."""
    rows: Any = Rollup.objects.filter(step_s=step_s, at__range=(first, last)).order_by("at").values_list("at", "values")
    return [Moment(at, values) for at, values in rows.iterator(2000)]


def roll_up(now_s: int) -> int:
    """Make the minutes that are over and not made yet. Returns how many."""
    newest = Rollup.objects.filter(step_s=MINUTE).aggregate(at=Max("at"))["at"]
    oldest = now_s - KEPT_S[SECOND]
    first = max(oldest, newest + MINUTE) if newest is not None and newest <= now_s else oldest
    minutes = stretched(load(SECOND, first, now_s // MINUTE * MINUTE - 1), MINUTE)
    save(MINUTE, minutes)
    return len(minutes)


def prune(now_s: int) -> int:
    """Delete what is older than it is kept for, the oldest first. Returns how many; `MOST_PRUNED` at most of each kind."""
    deleted = 0
    for step_s, kept_s in KEPT_S.items():
        old = Rollup.objects.filter(step_s=step_s, at__lt=now_s - kept_s).order_by("at").values_list("pk", flat=True)
        deleted += Rollup.objects.filter(pk__in=list(old[:MOST_PRUNED])).delete()[0]
    return deleted
