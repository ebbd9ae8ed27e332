"""How alerting itself stands, in Redis: when rules were last evaluated, what fires, what could not be delivered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import redis

from monitoring.samples import Sample, by_label, sample

SEVERITIES = ("critical", "warning", "info")


class Standing(msgspec.Struct, frozen=True):
    """After the last evaluation.

    Attributes:
        at: wall clock, seconds.
        firing: how many alerts, by severity.
        undelivered: messages that failed, and wait or were given up.
    """

    at: float
    firing: dict[str, int] = {}
    undelivered: int = 0


def standing_key(prefix: str) -> str:
    """Where it is noted."""
    return f"{prefix}:alerts"


def note_standing(client: redis.Redis, prefix: str, standing: Standing) -> None:
    """Note it."""
    client.set(standing_key(prefix), msgspec.json.encode(standing))


def read_standing(noted: Any) -> Standing | None:
    """What is noted there; None: nothing yet."""
    return msgspec.json.decode(noted, type=Standing) if noted else None


def alert_samples(noted: Any, now: float) -> Iterator[Sample]:
    """The same as samples of the installation.

    Args:
        noted: what Redis keeps under `standing_key`.
        now: wall clock, seconds.
    """
    if (standing := read_standing(noted)) is not None:
        yield sample("tickwire_alerts_age_seconds", max(0.0, now - standing.at))
        yield sample("tickwire_undelivered_notifications", standing.undelivered)
        yield from by_label("tickwire_alerts_firing", "severity", ((name, standing.firing.get(name, 0)) for name in SEVERITIES))
