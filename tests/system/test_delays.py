"""A plan with a delay, on the shipped server: on no path does it show anything younger, while others see everything at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from marketdata.store import Update
from marketdata.ticks import Depth, Kline, Quote, Ticker, Trade, body
from marketdata.topics import Interval
from tests.system.conftest import SERVE, Client, Tickwire, run_server

DELAY_S = 2
START = 1_731_672_000_000_000
TRADE, QUOTE, KLINE = "trade.AAPL", "quote.AAPL", "kline.1m.AAPL"
TOPICS = [TRADE, QUOTE, KLINE, "ticker.AAPL", "depth.AAPL"]
PLANT = f"""
from django.contrib.auth.models import User
from marketdata.models import Instrument
from realtime.keys import create_key
from realtime.models import Account, Plan
Instrument.objects.create(symbol="AAPL", name="Apple", kind="stock")
names = ("commands_per_second", "command_burst", "requests_per_second", "request_burst", "connections_per_user")
much = dict.fromkeys(names, 1000) | {{"topics_per_connection": 10}}
for name, delay_s in (("late", {DELAY_S}), ("prompt", 0)):
    user = User.objects.create_user(name)
    Account.objects.create(user=user, plan=Plan.objects.create(name=name, delay_seconds=delay_s, **much))
    print(create_key(user)[1])
"""
Ages = dict[str, list[float]]  # path → how old what it showed was, seconds


def now_us() -> int:
    return time.time_ns() // 1000


def tick_of_now(number: int) -> list[Any]:
    """A tick of each type, which says when it was made: in µs, and where only prices are shown in seconds."""
    ts = now_us()
    price = f"{ts / 1e6:.6f}"
    return [
        Trade("AAPL", ts, str(number), price, "1"),
        Quote("AAPL", ts, price, "1", price, "1"),
        Kline("AAPL", ts, Interval.M1, START, START + 60_000_000, "1", "1", "1", price, "1", "1", 1, False),
        Ticker("AAPL", ts, price, "1", "1", "1", None, None, None, "1", "1"),
        Depth("AAPL", ts, ((price, "1"),), ()),
    ]


class Publisher:
    """Publishes twenty times a second, until it is told to stop.

    Attributes:
        published: the ids of its trades.
    """

    ids = itertools.count(1)

    def __init__(self, server: Tickwire) -> None:
        self.published: list[str] = []
        self._server, self._ended = server, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            number = next(self.ids)
            self.published.append(str(number))
            self._server.store.publish([Update(str(tick.topic), body(tick)) for tick in tick_of_now(number)])

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture(scope="module")
def server(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tickwire]:
    """Two serving processes; `planted` is a delayed user's key, and one of somebody who waits for nothing."""
    folder = tmp_path_factory.mktemp("delays")
    yield from run_server(folder, redis_url, f"{folder.name}-{os.getpid()}", [*SERVE, "--workers", "2"], plant=PLANT)


@pytest.fixture
def publishing(server: Tickwire) -> Iterator[Publisher]:
    with Publisher(server) as found:
        yield found


@asynccontextmanager
async def dial(server: Tickwire, key: str) -> AsyncIterator[tuple[Client, str]]:
    async with server.dial(additional_headers={"Authorization": f"Bearer {key}"}) as client:
        yield client, (await client.receive())["session"]


def age(ts_us: float) -> float:
    return (now_us() - ts_us) / 1e6


def is_trade(message: Any, id: str) -> bool:
    return bool(message.get("topic") == TRADE and message.get("data", {}).get("id") == id)


