"""Feeds die, fall silent, send rubbish and flood while clients are connected, who see one story and end where the store does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import websockets

from marketdata.layout import Layout
from marketdata.store import AsyncStore
from tests.faults.witness import eventually
from tests.integration.test_feed_faults import Plant, Venue, quick
from tests.own_redis import OwnRedis
from tests.system.conftest import Tickwire

__all__ = ["quick"]  # a fixture that every test here has, too: the plant's clocks run fast

TOPICS = ["trade.X", "quote.X", "ticker.X", "kline.1m.X"]
LIST_X = 'from marketdata.models import Instrument; Instrument.objects.create(symbol="X", name="X", kind="crypto")'


class Reader:
    """One client: what it has of each topic, and every trade that it got."""

    def __init__(self) -> None:
        self.has: dict[str, tuple[int, Any]] = {}
        self.trades: list[int] = []
        self.quote_times: list[int] = []
        self.gaps: list[Any] = []

    async def read(self, socket: websockets.ClientConnection) -> None:
        async for frame in socket:
            said = json.loads(frame)
            for message in said if isinstance(said, list) else [said]:
                self._take(message)

    def _take(self, message: Any) -> None:
        if message["type"] == "gap":
            self.gaps.append(message)
        if message["type"] not in ("snapshot", "update"):
            return
        topic, seq, data = message["topic"], message["seq"], message["data"]
        before = self.has.get(topic, (0, None))[0]
        assert seq > before
        assert topic != "trade.X" or not before or seq == before + 1
        self.has[topic] = seq, data
        if topic == "trade.X":
            self.trades.append(int(data["id"]))
        elif topic == "quote.X":
            self.quote_times.append(data["ts"])


async def spoil(plant: Plant) -> None:
    """Every fault in turn, with a way back."""
    for fault in ("dead", "mute", "garbage"):
        plant.wires["main"].fault = fault
        await plant.until("second")
        plant.wires["main"].fault = ""
        await plant.until("main")
    plant.wires["main"].fault = "flood"
    await eventually(lambda: plant.statuses["main"].flooded)
    plant.wires["main"].fault = ""


async def test_clients_see_one_story_whatever_the_feeds_do(server: Tickwire, own_redis: OwnRedis, prefix: str) -> None:
    server.manage("shell", "-v0", "-c", LIST_X)
    store = AsyncStore(own_redis.url, Layout(prefix))
    plant, readers = Plant(store, Venue()), [Reader(), Reader()]
    headers = {"Authorization": f"Bearer {server.planted}"}
    async with (
        websockets.connect(server.socket_url, additional_headers=headers, max_queue=None) as one,
        websockets.connect(server.socket_url + "?batch=1", additional_headers=headers, max_queue=None) as other,
    ):
        await eventually(lambda: server.get("/api/v1/instruments/X/")[0] == 200)
        await asyncio.sleep(2.5)  # the hub looks at the instruments every two seconds
        reading = []
        for socket, reader in zip((one, other), readers, strict=True):
            await socket.send(json.dumps({"op": "subscribe", "topics": TOPICS}))
            reading.append(asyncio.create_task(reader.read(socket)))
        async with plant.running():
            await spoil(plant)
        latest = await store.latest(TOPICS)
        final = {topic: (at.seq, json.loads(at.body)) for topic, at in zip(TOPICS, latest, strict=True) if at is not None}
        try:
            await eventually(
                lambda: all(reader.has == final or task.done() for reader, task in zip(readers, reading, strict=True))
            )
        finally:
            for task in reading:
                task.cancel()
            ends = await asyncio.gather(*reading, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends
    for reader in readers:
        assert reader.has == final
        assert reader.gaps == []
        assert reader.trades == list(range(reader.trades[0], reader.trades[0] + len(reader.trades)))
        assert reader.quote_times == sorted(reader.quote_times)
    await store.close()
