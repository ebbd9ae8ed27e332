"""What a principal may do: plans, admission, rates, entitlements."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import msgspec

from marketdata.database import answering
from marketdata.errors import DatabaseUnavailable
from marketdata.outage import Outage
from marketdata.topics import DataType
from realtime.models import ConnectionPolicy, Plan, all_types
from realtime.remembered import Remembered

if TYPE_CHECKING:
    from django.apps.registry import Apps

logger = logging.getLogger(__name__)

ANONYMOUS = "anonymous"
CACHED_S = 2.0  # for how long a plan or a verified key is believed without asking the database
SLOWEST = 0.01  # of a rate, a second: forms refuse less, and nobody divides by what SQL wrote

_BASIC = ["quote", "ticker", "kline", "trade"]
FIRST_PLANS: dict[str, dict[str, Any]] = {
    ANONYMOUS: {
        "topics_per_connection": 10, "connections_per_user": 5, "max_rate": 2,
        "commands_per_second": 5, "command_burst": 20, "data_types": _BASIC, "priority": 0,
        "requests_per_second": 10, "request_burst": 40,
    },
    "free": {
        "topics_per_connection": 50, "connections_per_user": 2, "max_rate": 5,
        "commands_per_second": 10, "command_burst": 40, "data_types": all_types(), "priority": 10,
        "requests_per_second": 20, "request_burst": 80,
    },
    "pro": {
        "topics_per_connection": 2000, "connections_per_user": 10, "max_rate": None,
        "commands_per_second": 50, "command_burst": 200, "data_types": all_types(), "priority": 20,
        "requests_per_second": 100, "request_burst": 400,
    },
    "dashboard": {
        "topics_per_connection": 200, "connections_per_user": 20, "max_rate": 10,
        "commands_per_second": 20, "command_burst": 80, "data_types": all_types(), "priority": 10,
        "requests_per_second": 40, "request_burst": 160,
    },
}  # fmt: skip


class UnreadableLimits(ValueError):
    """A row states what no form takes: code or SQL wrote it."""


class Limits(msgspec.Struct, frozen=True):
    """What a plan allows, with what is different for its user.

    Attributes:
        topics: most topics that one connection may follow.
        connections: most connections of one user; of an anonymous plan: of one address.
        max_rate: most updates per second per topic; None: every update.
        commands_per_second, command_burst: rate and size of the bucket that commands are taken from.
        data_types: what may be read at all.
        priority: under overload the lowest is refused first and let go first.
        requests_per_second, request_burst: the same of the bucket that REST requests are taken from.
        takes_over: one connection more takes the place of the oldest one, instead of being refused.
        symbols: which may be read: symbols, or patterns with * and ?; none: all.
        delay_seconds: nothing younger is shown.
        max_session_hours: a connection ends after that; None: never.
        bytes_per_second: sent to one connection on average; None: any number.
        dry_run: names (`models.ON_TRIAL`) of the limits that refuse nothing and are counted instead.
    """

    topics: int
    connections: int
    max_rate: float | None
    commands_per_second: float
    command_burst: int
    data_types: frozenset[DataType]
    priority: int = 0
    requests_per_second: float = 20.0
    request_burst: int = 80
    takes_over: bool = False
    symbols: tuple[str, ...] = ()
    delay_seconds: int = 0
    max_session_hours: float | None = None
    bytes_per_second: int | None = None
    dry_run: frozenset[str] = frozenset()

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The limits that a row states.

        Raises:
            UnreadableLimits: it states none.
        """
        return cls._read({name: getattr(plan, name) for name in _FIELDS}, {})

    def overridden(self, overrides: Mapping[str, Any]) -> Self:
        """These limits with what is different for one user: fields of a plan and their values.

        Raises:
            UnreadableLimits: these are none.
        """
        return self._read(overrides, msgspec.structs.asdict(self)) if overrides else self

    @classmethod
    def _read(cls, fields: Mapping[str, Any], others: dict[str, Any]) -> Self:
        try:
            values = {_FIELDS[name][0]: _FIELDS[name][1](value) for name, value in fields.items() if name in _FIELDS}
            return msgspec.convert(others | values, cls)
        except (AttributeError, TypeError, ValueError) as error:
            raise UnreadableLimits(str(error)) from error

    def covers(self, symbol: str) -> bool:
        """Whether a symbol is among those that may be read."""
        return not self.symbols or _is_among(symbol, self.symbols)

    def rate(self, asked: float | None) -> float | None:
        """The rate that is served when `asked` is wished for: the slower of the two; None: every update."""
        allowed = None if "max_rate" in self.dry_run else self.max_rate
        return min((rate for rate in (asked, allowed) if rate is not None), default=None)


