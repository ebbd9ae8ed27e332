"""An event loop that is kept waiting shows in the hub's statistics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from realtime.keeper import TICK_S, Keeper
from tests.integration.conftest import Desk
from tests.integration.test_keeper import Listed

BLOCKED_S = 0.8
SEEN_US = (BLOCKED_S - TICK_S) * 1e6  # the keeper's next look is due within a tick of the beginning


@pytest.fixture
async def keeper(desk: Desk) -> AsyncIterator[Keeper]:
    found = Keeper(desk.hub, Listed("AAPL"), stale_after_s=30, slow_notice_s=2, slow_close_s=10)  # type: ignore[arg-type]
    found.start()
    yield found
    await found.stop()


async def block(seconds: float) -> None:
    """Keep the loop from doing anything else, as a call that waits does."""
    asyncio.get_running_loop().call_soon(time.sleep, seconds)
    await asyncio.sleep(0)


@pytest.mark.usefixtures("keeper")
async def test_the_lag_of_the_loop_is_sampled(desk: Desk) -> None:
    await desk.until(lambda: "loop_lag_us" in desk.hub.stats())
    assert desk.hub.stats()["loop_lag_us"] >= 0


@pytest.mark.usefixtures("keeper")
async def test_a_blocked_loop_shows_as_lag(desk: Desk) -> None:
    await block(BLOCKED_S)
    await desk.until(lambda: desk.hub.stats().get("loop_lag_us", 0) >= SEEN_US)


@pytest.mark.usefixtures("keeper")
async def test_the_worst_lag_is_remembered_when_the_last_one_is_small_again(desk: Desk) -> None:
    await block(BLOCKED_S)
    await desk.until(lambda: desk.hub.stats().get("loop_lag_max_us", 0) >= SEEN_US)
    await desk.until(lambda: desk.hub.stats()["loop_lag_us"] < SEEN_US)
    assert desk.hub.stats()["loop_lag_max_us"] >= SEEN_US
