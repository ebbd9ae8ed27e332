"""Overload on a real hub: who is refused, what slows down, who is let go, and that all of it is undone."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator

from realtime import ladder, limits, overload
from realtime.auth import Principal
from realtime.connection import Connection
from realtime.consumers import MarketConsumer
from realtime.keeper import Keeper
from realtime.ladder import Ladder, Step
from realtime.limits import Limits
from realtime.node import Node
from realtime.overload import Overload, priority_of
from tests.integration.conftest import Desk, ListSink, messages
from tests.integration.test_keeper import Listed

TRADE = "trade.AAPL"
LATE_US, CALM_US = 600_000, 0


def plan(priority: int) -> Limits:
    return Limits(10, 5, None, 5.0, 20, frozenset(), priority)


def principal(priority: int, *, is_staff: bool = False) -> Principal:
    return Principal(None, None, f"plan {priority}", plan(priority), is_staff=is_staff)


VISITOR, FREE, PRO, STAFF = principal(0), principal(10), principal(20), principal(0, is_staff=True)


@pytest.fixture
def load(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Overload:
    """What looks after the desk's hub; without patience, so that each look is a step."""
    monkeypatch.setattr(ladder, "PATIENCE_S", dict.fromkeys(Step, 0.0))
    monkeypatch.setattr(ladder, "CALM_S", 0.0)
    monkeypatch.setattr(overload, "SHED_EVERY_S", 0.0)
    monkeypatch.setattr(limits, "last_known", lambda: {"anonymous": plan(0), "free": plan(10)})
    return Overload(desk.hub, Ladder(500_000, 0))


def go(load: Overload, *lags_us: int) -> Step:
    """Measure these; the step that they lead to."""
    for lag_us in lags_us:
        load.hub.lags_us.append(lag_us)
        load.look()
    return load.step


def connect(desk: Desk, who: Principal, opened_us: int = 0) -> Connection:
    connection = desk.connect()
    desk.hub.identify(connection, who)
    connection.opened_us = opened_us
    return connection


def closed(connection: Connection) -> tuple[int, str] | None:
    assert isinstance(connection.sink, ListSink)
    return connection.sink.closed


def kinds(connection: Connection) -> list[str]:
    return [message["kind"] for message in messages(connection)]


def test_staff_is_above_every_plan_and_who_is_unknown_below() -> None:
    assert [priority_of(who) for who in (None, VISITOR, FREE, PRO, STAFF)] == [0, 0, 10, 20, math.inf]


async def test_nobody_is_refused_in_normal_times(load: Overload) -> None:
    assert go(load, CALM_US) is Step.NORMAL
    assert not any(load.refuses(who) for who in (None, VISITOR, FREE, PRO, STAFF))


async def test_the_first_step_refuses_those_of_the_lowest_plan_only(load: Overload) -> None:
    assert go(load, LATE_US) is Step.REFUSE
    assert [load.refuses(who) for who in (None, VISITOR, FREE, PRO, STAFF)] == [True, True, False, False, False]
    assert go(load, CALM_US) is Step.NORMAL
    assert not load.refuses(VISITOR)


async def test_a_refusal_is_counted_and_says_when_to_come_again(load: Overload) -> None:
    go(load, LATE_US)
    refusal = load.refusal()
    assert (refusal.code.label, refusal.code.temporary) == ("overloaded", True)
    assert refusal.retry_after_ms is not None
    assert 5_000 <= refusal.retry_after_ms <= 15_000
    assert load.hub.stats()["refused_overload"] == 1


async def test_the_second_step_raises_the_pause_between_flushes_and_the_way_back_lowers_it(desk: Desk, load: Overload) -> None:
    usual = desk.hub.floor_s, desk.hub.ceiling_s
    assert go(load, LATE_US, LATE_US) is Step.SLOW
    assert (desk.hub.floor_s, desk.hub.ceiling_s) == (overload.RAISED_S, overload.RAISED_S)
    assert go(load, CALM_US) is Step.REFUSE
    assert (desk.hub.floor_s, desk.hub.ceiling_s) == usual


async def test_a_longer_pause_of_the_operators_stays(desk: Desk, load: Overload) -> None:
    desk.hub.floor_s = desk.hub.ceiling_s = 0.5
    load = Overload(desk.hub, load.ladder)
    go(load, LATE_US, LATE_US)
    assert (desk.hub.floor_s, desk.hub.ceiling_s) == (0.5, 0.5)


async def test_everybody_is_told_of_slower_updates_and_of_their_end(desk: Desk, load: Overload) -> None:
    clients = [connect(desk, who) for who in (VISITOR, PRO)]
    go(load, LATE_US, LATE_US)
    await desk.until(lambda: all(kinds(client) == ["degraded"] for client in clients))
    assert [json.loads(message)["kind"] for message in load.announcement.standing] == ["degraded"]
    go(load, CALM_US)
    await desk.until(lambda: all(kinds(client) == ["degraded", "restored"] for client in clients))
    assert load.announcement.standing == []


async def test_updates_still_arrive_complete_while_they_come_less_often(desk: Desk, load: Overload) -> None:
    client = connect(desk, PRO)
    await desk.subscribe(client, TRADE)
    go(load, LATE_US, LATE_US)
    await desk.publish(TRADE, *["{}"] * 50)
    await desk.until(lambda: client.sent == 50)
    updates = [message["seq"] for message in messages(client) if message["type"] != "notice"]
    assert updates == list(range(1, 51))


