"""How alerting itself stands, in Redis: when rules were last evaluated, what fires, what could not be delivered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import redis

from monitoring.alerts import ROUND_S
from monitoring.samples import Sample, by_label, sample

SEVERITIES = ("critical", "warning", "info")
BREAK_S = 2 * ROUND_S  # without an evaluation


class Standing(msgspec.Struct, frozen=True):
    """After the last evaluation.

    Attributes:
        at: wall clock, seconds.
        firing: how many alerts, by severity.
        undelivered: messages that failed, and wait or were given up.
        since: evaluated without a break since then.
    """

    at: float
    firing: dict[str, int] = {}
    undelivered: int = 0
    since: float = 0.0


def standing_key(prefix: str) -> str:
    """Where it is noted."""
    return f"{prefix}:alerts"


def note_standing(client: redis.Redis, prefix: str, standing: Standing) -> None:
    """Note it."""
    client.set(standing_key(prefix), msgspec.json.encode(standing))


def read_standing(noted: Any) -> Standing | None:
    """What is noted there; None: nothing yet."""
    return msgspec.json.decode(noted, type=Standing) if noted else None


def watched_since(standing: Standing | None, now: float) -> float:
    """Since when the installation is watched without a break; now, if it was not just before. While Redis was away, or everything
    was off, nobody could say anything: who said nothing then was not silent.
    """
    return now if standing is None or now - standing.at > BREAK_S else standing.since


def alert_samples(standing: Standing | None, now: float) -> Iterator[Sample]:
    """The same as samples of the installation. `now` is of the wall clock, seconds."""
    if standing is not None:
        yield sample("tickwire_alerts_age_seconds", max(0.0, now - standing.at))
        yield sample("tickwire_undelivered_notifications", standing.undelivered)
        yield from by_label("tickwire_alerts_firing", "severity", ((name, standing.firing.get(name, 0)) for name in SEVERITIES))
