"""Whatever happens in whatever order: who sees things later sees nothing too young, nothing twice and, of trades, no hole."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import marketdata.store
from marketdata.as_of import AsyncAsOf
from marketdata.layer import BusLayer
from marketdata.layout import Layout
from marketdata.store import AsyncStore
from realtime.hub import Hub
from realtime.replays import Opening
from tests.conftest import Clock
from tests.integration.conftest import Desk
from tests.integration.test_any_order import TOPICS, Client, Run, clients, steps

DELAY_S = 2
DELAY_US = DELAY_S * 1_000_000

late_steps = st.one_of(
    steps,
    steps,
    st.tuples(st.just("pass time"), st.sampled_from([0.03, 0.3, 1.0, 1.999, 2.0, 5.0])),
    st.tuples(st.just("pass time"), st.sampled_from([0.03, 0.3, 1.0, 1.999, 2.0, 5.0])),
    st.tuples(st.just("come back at another delay"), clients),
    st.tuples(st.just("come back at another delay"), clients),
    st.tuples(st.just("forget")),
)


class LateClient(Client):
    """Complains of what is too young, too."""

    def __init__(self, desk: Desk, clock: Clock, delay_s: int) -> None:
        self.clock, self.delay_s = clock, delay_s
        super().__init__(desk)

    def read(self) -> None:
        if self.connection is not None:
            for message in self.sink.messages[self.read_to :]:
                if message["type"] != "gap":
                    assert message["data"]["at"] <= self.clock.us - self.connection.delay_us, f"too young: {message}"
        super().read()

    def begin_anew(self, name: str, opening: Opening) -> None:
        if opening.lost is None:  # what it had may be newer than what it may see
            self.has.pop(name, None)


class LateRun(Run):
    """An interleaving in which time passes."""

    def __init__(self, desk: Desk, clients: Sequence[LateClient], clock: Clock) -> None:
        super().__init__(desk, clients)
        self.clock = clock

    def body(self, n: int, *, closed: bool) -> str:
        return json.dumps({"n": n, "closed": closed, "at": self.clock.us}, separators=(",", ":"))

    async def pass_time(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        for line in self.desk.hub.delays.lines():
            line.look()
        await asyncio.sleep(0)
        self.desk.hub.flush()
        await self.look_back()

    async def look_back(self) -> None:
        """What snapshot and history show."""
        until_us = self.clock.us - DELAY_US
        seen = AsyncAsOf(self.desk.store, until_us)
        latest = await seen.latest(TOPICS)
        histories = [(await seen.history(topic, newest=True)).updates for topic in TOPICS]
        assert [updates[-1] if updates else None for updates in histories] == latest
        assert all(update.published_us <= until_us for updates in histories for update in updates)

    async def come_back_at_another_delay(self, client: int) -> None:
        self.clients[client].cut()
        self.clients[client].delay_s = DELAY_S - self.clients[client].delay_s
        await self.clients[client].resume()

    async def forget(self) -> None:
        await self.desk.hub.forget_idle()

    async def wait(self) -> None:
        await super().wait()
        await self.pass_time(0.5)


async def run(redis_url: str, what: list[Any], clock: Clock) -> None:
    prefix = f"late-{uuid.uuid4().hex[:8]}"
    layer = BusLayer(redis_url, prefix=prefix)
    layout = Layout(prefix, history=60)
    store = AsyncStore(redis_url, layout)
    hub = Hub(await layer.bus(), store, layout, outbox_updates=20, linger_s=0.0)
    hub.delays.linger_s = lambda delay_us: 0.0  # type: ignore[method-assign]
    try:
        desk = Desk(hub, store, layer)
        interleaving = LateRun(desk, [LateClient(desk, clock, delay_s) for delay_s in (DELAY_S, DELAY_S, 0)], clock)
        for step in what:
            await interleaving.step(*step)
        await interleaving.settle()
    finally:
        await hub.stop()
        await store.close()
        await layer.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(what=st.lists(late_steps, min_size=5, max_size=60), first=st.sampled_from(["before", "after"]))
def test_nothing_is_ever_too_young_and_all_of_it_comes(what: list[Any], first: str, redis_url: str, monkeypatch: Any) -> None:
    clock = Clock()
    monkeypatch.setattr(marketdata.store, "time", clock)
    everybody = [("subscribe", client, topic, None) for client in range(3) for topic in TOPICS]
    begin = [*everybody] if first == "before" else [("publish", topic, 5) for topic in TOPICS] + everybody
    asyncio.run(run(redis_url, [*begin, *what], clock))
