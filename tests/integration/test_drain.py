"""Connections that are closed slowly."""

from __future__ import annotations

import asyncio

import pytest

from realtime.codes import Close
from realtime.drain import Drain
from tests.integration.conftest import Desk


@pytest.mark.parametrize(("count", "over_s"), [(3, 6.0), (3, 10.0), (1, 2.0), (8, 0.4)])
async def test_shedding_takes_as_long_as_was_asked_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, count: int, over_s: float
) -> None:
    clients = [desk.connect() for _ in range(9)]
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", pause)
        await Drain(desk.hub).shed(count, over_s)
    assert sum(pauses) == pytest.approx(over_s, abs=0.11)
    assert [client.code for client in clients].count(Close.REBALANCE) == count
