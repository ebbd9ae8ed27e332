"""Polled feeds on real Redis: each moment is asked about once, whoever asks."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from django.db import OperationalError

import marketdata.feeds.simulated  # noqa: F401 -- registers the kind of ENTRY
from marketdata import polling
from marketdata.bars import BarWriter
from marketdata.errors import BadFeedOptions, FeedError, StoreUnavailable
from marketdata.feed_status import feed_statuses
from marketdata.feeds import FeedSettings
from marketdata.ingest import Ingest
from marketdata.layout import Layout
from marketdata.polling import Asked, Polling
from marketdata.roster import Entry
from marketdata.store import Store, now_us
from marketdata.ticks import Trade
from tests.unit.ingest_parts import FixedInstruments, instrument

BEAT_US = 10_000
ENTRY = Entry("fast", "demo-cn", FeedSettings())


class Beats:
    """A feed with one trade every `BEAT_US`, numbered by its time."""

    name = "beats"
    simulated = True

    def __init__(self, interval_s: float = 0.03) -> None:
        self.interval_s = interval_s
        self.asked: list[tuple[int, int]] = []
        self.failures: list[Exception] = []

    def listings(self):
        return []

    def poll(self, now_us: int, since_us: int):
        self.asked.append((since_us, now_us))
        if self.failures:
            raise self.failures.pop()
        return [Trade("X", n * BEAT_US, str(n), "1", "1") for n in range(since_us // BEAT_US + 1, now_us // BEAT_US + 1)]


@pytest.fixture
def store(redis_url, prefix):
    store = Store(redis_url, Layout(prefix, history=100_000))
    yield store
    store.close()


@pytest.fixture(autouse=True)
def roster_at_once_and_no_database(monkeypatch):
    monkeypatch.setattr(polling, "ROSTER_AGE_S", 0.0)
    monkeypatch.setattr(polling, "Ingest", partial(Ingest, writer=BarWriter([].extend)))


class Desk:
    """The roster, the feeds by name, and workers that use them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.entries = [ENTRY]
        self.feeds = {"fast": Beats()}
        self.made = Counter()
        self.database_error: Exception | None = None

    @property
    def feed(self) -> Beats:
        return self.feeds["fast"]

    def worker(self) -> Polling:
        return Polling(self.store, self.roster, self.make, FixedInstruments(instrument("X")))

    def roster(self):
        if self.database_error:
            raise self.database_error
        return list(self.entries)

    def make(self, entry, store):
        self.made[entry.name] += 1
        if "bad" in entry.settings.options:
            raise BadFeedOptions("bad: no such option")
        return self.feeds[entry.name]

    def published(self) -> list[int]:
        bodies = [update.body for update in self.store.history("trade.X", limit=100_000).updates]
        return [int(body.split(b'"id":"')[1].split(b'"')[0]) for body in bodies]


@pytest.fixture
def desk(store):
    return Desk(store)


@pytest.fixture
def worker(desk):
    return desk.worker()


def poll_when_due(worker: Polling, name: str = "fast") -> int | None:
    deadline = time.monotonic() + 5
    while name not in [due.name for due in worker.due()]:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return worker.poll(name)


def test_a_due_feed_is_asked_and_its_ticks_are_published(desk, worker):
    accepted = poll_when_due(worker)
    assert accepted == len(desk.published()) > 0


def test_each_poll_goes_on_where_the_last_ended(desk, worker):
    for _ in range(5):
        poll_when_due(worker)
    asked = desk.feed.asked
    assert all(now == since for (_, now), (since, _) in itertools.pairwise(asked))


def test_a_feed_that_is_not_due_is_not_asked(desk, worker):
    desk.feed.interval_s = 30
    while now_us() % 30_000_000 > 29_000_000:
        time.sleep(0.1)  # no boundary between the two polls
    worker.poll("fast")
    assert worker.due() == []
    assert worker.poll("fast") is None
    assert len(desk.feed.asked) == 1


def test_an_unknown_feed_is_not_asked(worker):
    assert worker.poll("nobody") is None


def test_many_workers_publish_everything_once(desk):
    ends = time.monotonic() + 1.0

    def work(worker: Polling) -> int:
        accepted = 0
        while time.monotonic() < ends:
            for due in worker.due():
                accepted += worker.poll(due.name) or 0
            time.sleep(0.001)
        return accepted

    workers = [desk.worker() for _ in range(2)]
    with ThreadPoolExecutor(6) as pool:
        accepted = sum(pool.map(work, workers * 3))
    ids = desk.published()
    assert ids == list(range(ids[0], ids[-1] + 1))
    assert accepted == len(ids)


def test_only_one_asks_at_a_time(desk, worker):
    inside, leave = threading.Event(), threading.Event()
    poll = desk.feed.poll

    def slow(now_us, since_us):
        inside.set()
        assert leave.wait(5)
        return poll(now_us, since_us)

    desk.feed.poll = slow
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(worker.poll, "fast")
        assert inside.wait(5)
        assert desk.worker().poll("fast") is None
        leave.set()
        assert first.result(5) > 0


