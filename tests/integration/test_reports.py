"""What processes say of themselves, in a real Redis."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import redis

from marketdata.feed_status import FeedStatus, note_status
from marketdata.layout import Layout
from marketdata.store import Store, now_us
from monitoring import installation, reports
from monitoring.installation import Snapshot, note_beat
from monitoring.reports import Identity, Report
from monitoring.samples import Sample, sample


@pytest.fixture
def store(redis_url: str, prefix: str) -> Iterator[Store]:
    found = Store(redis_url, Layout(prefix))
    yield found
    found.close()


def write(store: Store, report: Report) -> None:
    with store.client.pipeline(transaction=False) as pipe:
        reports.write(pipe, store.layout.prefix, report)
        pipe.execute()


def named(name: str, role: str = "web") -> Report:
    return Identity(name, role, now_us()).report([sample("tickwire_connections", 2)], connections=2)


def values(snapshot: Snapshot) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {(each.name, each.labels): each.value for each in snapshot.samples}


def test_what_was_written_is_read_by_anybody(store: Store) -> None:
    write(store, named("b"))
    write(store, named("a", "feed"))
    found = Snapshot.take(store).reports
    assert [(report.role, report.name, report.value("tickwire_connections")) for report in found] == [
        ("feed", "a", 2), ("web", "b", 2),
    ]  # fmt: skip


def test_a_process_that_says_nothing_any_more_is_gone(store: Store) -> None:
    write(store, named("a"))
    store.client.pexpire(f"{store.layout.prefix}:report:a", 1)
    while store.client.exists(f"{store.layout.prefix}:report:a"):
        pass
    assert Snapshot.take(store).reports == []


def test_a_name_of_long_ago_is_forgotten(store: Store) -> None:
    write(store, msgspec.structs.replace(named("old"), at_us=now_us() - 120_000_000))
    write(store, named("new"))
    assert store.client.zrange(f"{store.layout.prefix}:reports", 0, -1) == [b"new"]


def test_a_report_that_cannot_be_read_hides_no_other(store: Store) -> None:
    write(store, named("a"))
    write(store, named("b"))
    store.client.set(f"{store.layout.prefix}:report:b", b"\xc1")
    assert [report.name for report in Snapshot.take(store).reports] == ["a"]


def test_reading_all_costs_two_round_trips_however_many_there_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        write(store, named(f"p{number}"))
    sent: list[object] = []
    send = redis.connection.AbstractConnection.send_packed_command

    def counted(self: object, command: object, *args: object, **kwargs: object) -> object:
        sent.append(command)
        return send(self, command, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", counted)
    assert len(Snapshot.take(store).reports) == 50
    assert len(sent) == 2


def test_feeds_beat_and_queue_are_measured_once(store: Store) -> None:
    now = now_us()
    status = FeedStatus(
        name="demo", kind="demo", polled=False, healthy=True, last_event_us=now - 3_000_000, good_until_us=now + 10**7
    )
    note_status(store, status)
    note_beat(store.client, store.layout.prefix)
    store.client.rpush(f"{store.layout.prefix}:celery:marketdata", "one", "two")
    found = values(Snapshot.take(store))
    assert found["tickwire_feed_up", (("feed", "demo"),)] == 1
    assert found["tickwire_feed_last_event_age_seconds", (("feed", "demo"),)] == pytest.approx(3, abs=2)
    assert found["tickwire_beat_age_seconds", ()] < 5
    assert found["tickwire_queue_depth", ()] == 2
    assert found["tickwire_processes", (("role", "beat"),)] == 0


def test_a_feed_whose_process_died_is_down_and_grows_older_for_an_hour(store: Store) -> None:
    now = now_us()
    for name, ago_s in (("dead", 60), ("long-dead", 4000)):
        at = now - ago_s * 1_000_000
        note_status(store, FeedStatus(name=name, kind="demo", polled=False, healthy=True, last_event_us=at, good_until_us=at))
    found = values(Snapshot.take(store))
    assert found["tickwire_feed_up", (("feed", "dead"),)] == 0
    assert found["tickwire_feed_last_event_age_seconds", (("feed", "dead"),)] == pytest.approx(60, abs=5)
    assert ("tickwire_feed_up", (("feed", "long-dead"),)) not in found


def test_a_feed_that_was_stopped_on_purpose_is_not_told_of(store: Store) -> None:
    note_status(store, FeedStatus(name="stopped", kind="demo", polled=False, healthy=True, last_event_us=now_us()))
    assert ("tickwire_feed_up", (("feed", "stopped"),)) not in values(Snapshot.take(store))


def test_before_the_first_beat_there_is_no_age(store: Store) -> None:
    assert Sample("tickwire_beat_age_seconds", (), 0.0).name not in {each.name for each in Snapshot.take(store).samples}


def test_a_queue_on_a_broker_of_its_own_is_counted_there(store: Store, redis_url: str, settings: Any) -> None:
    bus = dataclasses.replace(settings.TICKWIRE.bus, broker_url=f"{redis_url}?db=5")
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    installation._broker.cache_clear()
    broker = installation._broker()
    assert broker is not None
    broker.rpush(f"{store.layout.prefix}:celery:marketdata", "one", "two", "three")
    assert values(Snapshot.take(store))["tickwire_queue_depth", ()] == 3
    broker.close()
    installation._broker.cache_clear()


def test_of_a_broker_that_is_away_nothing_is_said(store: Store, settings: Any) -> None:
    bus = dataclasses.replace(settings.TICKWIRE.bus, broker_url="unix:///nowhere/redis.sock")
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    installation._broker.cache_clear()
    assert ("tickwire_queue_depth", ()) not in values(Snapshot.take(store))
    installation._broker.cache_clear()
