"""Going on with delayed topics: up to what is shown now, and no further."""

from __future__ import annotations

from typing import Any

import pytest

from marketdata.topics import parse
from realtime.connection import Connection
from realtime.protocol import Position
from tests.conftest import Clock
from tests.integration.conftest import Desk
from tests.integration.delay_parts import DELAY_S, DELAY_US, KLINE, QUOTE, TRADE, body, entry, got, held_are, late, show


@pytest.fixture
def desk(clock: Clock, desk: Desk) -> Desk:
    """A hub whose wall clock stands still."""
    return desk


async def resume(desk: Desk, name: str, position: Position) -> tuple[Any, Connection]:
    client = late(desk)
    await desk.hub.replays.prepare([parse(name)], {name: position}, DELAY_US)
    ((pace, _),) = desk.hub.subscribe(client, {name: None}, {name: position})
    return desk.hub.replays.open(pace, position), client


async def shown(desk: Desk, clock: Clock, name: str, shown: int, waiting: int) -> str:
    """A topic of which so many updates are old enough. Returns the epoch."""
    await desk.subscribe(late(desk), name)
    await desk.publish(name, *(body(n, closed=n % 2 == 0) for n in range(1, shown + 1)))
    await desk.until(lambda: desk.hub.entries[name].seq == shown)
    clock.pass_s(DELAY_S)
    await desk.publish(name, *(body(n) for n in range(shown + 1, shown + waiting + 1)))
    await desk.until(lambda: desk.hub.entries[name].seq == shown + waiting)
    show(desk)
    found = entry(desk, name)
    assert found.seq == shown
    return str(found.epoch)


async def test_a_resume_goes_on_to_what_is_shown_and_no_further(desk: Desk, clock: Clock) -> None:
    epoch = await shown(desk, clock, TRADE, 6, 4)
    opening, _ = await resume(desk, TRADE, Position(epoch, 2))
    assert (opening.recovered, [item.seq for item in opening.items]) == (True, [3, 4, 5, 6])


async def test_what_waits_takes_no_room_of_what_is_replayed(desk: Desk, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = await shown(desk, clock, TRADE, 6, 20)
    monkeypatch.setattr("realtime.replays.MOST_AT_ONCE", 4)
    opening, _ = await resume(desk, TRADE, Position(epoch, 2))
    assert (opening.recovered, [item.seq for item in opening.items]) == (True, [3, 4, 5, 6])


async def test_a_resume_of_bars_brings_each_closed_one_though_the_line_conflates(desk: Desk, clock: Clock) -> None:
    epoch = await shown(desk, clock, KLINE, 6, 0)
    await resume(desk, KLINE, Position(epoch, 2))  # from here on the topic remembers what it takes
    await desk.publish(KLINE, *(body(n, closed=n == 9) for n in range(7, 15)))
    await desk.until(lambda: desk.hub.entries[KLINE].seq == 14)
    clock.pass_s(DELAY_S)
    show(desk)
    for position, missed in [(3, [4, 6, 9, 14]), (7, [9, 14]), (9, [14])]:
        opening, _ = await resume(desk, KLINE, Position(epoch, position))
        assert (opening.recovered, [item.seq for item in opening.items]) == (True, missed)


@pytest.mark.parametrize("name", [TRADE, QUOTE, KLINE])
async def test_a_position_beyond_what_may_be_shown_begins_anew(desk: Desk, clock: Clock, name: str) -> None:
    epoch = await shown(desk, clock, name, 6, 4)
    opening, client = await resume(desk, name, Position(epoch, 9))
    assert (opening.recovered, [(item.epoch, item.seq) for item in opening.items]) == (False, [(epoch, 6)])
    clock.pass_s(DELAY_S)
    show(desk)
    assert got(client, name)[-1] == ("update", 10)


@pytest.mark.parametrize("name", [TRADE, QUOTE, KLINE])
async def test_a_client_that_another_process_served_sooner_goes_on(desk: Desk, clock: Clock, name: str) -> None:
    epoch = await shown(desk, clock, name, 6, 4)
    clock.pass_s(DELAY_S)  # the last four are old enough, but the line has yet to look
    opening, client = await resume(desk, name, Position(epoch, 10))
    assert (opening.recovered, opening.items, entry(desk, name).seq) == (True, [], 10)
    show(desk)
    assert got(client, name) == []


async def test_a_bar_that_the_bus_lost_is_not_skipped_for_a_client_that_has_it(desk: Desk, clock: Clock) -> None:
    epoch = await shown(desk, clock, KLINE, 6, 0)
    await desk.hub.bus.unfollow([desk.hub.entries[KLINE].channel])
    await desk.publish(KLINE, body(7, closed=True), body(8))
    clock.pass_s(DELAY_S)
    opening, client = await resume(desk, KLINE, Position(epoch, 8))
    assert (opening.recovered, [item.seq for item in opening.items]) == (False, [6])
    await desk.hub.repairs.resync(list(desk.hub.entries.values()))
    await held_are(desk, 2)
    clock.pass_s(DELAY_S)
    show(desk)
    assert [seq for _, seq in got(client, KLINE)] == [7, 8]
