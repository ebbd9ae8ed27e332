"""The tasks: what they dispatch, and that nothing that fails now stops the next tick."""

from __future__ import annotations

import logging

import pytest
from django.db import OperationalError as DatabaseAway
from kombu.exceptions import OperationalError as BrokerAway

from marketdata import tasks
from marketdata.errors import BadFeedOptions, StoreUnavailable
from marketdata.outage import Outage
from marketdata.polling import Due


class Polling:
    """What the tasks use, and what they did with it."""

    def __init__(self) -> None:
        self.polled: list[str] = []
        self.error: Exception | None = None

    def due(self):
        if self.error:
            raise self.error
        return [Due("a", 0.5), Due("b", 60.0)]

    def poll(self, name):
        if self.error:
            raise self.error
        self.polled.append(name)


@pytest.fixture
def polling(monkeypatch):
    polling = Polling()
    monkeypatch.setattr(tasks, "_polling", lambda: polling)
    monkeypatch.setattr(tasks, "_outage", Outage("polling feeds", logging.getLogger("tasks")))
    return polling


@pytest.fixture
def sent(polling, monkeypatch):
    sent = []
    monkeypatch.setattr(tasks.poll_feed, "apply_async", lambda args, **options: sent.append((args, options)))
    return sent


def test_a_tick_has_each_due_feed_asked_within_its_interval(sent):
    tasks.publish_market_data()
    assert sent == [(("a",), {"expires": 0.5}), (("b",), {"expires": 60.0})]


def test_a_task_asks_its_feed(polling):
    tasks.poll_feed("a")
    assert polling.polled == ["a"]


@pytest.mark.parametrize("error", [StoreUnavailable("away"), DatabaseAway("away"), BadFeedOptions("away"), BrokerAway("away")])
def test_what_is_away_is_logged_once_until_it_is_back(polling, sent, caplog, error):
    caplog.set_level(logging.INFO)
    polling.error = error
    for _ in range(2):
        tasks.publish_market_data()
        tasks.poll_feed("a")
    polling.error = None
    tasks.publish_market_data()
    assert [record.message for record in caplog.records] == ["polling feeds: away", "polling feeds: works again after 4 failures"]


def test_polling_is_made_once_for_all_threads(monkeypatch):
    made = []
    monkeypatch.setattr(tasks, "ensure_feeds", lambda: None)
    monkeypatch.setattr(tasks, "Polling", lambda store: made.append(store) or "polling")
    tasks._make_polling.cache_clear()
    assert tasks._polling() == tasks._polling() == "polling"
    assert len(made) == 1
    tasks._make_polling.cache_clear()
