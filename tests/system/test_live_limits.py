"""Three serving processes: what an operator changes acts on the sockets that are open, whichever process has them."""

from __future__ import annotations

import asyncio
import http.cookiejar
import json
import re
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from realtime.codes import Close
from tests.own_redis import OwnRedis
from tests.system.conftest import SERVE, SYMBOLS, Client, Tickwire, run_server

PROCESSES = 3
PLANT = f"""
from django.contrib.auth.models import User
from marketdata.models import Instrument
from realtime.keys import create_key
from realtime.models import Account, Plan
for symbol in {SYMBOLS!r}:
    Instrument.objects.get_or_create(symbol=symbol, defaults=dict(name=symbol, kind="stock"))
Plan.objects.filter(name="anonymous").update(connections_per_user=50)
for name in ("ada", "bob", "cleo", "dora", "emil", "fay"):
    user = User.objects.create_user(name, password="a long password")
    Account.objects.create(user=user, plan=Plan.objects.create(name=name, connections_per_user=20))
    print(name, create_key(user)[1])
root = User.objects.create_superuser("root", password="a long password")
print("root", create_key(root, is_staff=True)[1])
"""
TOPICS = ["quote.AAPL", "trade.AAPL", "depth.AAPL", "ticker.AAPL"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    folder = tmp_path_factory.mktemp("live")
    redis = OwnRedis(folder / "redis")
    redis.start()
    yield from run_server(folder, redis.url, "live", [*SERVE, "--workers", str(PROCESSES)], plant=PLANT)
    redis.kill()


@pytest.fixture
def keys(server: Tickwire) -> dict[str, str]:
    return dict(line.split() for line in server.planted.splitlines())


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class Crowd:
    """Clients of one credential on more than one process."""

    def __init__(self, server: Tickwire, stack: AsyncExitStack, headers: dict[str, str]) -> None:
        self.clients: list[Client] = []
        self.nodes: set[str] = set()
        self._server, self._stack, self._headers = server, stack, headers

    async def dial(self) -> Client:
        """Connect; a process that cannot tell just now who comes is asked again, as clients do."""
        options: dict[str, Any] = {"additional_headers": self._headers}
        client = await self._stack.enter_async_context(self._server.dial(**options))
        said = await client.receive()
        if said.get("code") == Close.OVERLOADED:
            return await self.dial()
        assert said["type"] == "welcome", (said, self._server.log.read_text()[-3000:])
        self.nodes.add(said["node"])
        self.clients.append(client)
        return client

    async def spread(self) -> None:
        """Connect until more than one process has a client."""
        async with asyncio.timeout(30):
            while len(self.nodes) < 2:
                await self.dial()

    async def closed(self) -> set[tuple[int, str]]:
        return set(await asyncio.gather(*(client.closed() for client in self.clients)))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def crowd(server: Tickwire, stack: AsyncExitStack, key: str) -> Crowd:
    found = Crowd(server, stack, bearer(key))
    await found.spread()
    return found


async def edit(server: Tickwire, code: str) -> None:
    imports = "from django.contrib.auth.models import User; from realtime.models import *; "
    await asyncio.to_thread(server.manage, "shell", "-v0", "-c", imports + code)


async def evicted(client: Client, count: int) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    while len(found) < count:
        message = await client.until(lambda message: message["type"] == "evicted")
        found.append((message["topic"], message["code"]))
    return found


SAVED = "plan = Plan.objects.get(name='{name}'); plan.{field} = {value}; plan.save()"
IN_SQL = "Plan.objects.filter(name='{name}').update({field}={value})"


@pytest.mark.parametrize(("way", "name"), [(SAVED, "ada"), (IN_SQL, "bob")])
async def test_a_lowered_topic_limit_evicts_the_newest_on_every_process(
    server: Tickwire, stack: AsyncExitStack, keys: dict[str, str], way: str, name: str
) -> None:
    """Whether the change is told (`save`) or has to be found (`update`)."""
    found = await crowd(server, stack, keys[name])
    for client in found.clients:
        assert (await client.ask("subscribe", topics=TOPICS))["total"] == 4
    await edit(server, way.format(name=name, field="topics_per_connection", value=2))
    for client in found.clients:
        assert await evicted(client, 2) == [(TOPICS[3], 2003), (TOPICS[2], 2003)]
        listed = await client.ask("list")
        assert ({topic["topic"] for topic in listed["topics"]}, listed["limit"]) == (set(TOPICS[:2]), 2)
        assert (await client.ask("subscribe", topics=["quote.MSFT"]))["rejected"][0]["details"] == {"limit": 2}


async def test_a_type_and_a_symbol_that_the_plan_loses_are_evicted_and_refused_on_every_path(
    server: Tickwire, stack: AsyncExitStack, keys: dict[str, str]
) -> None:
    found = await crowd(server, stack, keys["cleo"])
    for client in found.clients:
        await client.ask("subscribe", topics=["quote.AAPL", "depth.AAPL", "quote.MSFT"])
    await edit(server, "plan = Plan.objects.get(name='cleo'); plan.data_types = ['quote']; plan.symbols = ['AA*']; plan.save()")
    for client in found.clients:
        assert sorted(await evicted(client, 2)) == [("depth.AAPL", 2001), ("quote.MSFT", 2001)]
        answers = [await client.ask("subscribe", topics=[name]) for name in ("depth.AAPL", "quote.MSFT", "quote.AAPL")]
        assert [[each["code"] for each in answer["rejected"]] for answer in answers] == [[125], [125], []]
    for path in ("quotes/MSFT/", "depth/AAPL/", "klines/AAPL/", "topics/quote.MSFT/history/"):
        assert server.get(f"/api/v1/{path}", **bearer(keys["cleo"]))[0] == 403
    assert server.get("/udf/history?symbol=AAPL&resolution=1&from=0&to=1", **bearer(keys["cleo"]))[0] == 403
    _, body = server.get("/api/v1/quotes/", **bearer(keys["cleo"]))
    assert [each["topic"] for each in json.loads(body)["snapshots"]] == ["quote.AAPL"]


async def test_a_revoked_key_is_cut_off_on_every_process_and_refused_by_rest(
    server: Tickwire, stack: AsyncExitStack, keys: dict[str, str]
) -> None:
    found = await crowd(server, stack, keys["dora"])
    assert server.get("/api/v1/me/", **bearer(keys["dora"]))[0] == 200
    await edit(server, "from realtime.keys import revoke; revoke(ApiKey.objects.filter(user__username='dora'))")
    assert await found.closed() == {(4501, "unauthorized")}
    assert server.get("/api/v1/me/", **bearer(keys["dora"]))[0] == 401


async def test_a_disabled_user_is_cut_off_on_every_process(server: Tickwire, stack: AsyncExitStack, keys: dict[str, str]) -> None:
    found = await crowd(server, stack, keys["emil"])
    await edit(server, "user = User.objects.get(username='emil'); user.is_active = False; user.save()")
    assert await found.closed() == {(4503, "disabled")}


class Browser:
    """What a browser does to log in and out, without its engine."""

    def __init__(self, server: Tickwire) -> None:
        self.server = server
        self.jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar))

    def open(self, path: str, **fields: str) -> str:
        data = urllib.parse.urlencode(fields).encode() if fields else None
        headers = {"Referer": self.server.url, "Origin": self.server.url}
        request = urllib.request.Request(self.server.url + path, data, headers)
        with self._opener.open(request, timeout=10) as answer:
            return str(answer.read().decode())

    def token(self, page: str) -> str:
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert found
        return found[1]

    def log_in(self, name: str) -> dict[str, str]:
        token = self.token(self.open("/admin/login/"))
        self.open("/admin/login/", username=name, password="a long password", csrfmiddlewaretoken=token, next="/api/v1/me/")
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)
        return {"Cookie": cookies, "Origin": self.server.url}

    def log_out(self) -> None:
        self.open("/admin/logout/", csrfmiddlewaretoken=self.token(self.open("/admin/")))


