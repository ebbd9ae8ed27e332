"""The monitor's socket: who may watch, what is computed for how many, and what becomes of a watcher who may not any more."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.conf import settings as django_settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User

from marketdata.errors import DatabaseUnavailable
from monitoring import audience as module
from monitoring import registry
from monitoring.audience import Audience, audiences
from monitoring.consumers import COMMAND_BURST, MonitorConsumer
from monitoring.panes import Filters, Question
from monitoring.watch import watches
from realtime import auth, limits
from realtime.bans import bans
from realtime.keys import create_key
from realtime.models import Ban
from realtime.node import Node
from tests.own_redis import OwnRedis

pytestmark = pytest.mark.django_db(transaction=True)
WATCHED = Question("overview")


def use(settings: Any, redis_url: str, prefix: str) -> None:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=redis_url, prefix=prefix)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "marketdata.layer.BusLayer", "CONFIG": {"url": redis_url, "prefix": prefix}}
    }
    registry.store.cache_clear()


@pytest.fixture(autouse=True)
async def _installation(
    redis_url: str, prefix: str, settings: Any, monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> AsyncIterator[None]:
    """A serving process on a Redis of the tests, quicker than in life."""
    use(settings, redis_url, prefix)
    monkeypatch.setattr(module, "EVERY_S", 0.05)
    monkeypatch.setattr(module, "REVIEWED_EVERY_S", 0.05)
    limits.forget_plans()
    auth.forget_principals()
    node = await Node.here()
    while not node.warden._listening:
        await node.hub.bus.connected.wait()
        await sync_to_async(lambda: None)()
    yield
    registry.store.cache_clear()


@pytest.fixture
def boss() -> User:
    return User.objects.create_user("boss", is_staff=True)


@pytest.fixture
def key(boss: User) -> str:
    return create_key(boss, is_staff=True)[1]


def session_of(user: User) -> str:
    session = import_module(django_settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), django_settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return str(session.session_key)


class Browser(WebsocketCommunicator):
    """A client of the socket."""

    async def next(self) -> Any:
        return await self.receive_json_from(5)

    async def until(self, condition: Callable[[Any], object]) -> Any:
        async with asyncio.timeout(10):
            while not condition(message := await self.next()):
                pass
        return message

    async def closed(self) -> int:
        """Wait for the end: its code."""
        async with asyncio.timeout(10):
            while (event := await self.receive_output(5))["type"] != "websocket.close":
                pass
        return int(event["code"])


@asynccontextmanager
async def dialled(subprotocols: list[str] | None = None, **headers: str) -> AsyncIterator[Browser]:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    client = Browser(MonitorConsumer.as_asgi(), "/ws/v1/monitor", sent, subprotocols)
    assert (await client.connect())[0]
    try:
        yield client
    finally:
        await client.disconnect()


@asynccontextmanager
async def watching(key: str, *views: str, **filters: Any) -> AsyncIterator[Browser]:
    async with dialled(authorization=f"Bearer {key}") as client:
        assert (await client.next())["type"] == "welcome"
        await client.send_json_to({"op": "watch", "id": 1, "views": views, "filters": filters})
        assert await client.next() == {"type": "watching", "id": 1, "views": list(views)}
        yield client


async def idle(audience: Audience) -> None:
    """Wait until nothing is computed."""
    async with asyncio.timeout(5):
        while audience.computed or audience._productions:
            await asyncio.sleep(0.01)


# Who may watch


async def test_staff_with_a_key_is_welcomed(key: str) -> None:
    async with dialled(authorization=f"Bearer {key}") as client:
        welcome = await client.next()
        assert (welcome["type"], welcome["user"], welcome["every_ms"]) == ("welcome", "boss", 1000)
        assert welcome["views"] == ["overview", "connections", "topics", "feeds", "alerts"]


async def test_staff_with_a_session_is_welcomed_on_pages_of_this_server_only(boss: User) -> None:
    cookie = f"{django_settings.SESSION_COOKIE_NAME}={await sync_to_async(session_of)(boss)}"
    async with dialled(cookie=cookie, origin="http://here", host="here") as client:
        assert (await client.next())["user"] == "boss"
    async with dialled(cookie=cookie, origin="http://elsewhere", host="here") as client:
        assert await client.closed() == 4501


async def test_a_ticket_of_staff_opens_it_by_subprotocol(key: str) -> None:
    principal = await auth.identify_token(key)
    ticket = await sync_to_async(auth.issue_ticket)(principal)
    async with dialled(["tickwire.monitor.v1", f"bearer.{ticket}"]) as client:
        assert (await client.next())["user"] == "boss"


@pytest.mark.parametrize("who", ["nobody", "stranger", "user", "staff without the key's permission"])
async def test_nobody_else_is(who: str, boss: User) -> None:
    ada = await User.objects.acreate(username="ada")
    keys = {
        "stranger": "tw_k3f9xa7q_nonsense",
        "user": (await sync_to_async(create_key)(ada))[1],
        "staff without the key's permission": (await sync_to_async(create_key)(boss))[1],
    }
    async with dialled(**({"authorization": f"Bearer {keys[who]}"} if who in keys else {})) as client:
        assert await client.closed() == 4501


async def test_a_right_that_is_withdrawn_closes_it(key: str, boss: User) -> None:
    async with watching(key, "overview") as client:
        await client.until(lambda message: message["type"] == "view")
        await User.objects.filter(pk=boss.pk).aupdate(is_staff=False)
        assert await client.closed() == 4501
    await idle(await audiences.here())


async def test_a_disabled_user_and_a_banned_one_are_shut_out(key: str, boss: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_S", 0.0)
    async with watching(key, "alerts") as client:
        ban = await Ban.objects.acreate(user=boss)
        assert await client.closed() == 4503
    await ban.adelete()
    await sync_to_async(bans.refresh_if_older)(0.0)
    async with watching(key, "alerts") as client:
        await User.objects.filter(pk=boss.pk).aupdate(is_active=False)
        assert await client.closed() == 4503


async def test_a_database_that_is_away_closes_nobody(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def away(_: Any) -> Any:
        asked.set()
        raise DatabaseUnavailable("away")

    async with watching(key, "overview") as client:
        monkeypatch.setattr(module, "_review", away)
        async with asyncio.timeout(5):
            await asked.wait()
        assert (await client.until(lambda message: message["type"] == "view"))["view"] == "overview"


async def test_a_process_has_so_many_watchers_and_no_more(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 1)
    async with watching(key, "overview"), dialled(authorization=f"Bearer {key}") as second:
        assert await second.closed() in (1013, 4001)  # 4001 where a server cannot say 1013


# What they see


async def test_a_view_is_computed_once_for_all_who_watch(key: str) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(watching(key, "overview", "alerts")) for _ in range(20)]
        audience = await audiences.here()
        shown = [(message["view"], message["at"]) for client in clients for message in [await client.next() for _ in range(6)]]
        assert len(audience.computed) == 2
        assert len(set(shown)) <= sum(audience.computed.values()) < len(shown)
    await idle(audience)


async def test_who_asks_for_something_else_is_not_sent_the_former(key: str) -> None:
    async with watching(key, "overview") as client:
        await client.until(lambda message: message.get("view") == "overview")
        await client.send_json_to({"op": "watch", "id": 2, "views": ["topics"]})
        await client.until(lambda message: message.get("id") == 2)
        assert [(await client.next())["view"] for _ in range(3)] == ["topics"] * 3
        assert set((await audiences.here()).computed) == {Question("topics")}


async def test_an_overview_has_the_values_of_this_process(key: str) -> None:
    await watches.here()
    async with watching(key, "overview") as client:
        found = await client.until(lambda message: message["type"] == "view" and message["data"]["processes"])
    assert found["data"]["processes"][0]["role"] == "web"
    assert found["data"]["values"]["connections"] == 0
    assert found["data"]["firing"] is None
    await watches.close()


async def test_each_set_of_filters_is_a_question_of_its_own(key: str) -> None:
    async with watching(key, "connections", user="ada") as one, watching(key, "connections", slow=True, limit=3) as other:
        for client in (one, other):
            found = await client.until(lambda message: message["type"] == "view")
            assert found["data"] == {"connections": [], "total": 0, "silent": 0}
        asked = set((await audiences.here()).computed)
        assert asked == {
            Question("connections", Filters(user="ada")),
            Question("connections", Filters(slow=True, limit=3)),
        }


async def test_while_redis_is_frozen_it_says_so_and_then_goes_on(key: str, settings: Any, tmp_path: Path) -> None:
    redis = OwnRedis(tmp_path / "redis")
    redis.start()
    use(settings, redis.url, "frozen")
    try:
        async with watching(key, "overview") as client:
            await client.until(lambda message: "data" in message)
            await sync_to_async(redis.freeze)()
            failed = await client.until(lambda message: "error" in message)
            assert (failed["view"], failed["error"]["code"], failed["error"]["message"]) == (
                "overview",
                126,
                "Redis does not answer",
            )
            await sync_to_async(redis.thaw)()
            await client.until(lambda message: "data" in message)
    finally:
        redis.kill()


async def test_of_what_a_slow_watcher_was_not_sent_only_the_newest_is_left() -> None:
    consumer, sent, gate = MonitorConsumer(), [], asyncio.Event()
    events: asyncio.Queue[Any] = asyncio.Queue()

    async def send(message: Any) -> None:
        sent.append(message.get("text"))
        if message["type"] == "websocket.send":
            await gate.wait()

    serving = asyncio.create_task(consumer({"headers": [], "client": ("203.0.113.9", 1)}, events.get, send))
    await asyncio.sleep(0)
    writing = asyncio.create_task(consumer._write())
    for number in range(100):
        consumer.show("overview", f"overview {number}".encode())
        consumer.show("topics", f"topics {number}".encode())
        await asyncio.sleep(0)
    gate.set()
    async with asyncio.timeout(5):
        while len(sent) < 3:
            await asyncio.sleep(0)
    assert sent == ["overview 0", "topics 99", "overview 99"]
    writing.cancel()
    await events.put({"type": "websocket.disconnect"})
    await serving


# What they say


async def test_what_is_no_command_is_answered_and_a_ping_is(key: str) -> None:
    async with watching(key) as client:
        await client.send_json_to({"op": "riot", "id": 5})
        refused = await client.next()
        assert (refused["type"], refused["id"], refused["code"]) == ("error", 5, 104)
        await client.send_json_to({"op": "watch", "id": 6, "views": ["connections"], "filters": {"user_id": 1}})
        assert (await client.next())["code"] == 107
        await client.send_json_to({"op": "ping", "id": 7})
        assert (await client.next())["type"] == "pong"


async def test_too_many_commands_close_it(key: str) -> None:
    async with watching(key) as client:
        for _ in range(COMMAND_BURST + 10):
            await client.send_json_to({"op": "ping"})
        assert await client.closed() == 4013
