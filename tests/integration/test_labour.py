"""What a worker tells of its tasks: times, failures, and ticks that took too long."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from marketdata.tasks import poll_feed, publish_market_data
from monitoring.labour import Labour
from monitoring.samples import Sample


@pytest.fixture
def labour(redis_url: str, prefix: str, settings: Any) -> Labour:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=redis_url, prefix=prefix)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    return Labour()


def values(labour: Labour) -> dict[str, float]:
    return {each.name: each.value for each in labour.samples() if isinstance(each, Sample) and not each.labels}


def carry_out(labour: Labour, task: Any, took_s: float) -> None:
    labour.began(task_id="one", task=task)
    labour._begun["one"] -= took_s
    labour.ended(task_id="one", task=task)


@pytest.mark.parametrize(("took_s", "overruns"), [(0.0, 0), (60.0, 1)])
def test_a_tick_that_takes_longer_than_the_pause_is_an_overrun(labour: Labour, took_s: float, overruns: int) -> None:
    carry_out(labour, publish_market_data, took_s)
    assert values(labour)["tickwire_publisher_overruns_total"] == overruns


def test_a_poll_may_take_longer_and_its_time_is_told(labour: Labour) -> None:
    carry_out(labour, poll_feed, 60.0)
    assert values(labour)["tickwire_publisher_overruns_total"] == 0
    assert labour.times["poll_feed"].counts[-1] == 1


def test_failures_are_told_from_the_start_and_counted(labour: Labour) -> None:
    assert labour.failures["poll_feed"] == 0
    assert "poll_feed" in labour.failures
    labour.failed(sender=poll_feed)
    assert labour.failures["poll_feed"] == 1