async def until(found: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(15):
        while not await found():
            await asyncio.sleep(0.05)


# The paths


async def live(server: Tickwire, key: str, ages: Ages) -> None:
    """A socket, and one that goes on where it ended, on whichever process: every trade, in order."""
    positions: dict[str, Any] = {}
    session, trades = "", list[int]()
    for _ in range(4):
        async with dial(server, key) as (client, mine):
            if session:
                reply = await client.ask("resume", session=session, positions=positions)
                assert reply["recovered"] == sorted(positions, key=reply["recovered"].index)
            else:
                await client.ask("subscribe", topics=TOPICS)
            session, seen = mine, 0
            while seen < 15:
                message = await client.receive()
                if message["type"] not in ("snapshot", "update"):
                    assert message["type"] == "heartbeat"
                    continue
                topic, epoch = message["topic"], message.get("epoch")
                positions[topic] = {"epoch": epoch or positions[topic]["epoch"], "seq": message["seq"]}
                ages["socket " + message["type"]].append(age(message["data"]["ts"]))
                if topic == TRADE:
                    trades.append(message["seq"])
                    seen += 1
    assert trades == list(range(trades[0], trades[0] + 60))


async def commands(server: Tickwire, key: str, ages: Ages) -> None:
    async with dial(server, key) as (client, _):
        for _ in range(10):
            reply = await client.ask("snapshot", topics=TOPICS)
            ages["snapshot"] += [age(one["data"]["ts"]) for one in reply["snapshots"]]
            for which in ({}, {"from_seq": 1}, {"limit": 5}, {"from_seq": 1, "to_seq": 100_000}):
                reply = await client.ask("history", topic=TRADE, **which)
                ages[f"history {which}"] += [age(update["data"]["ts"]) for update in reply["updates"]]
            await asyncio.sleep(0.1)


async def ahead(server: Tickwire, key: str, ages: Ages) -> None:
    """A client that says that it has the newest update of all."""
    for _ in range(5):
        latest = dict(zip(TOPICS, server.store.latest(TOPICS), strict=True))
        since = {topic: {"epoch": at.epoch, "seq": at.seq} for topic, at in latest.items() if at is not None}
        async with dial(server, key) as (client, _):
            reply = await client.ask("subscribe", topics=TOPICS, since=since)
            ages["since ahead, recovered"] += [0.0 for one in reply["accepted"] if one["recovered"]]
            for _ in range(10):
                message = await client.until(lambda found: "data" in found)
                ages["since ahead"].append(age(message["data"]["ts"]))


async def rest(server: Tickwire, key: str, ages: Ages) -> None:
    seconds = START // 1_000_000
    paths: dict[str, Callable[[Any], list[float]]] = {
        f"/api/v1/snapshots/?topics={','.join(TOPICS)}": lambda found: [one["data"]["ts"] for one in found["snapshots"]],
        **{f"/api/v1/{kind}/": lambda found: [one["data"]["ts"] for one in found["snapshots"]] for kind in ("quotes", "tickers")},
        **{f"/api/v1/{kind}/AAPL/": lambda found: [found["data"]["ts"]] for kind in ("quotes", "tickers", "depth")},
        "/api/v1/trades/AAPL/": lambda found: [one["ts"] for one in found["trades"]],
        "/api/v1/klines/AAPL/?interval=1m": lambda found: [one["ts"] for one in found["klines"]],
        **{
            f"/api/v1/topics/{topic}/history/{query}": lambda found: [one["data"]["ts"] for one in found["updates"]]
            for topic in TOPICS
            for query in ("", "?from_seq=1", "?limit=3")
        },
        f"/udf/history?symbol=AAPL&resolution=1&from={seconds}&to={seconds + 60}": lambda found: [
            1e6 * one for one in found["c"]
        ],
        f"/udf/history?symbol=AAPL&resolution=1&countback=2&to={seconds + 60}": lambda found: [1e6 * one for one in found["c"]],
        "/udf/quotes?symbols=AAPL": lambda found: [1e6 * found["d"][0]["v"][field] for field in ("bid", "ask", "lp")],
    }
    for _ in range(5):
        for path, times in paths.items():
            status, answer = await asyncio.to_thread(server.get, path, Authorization=f"Bearer {key}")
            assert status == 200, (path, answer)
            ages[path] += map(age, times(json.loads(answer)))


async def ages_on_every_path(server: Tickwire, key: str) -> Ages:
    """Begins when there is something to be seen."""

    async def begun() -> bool:
        _, answer = await asyncio.to_thread(server.get, "/api/v1/quotes/AAPL/", Authorization=f"Bearer {key}")
        return bool(json.loads(answer)["data"])

    ages: Ages = defaultdict(list)
    await until(begun)
    await asyncio.gather(*(path(server, key, ages) for path in (live, commands, ahead, rest)))
    return ages


# What holds of all of them


async def test_on_no_path_is_anything_younger_than_the_delay(server: Tickwire, publishing: Publisher) -> None:
    late, _ = server.planted.split()
    ages = await ages_on_every_path(server, late)
    assert {path: found for path, found in ages.items() if found and min(found) < DELAY_S} == {}
    assert len(ages) == 35
    assert [path for path, found in ages.items() if not found] == ["since ahead, recovered"]


async def test_the_same_paths_show_others_what_is_younger(server: Tickwire, publishing: Publisher) -> None:
    _, prompt = server.planted.split()
    ages = await ages_on_every_path(server, prompt)
    older = {path for path, found in ages.items() if min(found, default=99.0) >= DELAY_S}
    assert {path for path in older if not path.endswith("?from_seq=1")} == set()


async def test_everything_comes_in_the_end(server: Tickwire) -> None:
    late, prompt = server.planted.split()
    async with dial(server, late) as (patient, _), dial(server, prompt) as (hasty, _):
        for client in (patient, hasty):
            await client.ask("subscribe", topics=[TRADE, QUOTE])
        with Publisher(server) as publishing:
            await hasty.until(lambda found: len(publishing.published) > 30 and is_trade(found, publishing.published[30]))
        (newest,) = server.store.latest([QUOTE])
        assert newest is not None
        await patient.until(lambda found: is_trade(found, publishing.published[0]))
        for id in publishing.published[1:]:
            message = await patient.until(lambda found: found.get("topic") == TRADE)
            assert is_trade(message, id)
        reply = await patient.ask("list")
        assert next(one["seq"] for one in reply["topics"] if one["topic"] == QUOTE) == newest.seq


async def test_a_plan_that_gets_a_delay_closes_its_sockets_and_shows_newcomers_nothing_younger(
    server: Tickwire, publishing: Publisher
) -> None:
    _, prompt = server.planted.split()

    async def delay(seconds: int) -> None:
        change = f"from realtime.models import Plan; p = Plan.objects.get(name='prompt'); p.delay_seconds = {seconds}; p.save()"
        await asyncio.to_thread(server.manage, "shell", "-v0", "-c", change)

    try:
        async with dial(server, prompt) as (client, _):
            await client.ask("subscribe", topics=[QUOTE])
            await delay(DELAY_S)
            assert (await client.until(lambda found: found.get("code") == 4011))["type"] == "notice"
            assert await client.closed() == (4011, "state_invalidated")
        async with dial(server, prompt) as (client, _):
            await client.ask("subscribe", topics=[QUOTE])
            message = await client.until(lambda found: "data" in found)
            assert age(message["data"]["ts"]) >= DELAY_S
    finally:
        await delay(0)


async def test_who_gets_a_delay_by_auth_begins_anew_if_it_follows_anything(server: Tickwire, publishing: Publisher) -> None:
    late, _ = server.planted.split()
    async with server.dial() as client:
        await client.ask("subscribe", topics=[QUOTE])
        await client.socket.send(json.dumps({"op": "auth", "token": late}))
        assert (await client.until(lambda found: found["type"] == "notice"))["code"] == 4011
        assert await client.closed() == (4011, "state_invalidated")
    async with server.dial() as client:
        assert (await client.ask("auth", token=late))["plan"] == "late"
        await client.ask("subscribe", topics=[QUOTE])
        for _ in range(10):
            message = await client.until(lambda found: found.get("topic") == QUOTE)
            assert age(message["data"]["ts"]) >= DELAY_S