async def test_the_third_step_lets_the_newest_of_the_least_important_go_first(desk: Desk, load: Overload) -> None:
    pro, staff = connect(desk, PRO), connect(desk, STAFF)
    visitors = [connect(desk, VISITOR, opened_us=number) for number in range(3)]
    assert go(load, LATE_US, LATE_US, LATE_US) is Step.SHED
    assert [closed(visitor) for visitor in visitors] == [None, None, (1013, "overloaded")]
    go(load, LATE_US, LATE_US)
    assert [closed(visitor) for visitor in visitors] == [(1013, "overloaded")] * 3
    assert (closed(pro), closed(staff)) == (None, None)
    assert load.hub.stats()["shed"] == 3


async def test_who_is_let_go_is_told_when_to_come_again_and_refused_until_calm(desk: Desk, load: Overload) -> None:
    free = connect(desk, FREE)
    go(load, LATE_US, LATE_US, LATE_US)
    notice = messages(free)[-1]
    assert (notice["kind"], notice["code"]) == ("degraded", 1013)
    assert 5_000 <= notice["retry_after_ms"] <= 15_000
    assert [load.refuses(who) for who in (FREE, PRO)] == [True, False]
    go(load, CALM_US, CALM_US)
    assert load.refuses(FREE)
    assert go(load, CALM_US) is Step.NORMAL
    assert not load.refuses(FREE)


async def test_shedding_ends_with_its_step(desk: Desk, load: Overload) -> None:
    clients = [connect(desk, VISITOR, opened_us=number) for number in range(3)]
    go(load, LATE_US, LATE_US, LATE_US)
    go(load, CALM_US)
    assert [closed(client) is None for client in clients] == [True, True, False]


async def test_staff_alone_is_never_let_go(desk: Desk, load: Overload) -> None:
    staff = connect(desk, STAFF)
    assert go(load, *[LATE_US] * 6) is Step.SHED
    assert closed(staff) is None


async def test_one_in_a_hundred_goes_at_once(desk: Desk, load: Overload) -> None:
    clients = [connect(desk, VISITOR) for _ in range(250)]
    go(load, LATE_US, LATE_US, LATE_US)
    assert len([client for client in clients if closed(client)]) == 2


async def test_each_change_is_logged_once_and_counted(load: Overload, caplog: pytest.LogCaptureFixture) -> None:
    go(load, *[LATE_US] * 6)
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "overload: step 1, refuse",
        "overload: step 2, slow",
        "overload: step 3, shed",
    ]
    assert (load.hub.stats()["overload_step"], load.hub.stats()["overload_changes"]) == (3, 3)


async def test_memory_is_given_back_before_it_counts(desk: Desk, load: Overload, monkeypatch: pytest.MonkeyPatch) -> None:
    occupied = [1200]
    monkeypatch.setattr(overload, "give_back", lambda: occupied.__setitem__(0, 800))
    load = Overload(desk.hub, Ladder(0, 1000), lambda: occupied[0])
    assert go(load, CALM_US) is Step.NORMAL
    occupied[0] = 1200  # not again within seconds
    assert go(load, CALM_US) is Step.REFUSE


def test_the_memory_of_this_process_is_read() -> None:
    before = overload.resident_bytes()
    ballast = bytearray(64 << 20)
    ballast[:: 1 << 12] = b"x" * (len(ballast) >> 12)
    assert overload.resident_bytes() - before > 48 << 20
    del ballast
    overload.give_back()
    assert overload.resident_bytes() - before < 16 << 20


async def test_a_blocked_loop_is_what_the_keeper_shows_it(desk: Desk, load: Overload) -> None:
    keeper = Keeper(
        desk.hub, Listed("AAPL"), stale_after_s=30, slow_notice_s=2, slow_close_s=10, each_tick=load.look  # type: ignore[arg-type]
    )  # fmt: skip
    keeper.start()
    desk.hub._loop.call_later(0.2, time.sleep, 1.0)
    await desk.until(lambda: desk.hub.stats().get("overload_changes") == 1)
    await desk.until(lambda: load.step is Step.NORMAL)
    await keeper.stop()


@pytest.fixture
async def node(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Node:
    """The node that consumers meet, overloaded."""
    found = await Node.here()
    monkeypatch.setattr(ladder, "PATIENCE_S", dict.fromkeys(Step, 0.0))
    go(found.overload, 10**9)
    return found


def visitor(**extensions: Any) -> WebsocketCommunicator:
    client = WebsocketCommunicator(MarketConsumer.as_asgi(), "/ws/v1/market")
    client.scope["extensions"] = extensions
    return client


@pytest.mark.django_db(transaction=True)
async def test_a_server_that_can_answers_a_refused_handshake_with_503(node: Node) -> None:
    client = visitor(**{"websocket.http.response": {}})
    await client.send_input({"type": "websocket.connect"})
    start, body = [await client.receive_output(3) for _ in range(2)]
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 503)
    assert 5 <= int(dict(start["headers"])[b"retry-after"]) <= 15
    assert json.loads(body["body"])["name"] == "overloaded"
    await client.send_input({"type": "websocket.disconnect", "code": 1006})
    await client.wait()
    assert node.hub.connections == {}


@pytest.mark.django_db(transaction=True)
async def test_any_other_accepts_to_close_with_1013(node: Node) -> None:
    client = visitor()
    assert (await client.connect())[0]
    notice = await client.receive_json_from(3)
    assert (notice["kind"], notice["code"]) == ("degraded", 1013)
    assert notice["retry_after_ms"] >= 5_000
    assert (await client.receive_output(3))["type"] == "websocket.close"
    await client.disconnect()
