"""What a principal may do: plans, admission, rates, entitlements."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import msgspec

from marketdata.database import answering
from marketdata.errors import DatabaseUnavailable
from marketdata.topics import DataType
from realtime.codes import Code
from realtime.models import ConnectionPolicy, Plan, all_types
from realtime.remembered import Remembered

if TYPE_CHECKING:
    from django.apps.registry import Apps

ANONYMOUS = "anonymous"
CACHED_S = 2.0  # for how long a plan or a verified key is believed without asking the database

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


class Limits(msgspec.Struct, frozen=True):
    """The limits of one plan.

    Attributes:
        topics: most topics that one connection may follow.
        connections: most connections of one user; of an anonymous plan: of one address.
        max_rate: most updates per second per topic; None: every update.
        commands_per_second, command_burst: rate and size of the bucket that commands are taken from.
        data_types: what may be read at all.
        priority: under overload the lowest is refused first and let go first.
        requests_per_second, request_burst: the same of the bucket that REST requests are taken from.
        takes_over: one connection more takes the place of the oldest one, instead of being refused.
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

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The limits that a row states."""
        return cls(
            plan.topics_per_connection,
            plan.connections_per_user,
            plan.max_rate,
            plan.commands_per_second,
            plan.command_burst,
            frozenset(kind for kind in DataType if kind in plan.data_types),
            plan.priority,
            plan.requests_per_second,
            plan.request_burst,
            plan.connection_policy == ConnectionPolicy.TAKE_OVER,
        )

    def check_type(self, kind: DataType) -> Code | None:
        """Why the plan does not allow this data type; None: it does."""
        return None if kind in self.data_types else Code.INSUFFICIENT_PLAN

    def check_topics(self, total: int) -> Code | None:
        """Why one connection may not follow `total` topics; None: it may."""
        return None if total <= self.topics else Code.TOPIC_LIMIT_EXCEEDED

    def check_connections(self, total: int) -> Code | None:
        """Why `total` connections at once are too many; None: they are not."""
        return None if total <= self.connections else Code.CONNECTION_LIMIT_EXCEEDED

    def rate(self, asked: float | None) -> float | None:
        """The rate that is served when `asked` is wished for: the slower of the two; None: every update."""
        rates = [rate for rate in (asked, self.max_rate) if rate is not None]
        return min(rates, default=None)


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
    """Ask the database."""
    found = {plan.name: Limits.of(plan) for plan in Plan.objects.filter(enabled=True)}
    _plans.set("all", found)
    return found


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
