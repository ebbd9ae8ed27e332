"""Polled feeds through Celery: real workers, real beats, each tick once."""

from __future__ import annotations

import json
import os

import pytest

from tests.integration.processes import Copy, migrate, until

WORKER = ("worker", "--pool", "threads", "--concurrency", "4", "--loglevel", "INFO", "--without-gossip", "--without-mingle")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    return migrate(tmp_path_factory.mktemp("migrated"))


@pytest.fixture(scope="module")
def one(tmp_path_factory, migrated, redis_url):
    """One worker and one beat."""
    copy = Copy(tmp_path_factory.mktemp("one"), migrated, redis_url, f"celery{os.getpid()}")
    copy.celery(*WORKER)
    copy.celery("beat")
    yield copy
    copy.close()


@pytest.fixture
def copy(tmp_path, migrated, redis_url, prefix):
    copy = Copy(tmp_path, migrated, redis_url, prefix)
    yield copy
    copy.close()


def test_a_shares_come_by_way_of_celery(one):
    for topic in ("quote", "trade", "depth", "kline.1m", "ticker"):
        until(lambda topic=topic: one.seq(f"{topic}.600519.SH"))


def test_a_ticker_agrees_with_the_day_bar(one):
    ticker, day = (until(lambda topic=topic: one.latest(f"{topic}.000001.SZ")) for topic in ("ticker", "kline.1d"))
    assert json.loads(ticker.body)["open"] == json.loads(day.body)["open"]


def test_polled_feeds_say_what_they_do(one):
    statuses = until(lambda: len(found := one.statuses()) == 2 and found)
    assert {name: (status.polled, status.connected, status.failures) for name, status in statuses.items()} == {
        "demo-cn": (True, True, 0),
        "demo-tickers": (True, True, 0),
    }


def test_keys_in_redis_begin_with_the_prefix(one):
    until(lambda: one.seq("quote.600519.SH"))
    keys = [key.decode() for key in one.store.client.keys("*kombu*")]
    assert keys
    assert all(":celery:_kombu" in key for key in keys)


def test_two_workers_and_two_beats_publish_each_trade_once_and_stop_when_told_to(copy):
    runs = [copy.celery(*WORKER), copy.celery(*WORKER), copy.celery("beat"), copy.celery("beat")]
    until(lambda: copy.seq("trade.000001.SZ") + copy.seq("trade.600519.SH") > 30, 60)
    for symbol in ("000001.SZ", "600519.SH"):
        ids = [int(json.loads(update.body)["id"]) for update in copy.store.history(f"trade.{symbol}").updates]
        assert ids == sorted(set(ids))
    for run in runs:
        run.process.terminate()
    assert [run.end() for run in runs] == [0, 0, 0, 0]
    assert not [run.output for run in runs if "Traceback" in run.output]
