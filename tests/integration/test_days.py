"""1d bars as clients see them, on real Redis and a database."""

from __future__ import annotations

import pytest

from marketdata import bars, days
from marketdata.layout import Layout
from marketdata.store import Store, Update, now_us
from marketdata.ticks import body
from tests.unit.demo_parts import day_bar
from tests.unit.ingest_parts import NOW


@pytest.fixture
def store(redis_url, prefix, monkeypatch):
    store = Store(redis_url, Layout(prefix))
    monkeypatch.setattr(days, "_store", lambda: store)
    yield store
    store.close()


def publish(store, *klines):
    store.publish([Update(str(kline.topic), body(kline)) for kline in klines])


def test_the_newest_bars_published_since_a_moment(store):
    began = now_us()
    publish(store, day_bar("X", close="1"), day_bar("X", close="2"))
    assert days.bars(["X", "NONE"], began - 1) == [day_bar("X", close="2")]
    assert days.bars(["X"], now_us()) == []


@pytest.mark.django_db
def test_the_previous_close_comes_from_the_bars_at_rest_or_the_store(store):
    assert days.previous_close("X", NOW) is None
    bars.save([day_bar("X", close="5", days=-2, closed=True)])
    assert days.previous_close("X", NOW) == "5"
    publish(store, day_bar("X", close="6", days=-1, closed=True), day_bar("X", close="7"))
    assert days.previous_close("X", NOW) == "6"
