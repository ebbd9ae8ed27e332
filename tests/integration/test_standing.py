"""What the hub has, asked by another thread."""

from __future__ import annotations

import asyncio

from realtime.standing import Standing
from tests.integration.conftest import Desk

QUOTE, NEVER, OTHER = "quote.AAPL", "quote.NEVER", "quote.OTHER"


async def test_a_thread_learns_what_the_hub_follows(desk: Desk) -> None:
    client, standing = desk.connect(), Standing(desk.hub)
    await desk.publish(QUOTE, '{"n":1}')
    await desk.subscribe(client, QUOTE, NEVER)
    found = await asyncio.to_thread(standing, [QUOTE, NEVER, OTHER])
    entry = desk.hub.entries[QUOTE]
    assert {topic: (it.epoch, it.seq, it.body) for topic, it in found.items()} == {QUOTE: (entry.epoch, 1, b'{"n":1}')}


def test_a_loop_that_is_gone_knows_nothing() -> None:
    class Ended:
        entries = {QUOTE: type("Entry", (), {"seq": 1})}

    async def make() -> Standing:
        return Standing(Ended())  # type: ignore[arg-type]

    assert asyncio.run(make())([QUOTE]) == {}
