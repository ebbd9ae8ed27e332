"""Polled feeds through Celery: real workers, real beats, each tick once."""

from __future__ import annotations

import json
import signal

import pytest

from marketdata.topics import Interval
from tests.integration.processes import Copy, migrate, until

WORKER = ("worker", "--pool", "threads", "--concurrency", "4", "--loglevel", "INFO", "--without-gossip", "--without-mingle")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    return migrate(tmp_path_factory.mktemp("migrated"))


@pytest.fixture
def copy(tmp_path, migrated, redis_url, prefix):
    copy = Copy(tmp_path, migrated, redis_url, prefix)
    yield copy
    copy.close()


def trade_ids(copy, symbol) -> list[int]:
    return [int(json.loads(update.body)["id"]) for update in copy.store.history(f"trade.{symbol}").updates]


def test_a_shares_and_tickers_come_by_way_of_celery(copy):
    worker, beat = copy.celery(*WORKER), copy.celery("beat")
    until(lambda: copy.seq("quote.600519.SH") and copy.seq("depth.000001.SZ") and copy.seq("kline.1m.000001.SZ"))
    until(lambda: copy.seq("ticker.000001.SZ") >= 3)
    ticker, day = (json.loads(copy.latest(f"{topic}.000001.SZ").body) for topic in ("ticker", f"kline.{Interval.D1}"))
    assert ticker["open"] == day["open"]
    assert {name: status.polled for name, status in copy.statuses().items()} == {"demo-cn": True, "demo-tickers": True}
    for run in (beat, worker):
        run.process.send_signal(signal.SIGTERM)
    assert [run.end() for run in (beat, worker)] == [0, 0]
    assert "Traceback" not in worker.output + beat.output


def test_two_workers_and_two_beats_publish_each_trade_once(copy):
    for _ in range(2):
        copy.celery(*WORKER)
        copy.celery("beat")
    until(lambda: copy.seq("trade.000001.SZ") + copy.seq("trade.600519.SH") > 40, 60)
    for symbol in ("000001.SZ", "600519.SH"):
        ids = trade_ids(copy, symbol)
        assert ids == sorted(set(ids))


def test_keys_in_redis_begin_with_the_prefix(copy, prefix):
    copy.celery(*WORKER)
    copy.celery("beat")
    before = set(copy.store.client.keys("*"))
    until(lambda: copy.seq("quote.600519.SH"))
    strays = [key for key in set(copy.store.client.keys("*")) - before if not key.startswith(prefix.encode())]
    assert strays == []
