"""The installation's history: written by one process, bounded, read by staff."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client

from monitoring import historian as module
from monitoring import registry, reports, rollups
from monitoring.historian import SAVED_AT_ONCE, Historian
from monitoring.models import Rollup
from monitoring.overview import SERIES
from monitoring.reports import Identity
from monitoring.rollups import KEPT_S, MINUTE, SECOND, Moment
from monitoring.samples import sample
from realtime.keys import create_key
from tests.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)
URL = "/api/v1/admin/history/"


@pytest.fixture(autouse=True)
def _installation(redis_url: str, prefix: str, settings: Any) -> Iterator[None]:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=redis_url, prefix=prefix)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    registry.store.cache_clear()
    yield
    registry.store.cache_clear()


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is asked for at each step."""
    monkeypatch.setattr(module, "LEASE_EVERY_S", 0.0)


@pytest.fixture
def staff() -> Client:
    _, key = create_key(User.objects.create_user("boss", is_staff=True), is_staff=True)
    return Client(headers={"Authorization": f"Bearer {key}"})


def told(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return json.loads(answer.content)


def pass_seconds(clock: Clock, count: int, *historians: Historian) -> None:
    """Let time pass, with a process that has one connection more each second."""
    for _ in range(count):
        clock.pass_s(1)
        connections = clock.us // 1_000_000 % 1000
        report = Identity("web", "web", 0).report([sample("tickwire_connections", connections)])
        with registry.store().client.pipeline(transaction=False) as pipe:
            reports.write(pipe, registry.store().layout.prefix, report)
            pipe.execute()
        for historian in historians:
            historian.step()


# Writing


async def test_seconds_are_saved_ten_at_once(clock: Clock) -> None:
    historian = Historian()
    await asyncio.to_thread(pass_seconds, clock, SAVED_AT_ONCE - 1, historian)
    assert await Rollup.objects.acount() == 0
    await asyncio.to_thread(pass_seconds, clock, 1, historian)
    rows = [row async for row in Rollup.objects.filter(step_s=SECOND).order_by("at")]
    assert [row.at for row in rows] == list(range(1_800_000_001, 1_800_000_011))
    assert [row.values["connections"] for row in rows] == list(range(1, 11))
    await historian.stop()


async def test_one_process_writes_and_another_goes_on_when_it_stops(clock: Clock, always: None) -> None:
    one, other = Historian(), Historian()
    await asyncio.to_thread(pass_seconds, clock, 4, one, other)
    assert (len(one.waiting), len(other.waiting)) == (4, 0)
    await one.stop()
    await asyncio.to_thread(pass_seconds, clock, 3, other)
    assert len(other.waiting) == 3
    await other.stop()
    assert await Rollup.objects.filter(step_s=SECOND).acount() == 7


async def test_one_that_lost_its_lease_writes_no_more(clock: Clock, always: None) -> None:
    one, other = Historian(), Historian()
    await asyncio.to_thread(pass_seconds, clock, 2, one, other)
    registry.store().client.delete(f"{registry.store().layout.prefix}:lease:historian")
    await asyncio.to_thread(pass_seconds, clock, 1, other, one)
    assert (len(one.waiting), len(other.waiting)) == (2, 1)
    await one.stop()
    await other.stop()


async def test_while_the_database_is_away_seconds_wait_and_are_written_then(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    historian = Historian()

    def away(*_: Any) -> None:
        raise OperationalError("away")

    with monkeypatch.context() as broken:
        broken.setattr(rollups, "save", away)
        await asyncio.to_thread(pass_seconds, clock, 25, historian)
    assert len(historian.waiting) == 25
    await asyncio.to_thread(pass_seconds, clock, 1, historian)
    assert await Rollup.objects.filter(step_s=SECOND).acount() == 26
    await historian.stop()


async def test_what_waits_is_bounded() -> None:
    historian = Historian()
    historian.waiting.extend(Moment(at, {}) for at in range(10_000))
    assert len(historian.waiting) == module.MOST_WAITING
    await historian.stop()


async def test_with_redis_away_a_step_is_no_error(settings: Any) -> None:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url="unix:///nowhere/redis.sock")
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    registry.store.cache_clear()
    historian = Historian()
    await asyncio.to_thread(historian.step)
    assert not historian.waiting
    await historian.stop()


async def test_it_works_in_a_thread_and_saves_what_is_left_when_it_stops() -> None:
    historian = await Historian.make()
    async with asyncio.timeout(10):
        while not historian.waiting:
            await asyncio.sleep(0.01)
    await historian.stop()
    assert await Rollup.objects.acount() >= 1


# Rolling up


def seconds(first: int, count: int, **values: float) -> None:
    rollups.save(SECOND, [Moment(first + n, {"connections": float(n), **values}) for n in range(count)])


def test_minutes_that_are_over_are_made_once() -> None:
    seconds(6000, 130)
    assert rollups.roll_up(6129) == 2
    assert rollups.roll_up(6129) == 0
    assert [(each.at, each.values["connections"]) for each in rollups.load(MINUTE, 0, 9999)] == [(6000, 29.5), (6060, 89.5)]


def test_writing_a_moment_twice_keeps_the_first() -> None:
    seconds(6000, 5)
    seconds(6000, 6)
    assert Rollup.objects.count() == 6


def test_what_is_old_goes_and_the_rest_stays() -> None:
    now = 10_000_000
    rollups.save(SECOND, [Moment(now - KEPT_S[SECOND] - 1, {}), Moment(now - KEPT_S[SECOND], {})])
    rollups.save(MINUTE, [Moment(now - KEPT_S[MINUTE] - 1, {}), Moment(now - KEPT_S[MINUTE], {})])
    assert rollups.prune(now) == 2
    assert {(row.step_s, row.at) for row in Rollup.objects.all()} == {
        (SECOND, now - KEPT_S[SECOND]), (MINUTE, now - KEPT_S[MINUTE]),
    }  # fmt: skip


# Reading


def test_the_last_hour_is_read_by_the_second(staff: Client) -> None:
    now = int(time.time())
    seconds(now - 10, 5, latency_p99=0.25)
    found = told(staff.get(URL, {"series": "connections,latency_p99,gaps", "step": 1}))
    assert (found["step"], found["times"]) == (1, [(now - 10 + n) * 1_000_000 for n in range(5)])
    assert found["series"] == {"connections": [0, 1, 2, 3, 4], "latency_p99": [0.25] * 5, "gaps": [None] * 5}
    assert found["units"] == {"connections": "", "latency_p99": "s", "gaps": "/s"}


def test_a_longer_step_averages_or_takes_the_worst(staff: Client) -> None:
    at = int(time.time()) // 10 * 10 - 60
    rollups.save(SECOND, [Moment(at + n, {"connections": float(n), "loop_lag": float(n)}) for n in range(10)])
    found = told(staff.get(URL, {"series": "connections,loop_lag", "step": 10}))
    assert found["series"] == {"connections": [4.5], "loop_lag": [9]}


def test_what_is_older_is_read_by_the_minute(staff: Client) -> None:
    minute = int(time.time()) // 60 * 60 - 86_400
    rollups.save(MINUTE, [Moment(minute + n * 60, {"delivered": float(n)}) for n in range(3)])
    query = {"series": "delivered", "from": (minute - 60) * 10**6, "to": (minute + 600) * 10**6, "step": 7}
    found = told(staff.get(URL, query))
    assert (found["step"], found["series"]["delivered"]) == (60, [0, 1, 2])


def test_all_series_of_the_last_hour_are_the_usual_answer(staff: Client) -> None:
    found = told(staff.get(URL))
    assert (list(found["series"]), found["step"], found["times"]) == (list(SERIES), 5, [])


@pytest.mark.parametrize(
    "query",
    [
        {"series": "secrets"}, {"series": ""}, {"from": "2", "to": "1"}, {"from": "yesterday"}, {"from": "null"}, {"step": "0"},
        {"step": "90000"}, {"from": "0", "step": "60"}, {"to": "-1"}, {"more": "1"},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_bad_request(staff: Client, query: dict[str, str]) -> None:
    if query == {"from": "2", "to": "1"}:
        query = {"from": "2000000", "to": "1000000"}
    answer = staff.get(URL, query)
    assert (answer.status_code, json.loads(answer.content)["error"]["code"]) == (400, 107)


def test_others_than_staff_read_nothing() -> None:
    _, key = create_key(User.objects.create_user("ada"))
    assert Client(headers={"Authorization": f"Bearer {key}"}).get(URL).status_code == 403
    assert Client().get(URL).status_code == 401