async def test_logging_out_cuts_the_sockets_of_that_session_off(server: Tickwire, stack: AsyncExitStack) -> None:
    browser = Browser(server)
    found = Crowd(server, stack, await asyncio.to_thread(browser.log_in, "root"))
    await found.spread()
    await asyncio.to_thread(browser.log_out)
    assert await found.closed() == {(4501, "unauthorized")}


async def test_whoever_is_banned_is_cut_off_and_shut_out_until_the_ban_is_lifted(
    server: Tickwire, stack: AsyncExitStack, keys: dict[str, str]
) -> None:
    found = Crowd(server, stack, {})
    await found.spread()
    await edit(server, "Ban.objects.create(network='127.0.0.1')")
    assert await found.closed() == {(4503, "disabled")}
    async with server.dial() as client:
        assert await client.closed() == (4503, "disabled")
    assert json.loads(server.get("/api/v1/quotes/AAPL/")[1])["error"]["name"] == "permission_denied"
    await edit(server, "Ban.objects.all().delete()")
    await edit(server, "Ban.objects.create(user=User.objects.get(username='bob'))")
    async with asyncio.timeout(15):
        welcomed = 0
        while welcomed < 2 * PROCESSES:  # all processes know
            async with server.dial() as client:
                welcomed += (await client.receive())["type"] == "welcome"
    async with server.dial() as client:
        assert (await client.ask("auth", token=keys["bob"]))["code"] == 103
    assert server.get("/api/v1/me/", **bearer(keys["bob"]))[0] == 403


async def test_who_goes_on_sending_too_many_commands_is_closed_with_4013(server: Tickwire, keys: dict[str, str]) -> None:
    async with server.dial(additional_headers=bearer(keys["fay"])) as client:
        await client.receive()
        for _ in range(300):
            await client.socket.send('{"op":"list"}')
        notice = await client.until(lambda message: message.get("code") in (4013, 4507))
        assert (notice["kind"], notice["code"]) == ("limits", 4013)
        assert await client.closed() == (4013, "rate_limited")


async def test_unsubscribing_is_never_refused_however_many_commands_came(server: Tickwire, keys: dict[str, str]) -> None:
    async with server.dial(additional_headers=bearer(keys["fay"])) as client:
        await client.ask("subscribe", topics=["quote.AAPL"])
        for _ in range(80):
            await client.socket.send('{"op":"list"}')
        await client.until(lambda message: message.get("code") == 111)
        assert (await client.ask("unsubscribe", topics=["quote.AAPL"]))["topics"] == ["quote.AAPL"]


async def test_an_override_acts_on_a_connected_user(server: Tickwire, stack: AsyncExitStack, keys: dict[str, str]) -> None:
    async with server.dial(additional_headers=bearer(keys["fay"])) as client:
        await client.ask("subscribe", topics=TOPICS)
        await edit(server, "a = Account.objects.get(user__username='fay'); a.overrides = {'topics_per_connection': 3}; a.save()")
        assert await evicted(client, 1) == [(TOPICS[3], 2003)]
        _, body = server.get("/api/v1/me/limits/", **bearer(keys["fay"]))
        assert json.loads(body)["limits"]["topics"] == 3
