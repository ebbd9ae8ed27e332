"""What is measured once for the whole installation, whichever process asks: feeds, Celery, which processes there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import redis
from django.conf import settings

from marketdata import dial
from marketdata.feed_status import FeedStatus, noted_statuses
from marketdata.redis_errors import reachable
from marketdata.store import Store, now_us
from monitoring import reports
from monitoring.reports import Report
from monitoring.samples import Sample, by_label, sample
from monitoring.silence import FORGOTTEN_US, feed_silence
from monitoring.standings import Standing, alert_samples, read_standing, standing_key, watched_since

ROLES = ("web", "feed", "worker", "beat")
BROKER_S = 1.0  # for a broker apart from the bus
QUEUE = "marketdata"  # Celery's, see project/celery.py


class Snapshot:
    """Everything that is known of the installation at one moment: two round trips to Redis, one more to a broker of its own.

    Attributes:
        reports: of all processes.
        samples: of the installation.
        standing: how alerting stood after the last evaluation; None: there was none.
        taken_us: wall clock.
    """

    def __init__(self, found: Sequence[Report], samples: Sequence[Sample], standing: Standing | None = None) -> None:
        self.reports = list(found)
        self.samples = list(samples)
        self.standing = standing
        self.taken_us = now_us()

    @classmethod
    def take(cls, store: Store) -> Snapshot:
        """Ask Redis.

        Raises:
            StoreUnavailable: it does not answer.
        """
        feeds = noted_statuses(store)
        client, prefix = store.client, store.layout.prefix
        pipe: Any = client.pipeline(transaction=False)
        pipe.eval(*reports.question(prefix))
        pipe.get(beat_key(prefix))
        pipe.get(standing_key(prefix))
        pipe.llen(_queue(prefix))
        with reachable(client):
            answer, beat, noted, depth = pipe.execute()
        depth = depth if (broker := _broker()) is None else _waiting(broker, prefix)
        found, now, standing = reports.read(answer), now_us(), read_standing(noted)
        watched_us = round(watched_since(standing, now / 1e6) * 1e6)
        of_feeds = [*_feeds(feeds, now), *feed_silence(feeds, now, watched_us)]
        samples = [*of_feeds, *_celery(beat, depth), *_processes(found), *alert_samples(standing, now / 1e6)]
        return cls(found, samples, standing)


def _queue(prefix: str) -> str:
    return f"{prefix}:celery:{QUEUE}"


@cache
def _broker() -> redis.Redis | None:
    """Celery's broker, where that is not the bus's Redis."""
    url = settings.TICKWIRE.bus.broker_url
    return dial.client(url, BROKER_S) if url else None


def _waiting(broker: redis.Redis, prefix: str) -> int | None:
    """How many tasks wait there; None: it does not answer, and nobody knows."""
    try:
        return broker.llen(_queue(prefix))
    except (redis.RedisError, OSError):
        return None


def beat_key(prefix: str) -> str:
    """Where Celery's worker notes when beat's last tick was carried out, µs."""
    return f"{prefix}:beat"


def note_beat(client: redis.Redis, prefix: str) -> None:
    """Note that a tick of beat is being carried out."""
    client.set(beat_key(prefix), now_us())


def _feeds(feeds: Sequence[FeedStatus], now: int) -> Iterator[Sample]:
    """Of each feed by its last note: one whose process died is down, and grows older."""
    for feed in (each for each in feeds if now - each.good_until_us < FORGOTTEN_US):
        label = {"feed": feed.name}
        yield sample("tickwire_feed_up", feed.healthy and now < feed.good_until_us, **label)
        if feed.last_event_us is not None:
            yield sample("tickwire_feed_last_event_age_seconds", max(0, now - feed.last_event_us) / 1e6, **label)
        yield sample("tickwire_feed_ticks_total", feed.ticks, **label)
        yield sample("tickwire_feed_rejected_total", feed.rejected, **label)
        yield sample("tickwire_feed_lost_total", feed.lost, **label)
        yield sample("tickwire_feed_reconnects_total", feed.failures, **label)
        yield sample("tickwire_feed_waiting", feed.waiting + feed.buffered, **label)


def _celery(beat: bytes | None, depth: int | None) -> Iterator[Sample]:
    if beat is not None:
        yield sample("tickwire_beat_age_seconds", max(0, now_us() - int(beat)) / 1e6)
    if depth is not None:
        yield sample("tickwire_queue_depth", depth)


def _processes(found: Sequence[Report]) -> list[Sample]:
    counts = Counter(report.role for report in found)
    return by_label("tickwire_processes", "role", ((role, counts[role]) for role in ROLES))
