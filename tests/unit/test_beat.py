"""Beat ticks: sent while somebody takes them, otherwise dropped, and said so once."""

from __future__ import annotations

import logging

import pytest
from celery import Celery

from project import celery
from project.beat import MOST_WAITING, Scheduler


@pytest.fixture
def app(request):
    app = Celery("beat", broker=f"memory://{request.node.name}", set_as_current=False)
    app.conf.update(
        task_default_queue=request.node.name, result_backend=None, beat_schedule={"tick": {"task": "t", "schedule": 0.25}}
    )
    return app


@pytest.fixture
def scheduler(app):
    return Scheduler(app)


def tick(scheduler) -> None:
    scheduler.apply_entry(scheduler.schedule["tick"], producer=scheduler.producer)


def waiting(scheduler) -> int:
    return scheduler._waiting(scheduler.producer)


def test_a_tick_is_sent(scheduler):
    tick(scheduler)
    assert waiting(scheduler) == 1


def test_ticks_that_nobody_takes_do_not_pile_up(scheduler, caplog):
    for _ in range(MOST_WAITING + 20):
        tick(scheduler)
    assert waiting(scheduler) == MOST_WAITING
    assert [record.message for record in caplog.records] == [
        f"sending beat ticks: {MOST_WAITING} of them wait, no worker takes any"
    ]


def test_ticks_are_sent_again_once_somebody_takes_them(scheduler, app, caplog):
    caplog.set_level(logging.INFO, "project.beat")
    for _ in range(MOST_WAITING + 1):
        tick(scheduler)
    app.control.purge()
    tick(scheduler)
    assert waiting(scheduler) == 1
    assert "works again" in caplog.records[-1].message


def test_a_broker_that_is_away_is_logged_once(scheduler, monkeypatch, caplog):
    class Gone:
        @property
        def channel(self):
            raise ConnectionRefusedError("gone")

    for _ in range(3):
        scheduler.apply_entry(scheduler.schedule["tick"], producer=Gone())
    assert [record.message for record in caplog.records] == ["sending beat ticks: gone"]


def test_nothing_but_the_ticks_of_feeds_and_alerts_is_scheduled():
    assert sorted(Scheduler(celery.app).schedule) == ["evaluate-alerts", "publish-market-data", "shorten-journal"]
