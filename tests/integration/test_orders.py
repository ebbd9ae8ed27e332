"""Orders to all serving processes: heard, answered, and what becomes of them when Redis or a process does not play its part."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client

from marketdata.errors import StoreUnavailable
from realtime import orders as module
from realtime.keys import create_key
from realtime.node import Node
from realtime.orders import Changed, Orders, channel, tell

pytestmark = pytest.mark.django_db(transaction=True)
NOWHERE = "unix:///nowhere/redis.sock"


@pytest.fixture
def orders(redis_url: str, prefix: str, settings: Any) -> Orders:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=redis_url, prefix=prefix)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "marketdata.layer.BusLayer", "CONFIG": {"url": redis_url, "prefix": prefix}}
    }
    return module.orders()


async def listening() -> Node:
    """A node that hears what is told."""
    node = await Node.here()
    while not node.warden._listening:
        await node.hub.bus.connected.wait()
        await sync_to_async(lambda: None)()
    return node


async def test_an_order_that_cannot_be_read_is_counted_and_the_next_one_heard(orders: Orders) -> None:
    node = await listening()
    for payload in (b"{", b'{"type":"riot"}', b'{"type":"changed","users":"all"}', b"\xff"):
        await node.hub.bus.publish(channel(orders.prefix), payload)
    assert await sync_to_async(orders.topics)(10) == []
    assert (node.hub.counts["orders_unread"], node.hub.counts["orders"]) == (4, 1)


async def test_a_process_that_heard_and_says_nothing_is_counted(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    node = await listening()
    monkeypatch.setattr(module, "GATHER_S", 0.1)
    monkeypatch.setattr(node.steward, "_answer", lambda *_: None)
    found = await sync_to_async(orders.connections)()
    assert found == ([], 0, 1)


async def test_where_nobody_serves_nobody_is_waited_for(orders: Orders) -> None:
    assert await sync_to_async(orders.connections)() == ([], 0, 0)
    assert not await sync_to_async(orders.disconnect)("nobody")


async def test_answers_that_nobody_gathered_go_by_themselves(orders: Orders, redis_url: str) -> None:
    node = await listening()
    await node.hub.bus.publish(channel(orders.prefix), msgspec.json.encode(module.FindTopics("left-behind", 10)))
    while not await node.store.store.client.exists("left-behind"):
        await sync_to_async(lambda: None)()
    assert 0 < await node.store.store.client.ttl("left-behind") <= module.ANSWERS_S


def test_with_redis_away_rest_says_so_and_a_change_is_no_error(settings: Any) -> None:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=NOWHERE)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    tell(Changed(plans=True))
    with pytest.raises(StoreUnavailable):
        module.orders().topics(10)
    _, key = create_key(User.objects.create_superuser("root"), is_staff=True)
    answer = Client(headers={"Authorization": f"Bearer {key}"}).get("/api/v1/admin/topics/")
    assert (answer.status_code, json.loads(answer.content)["error"]["code"]) == (503, 126)
    assert "Retry-After" in answer