def _same(value: Any) -> Any:
    return value


def _rate(value: Any) -> Any:
    return None if value is None else max(value, SLOWEST)


_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {  # of a plan: which limit it is, and how its value reads
    "topics_per_connection": ("topics", _same),
    "connections_per_user": ("connections", _same),
    "max_rate": ("max_rate", _rate),
    "commands_per_second": ("commands_per_second", _rate),
    "command_burst": ("command_burst", _same),
    "data_types": ("data_types", _same),
    "priority": ("priority", _same),
    "requests_per_second": ("requests_per_second", _rate),
    "request_burst": ("request_burst", _same),
    "connection_policy": ("takes_over", lambda policy: policy == ConnectionPolicy.TAKE_OVER),
    "symbols": ("symbols", _same),
    "delay_seconds": ("delay_seconds", _same),
    "max_session_hours": ("max_session_hours", _same),
    "bytes_per_second": ("bytes_per_second", _same),
    "dry_run": ("dry_run", _same),
}


@lru_cache(10_000)
def _is_among(symbol: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(symbol, pattern) for pattern in patterns)


class TokenBucket:
    """Lets `rate` things a second pass, and `burst` at once after a pause. Time comes from the caller.

    Args:
        rate: tokens per second.
        burst: most tokens that are saved up; also what there is at first.
        now: the caller's monotonic clock, seconds.
    """

    __slots__ = ("_tokens", "_updated", "burst", "rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = float(burst)
        self._updated = now

    def change(self, rate: float, burst: float) -> None:
        """Be a bucket of another rate and size from now on; what is in it stays, as far as it fits."""
        self.rate, self.burst = rate, burst
        self._tokens = min(self._tokens, float(burst))

    @property
    def left(self) -> float:
        """Tokens that were there after the last `take`."""
        return self._tokens

    def take(self, now: float, cost: float = 1.0) -> float:
        """Take `cost` tokens, or none at all.

        Returns:
            0.0 when they were taken, else the seconds until they could be.
        """
        self._tokens = min(self.burst, self._tokens + max(0.0, now - self._updated) * self.rate)
        self._updated = now
        if self._tokens >= cost:
            self._tokens -= cost
            return 0.0
        return (cost - self._tokens) / self.rate


_asking = Lock()
_plans: Remembered[dict[str, Limits]] = Remembered(CACHED_S)
_unreadable: dict[str, Outage] = {}


def named(name: str) -> Limits | None:
    """The limits of a plan, at most 2 s old; None when there is no such plan or it is disabled.

    While the database does not answer, or somebody asks it already, they are those that it last named.

    Raises:
        DatabaseUnavailable: it has named none yet.
    """
    found = _plans.get("all")
    return (_refreshed() if found is None else found).get(name)


def _refreshed() -> dict[str, Limits]:
    known = last_known()
    if not _asking.acquire(blocking=known is None):
        return known or {}
    try:
        with answering():
            return refresh()
    except DatabaseUnavailable:
        if known is None:
            raise
        return known
    finally:
        _asking.release()


def last_known() -> dict[str, Limits] | None:
    """The limits of all enabled plans by name, as the database last said; a serving process asks it every second."""
    return _plans.last("all")


def refresh() -> dict[str, Limits]:
    """Ask the database. A plan that cannot be read stays as it was."""
    known = last_known() or {}
    read = {plan.name: _read_plan(plan, known.get(plan.name)) for plan in Plan.objects.filter(enabled=True)}
    found = {name: limits for name, limits in read.items() if limits is not None}
    _plans.set("all", found)
    return found


def _read_plan(plan: Plan, known: Limits | None) -> Limits | None:
    outage = _unreadable.setdefault(plan.name, Outage(f"reading the plan {plan.name!r}", logger))
    try:
        limits = Limits.of(plan)
    except UnreadableLimits as error:
        outage.failed(error)
        return known
    outage.over()
    return limits


def forget_plans() -> None:
    """Ask the database again from now on."""
    _plans.clear()


def load_first_plans(apps: Apps) -> None:
    """Make the first plans where there is none at all: a plan that an operator removed does not come back."""
    try:
        plans = apps.get_model("realtime", "Plan")
    except LookupError:  # only some applications are being migrated, and this one is not yet
        return
    if not plans.objects.exists():
        plans.objects.bulk_create(plans(name=name, **values) for name, values in FIRST_PLANS.items())