def test_a_poll_that_outlived_its_lease_publishes_nothing(desk, worker, monkeypatch):
    monkeypatch.setattr(polling, "LEASE_MS", 20)
    poll = desk.feed.poll
    desk.feed.poll = lambda now_us, since_us: time.sleep(0.05) or poll(now_us, since_us)
    assert worker.poll("fast") is None
    assert desk.published() == []


def test_the_time_of_a_failed_poll_is_left_to_the_next(desk, worker):
    poll_when_due(worker)
    desk.feed.failures = [FeedError("venue is down")]
    assert poll_when_due(worker) is None
    assert poll_when_due(worker) > 0
    (_, first), (failed, _), (again, _) = desk.feed.asked
    assert first == failed == again


@pytest.mark.parametrize("error", [FeedError("venue is down"), ConnectionResetError("venue is down"), KeyError("venue is down")])
def test_a_failing_feed_is_counted_logged_once_and_asked_again(desk, worker, store, caplog, error):
    desk.feed.failures = [error] * 3
    for _ in range(3):
        poll_when_due(worker)
    status = feed_statuses(store)[0]
    assert (status.connected, status.failures) == (False, 3)
    assert "venue is down" in status.last_error
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    poll_when_due(worker)
    status = feed_statuses(store)[0]
    assert (status.connected, status.failures) == (True, 3)


def test_a_poll_that_could_not_be_published_is_noted_as_a_failure_and_made_up_for(desk, worker, store, monkeypatch):
    def unavailable(*_):
        raise StoreUnavailable("Redis: gone")

    with monkeypatch.context() as patch:
        patch.setattr(desk.store, "publish", unavailable)
        with pytest.raises(StoreUnavailable):
            poll_when_due(worker)
    status = feed_statuses(store)[0]
    assert (status.connected, status.failures, status.last_error) == (False, 1, "Redis: gone")
    poll_when_due(worker)
    (first, _), (again, _) = desk.feed.asked
    assert first == again
    assert feed_statuses(store)[0].connected


def test_a_failing_feed_does_not_disturb_another(desk, worker):
    desk.feeds["other"] = Beats()
    desk.entries.append(replace(ENTRY, name="other"))
    desk.feed.failures = [FeedError("venue is down")]
    assert poll_when_due(worker, "fast") is None
    assert poll_when_due(worker, "other") > 0


def test_status_counts_over_all_workers(desk, store):
    accepted = [poll_when_due(desk.worker()) for _ in range(3)]
    status = feed_statuses(store)[0]
    assert status.polled
    assert status.ticks == sum(accepted)
    assert status.last_event_us == desk.published()[-1] * BEAT_US


def test_a_feed_switched_off_by_the_operator_is_no_longer_asked(desk, worker):
    poll_when_due(worker)
    desk.entries.clear()
    assert worker.due() == []
    assert worker.poll("fast") is None


def test_an_edited_feed_is_made_anew_and_only_that(desk, worker):
    desk.feeds["other"] = Beats()
    desk.entries.append(replace(ENTRY, name="other"))
    worker.due()
    desk.entries[0] = replace(ENTRY, settings=FeedSettings(options={"seed": 8}))
    worker.due()
    assert desk.made == {"fast": 2, "other": 1}


def test_a_feed_with_bad_options_is_named_once_and_the_others_run(desk, worker, caplog):
    desk.entries.append(replace(ENTRY, name="wrong", settings=FeedSettings(options={"bad": 1})))
    for _ in range(3):
        worker.due()
    assert [record.message for record in caplog.records] == ["feed wrong: bad: no such option"]
    assert poll_when_due(worker) > 0


def test_the_roster_is_read_at_most_every_two_seconds(desk, monkeypatch):
    monkeypatch.setattr(polling, "ROSTER_AGE_S", 2.0)
    worker = desk.worker()
    worker.due()
    desk.database_error = AssertionError("read again")
    worker.due()
    worker.poll("fast")


def test_polling_goes_on_while_the_database_is_away(desk, worker, caplog):
    caplog.set_level(logging.INFO)
    worker.due()
    desk.database_error = OperationalError("database is locked")
    assert poll_when_due(worker) > 0
    desk.database_error = None
    worker.due()
    away, back = [record.message for record in caplog.records]
    assert "database is locked" in away
    assert "works again" in back


def test_without_redis_it_says_so(tmp_path, desk):
    desk.store = Store(f"unix://{tmp_path}/none.sock", Layout("x"))
    worker = desk.worker()
    with pytest.raises(StoreUnavailable):
        worker.due()
    with pytest.raises(StoreUnavailable):
        worker.poll("fast")


def test_a_feed_that_was_never_asked_is_due_and_an_interval_behind():
    assert Asked.read("", 1_000, 400) == (1_000, 600)


def test_next_due_time_is_the_next_multiple_of_the_interval():
    assert Asked(0, 0).next(1_050, 400, good=True) == "1200 1050"
    assert Asked.read("1200 1050", 1_060, 400) == (1200, 1050)


def test_a_shortened_interval_acts_at_once():
    assert Asked.read("3600000 900", 1_000, 400) == (1_000, 900)


def test_a_clock_that_was_set_back_does_not_silence_a_feed():
    assert Asked.read("900000 899000", 1_000, 400) == (1_000, 600)
    assert Asked.read("1200 900", 1_000, 400) == (1_200, 900)
