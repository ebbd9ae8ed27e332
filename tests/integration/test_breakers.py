"""Who is told at once while Redis or the database does not answer, and who goes on asking."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django import db
from django.contrib.auth.models import User
from django.test import Client

from marketdata import access, database, dial, instruments, views
from marketdata.breaker import PAUSE_S
from marketdata.errors import DatabaseUnavailable, StoreUnavailable
from marketdata.layer import BusLayer
from marketdata.layout import Layout
from marketdata.models import Instrument
from marketdata.reads import AsyncReads, Reads
from marketdata.store import AsyncStore, Store, Update
from marketdata.topics import parse
from realtime import auth, keys, limits
from realtime.auth import CannotTell, Credentials, identify_token, resolve
from realtime.consumers import MarketConsumer
from realtime.hub import Hub
from realtime.keys import create_key
from tests.own_redis import OwnRedis, running

QUOTE = "quote.AAPL"
TIMEOUT_S = 1.1  # one is enough to open a breaker
LAYOUT = Layout("breakers")


@pytest.fixture
def own_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnRedis]:
    """A Redis that can be frozen, and clients that wait for it a second."""
    monkeypatch.setattr(dial, "TIMEOUT_S", TIMEOUT_S)
    with running(tmp_path / "redis") as found:
        yield found


def counted(monkeypatch: pytest.MonkeyPatch, thing: object, *names: str) -> Counter[str]:
    """Counts calls of methods."""
    calls: Counter[str] = Counter()

    def count(name: str) -> None:
        method = getattr(thing, name)

        def called(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return method(*args, **options)

        monkeypatch.setattr(thing, name, called)

    for name in names:
        count(name)
    return calls


def test_a_frozen_redis_keeps_one_reader_waiting_and_not_fifty_more(own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(own_redis.url, LAYOUT)
    store.publish([Update(QUOTE, b"{}")])
    calls, reads = counted(monkeypatch, store, "latest", "history"), Reads(store)
    own_redis.freeze()
    with pytest.raises(StoreUnavailable):
        reads.latest([QUOTE])
    assert (calls, reads.breaker.state) == ({"latest": 1}, "open")
    for _ in range(25):
        with pytest.raises(StoreUnavailable):
            reads.latest([QUOTE])
        with pytest.raises(StoreUnavailable):
            reads.history(QUOTE)
    assert calls.total() == 1
    own_redis.thaw()
    monkeypatch.setattr(reads.breaker, "_try_at", 0.0)
    assert reads.latest([QUOTE])[0] is not None
    assert reads.breaker.stats() == {"state": "closed", "opened": 1, "refused": 50}
    store.close()


def test_a_writer_is_not_cut_off_by_the_readers_breaker(own_redis: OwnRedis) -> None:
    store = Store(own_redis.url, LAYOUT)
    reads = Reads(store)
    own_redis.freeze()
    with pytest.raises(StoreUnavailable):
        reads.latest([QUOTE])
    own_redis.thaw()
    assert reads.breaker.state == "open"
    assert store.publish([Update(QUOTE, b"{}")])
    store.close()


async def test_commands_are_answered_at_once_too_until_redis_is_back(
    own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AsyncStore(own_redis.url, LAYOUT)
    calls, reads = counted(monkeypatch, store, "latest"), AsyncReads(store)
    own_redis.freeze()
    asked = [reads.latest([QUOTE]) for _ in range(5)]  # at the same time: all of them wait, for one call
    assert all(isinstance(answer, StoreUnavailable) for answer in await asyncio.gather(*asked, return_exceptions=True))
    for _ in range(50):
        with pytest.raises(StoreUnavailable):
            await reads.latest([QUOTE])
    assert (calls["latest"], reads.breaker.stats()) == (1, {"state": "open", "opened": 1, "refused": 50})
    own_redis.thaw()
    async with asyncio.timeout(5 * PAUSE_S):
        while reads.breaker.state != "closed":
            await asyncio.gather(reads.latest([QUOTE]), return_exceptions=True)
            await asyncio.sleep(0.05)
    await reads.close()


@pytest.fixture
async def hub(own_redis: OwnRedis) -> AsyncIterator[Hub]:
    layer, store = BusLayer(own_redis.url, prefix=LAYOUT.prefix), AsyncStore(own_redis.url, LAYOUT)
    found = Hub(await layer.bus(), store, LAYOUT)
    yield found
    await found.stop()
    await store.close()
    await layer.close()


async def test_joins_are_refused_at_once_but_what_is_followed_is_not_asked_for(
    hub: Hub, own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hub.ensure([parse(QUOTE)])
    calls = counted(monkeypatch, hub.bus, "follow")
    own_redis.freeze()
    with pytest.raises(StoreUnavailable):
        await hub.ensure([parse("quote.MSFT")])
    for number in range(50):
        with pytest.raises(StoreUnavailable):
            await hub.ensure([parse(f"quote.S{number}")])
    assert (calls["follow"], hub.joins.state, set(hub.entries)) == (1, "open", {QUOTE})
    await hub.ensure([parse(QUOTE)])
    own_redis.thaw()
    async with asyncio.timeout(15):
        while "quote.MSFT" not in hub.entries:
            await asyncio.gather(hub.ensure([parse("quote.MSFT")]), return_exceptions=True)
            await asyncio.sleep(0.1)
    assert hub.joins.state == "closed"


# the database


class Hung:
    """A database that keeps callers waiting and then fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.now = 0.0
        monkeypatch.setattr(database.breaker, "_clock", lambda: self.now)

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        self.now += 5.0
        raise db.OperationalError("database is locked")


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hung]:
    found = Hung(monkeypatch)
    auth.forget_principals()
    yield found
    database.breaker.state = "closed"


@pytest.fixture
def ada(db: None) -> str:
    return create_key(User.objects.create_user("ada"))[1]


def test_a_hung_database_keeps_one_caller_waiting(ada: str, hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    find_key = keys.find_key
    monkeypatch.setattr(auth, "find_key", hung)
    for _ in range(50):
        with pytest.raises(CannotTell):
            resolve(Credentials(authorization=f"Bearer {ada}"))
    assert (hung.asked, database.breaker.state) == (1, "open")
    monkeypatch.setattr(auth, "find_key", find_key)
    hung.now += PAUSE_S
    principal = resolve(Credentials(authorization=f"Bearer {ada}"))
    assert (principal is not None and principal.name, database.breaker.state) == ("ada", "closed")


def test_a_request_is_told_503_and_when_to_come_again(ada: str, hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "find_key", hung)
    answer = Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {ada}"})
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert answer.json()["error"]["name"] == "overloaded"


@pytest.mark.django_db(transaction=True)
async def test_a_socket_is_told_too(hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "find_key", hung)
    with pytest.raises(CannotTell):
        await identify_token("tw_aaaaaaaa_" + "x" * 43)


def test_visitors_keep_the_plan_that_was_last_known(db: None, hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    known = limits.refresh()
    monkeypatch.setattr(limits._plans, "get", lambda name: None)  # too old to be believed
    monkeypatch.setattr(limits, "refresh", hung)
    for _ in range(50):
        principal = resolve(Credentials())
        assert principal is not None
        assert principal.limits == known["anonymous"]
    assert hung.asked == 1


def test_without_any_plan_known_visitors_are_told_so(db: None, hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    limits.forget_plans()
    monkeypatch.setattr(limits, "refresh", hung)
    with pytest.raises(CannotTell):
        resolve(Credentials())


@pytest.mark.django_db(transaction=True)
async def test_who_shows_a_key_is_told_1013_and_a_visitor_is_welcome(hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    await asyncio.to_thread(limits.refresh)
    monkeypatch.setattr(auth, "find_key", hung)
    headers = [(b"authorization", b"Bearer tw_aaaaaaaa_" + b"x" * 43)]
    for shown, first in ((headers, {"type": "notice", "code": 1013}), ([], {"type": "welcome", "plan": "anonymous"})):
        client = WebsocketCommunicator(MarketConsumer.as_asgi(), "/ws/v1/market", headers=shown)
        assert (await client.connect())[0]
        assert first.items() <= (await client.receive_json_from(3)).items()
        await client.disconnect()


# through REST


def test_requests_for_history_are_told_at_once(
    own_redis: OwnRedis, db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=own_redis.url)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    instruments.instruments.cache_clear()
    Instrument.objects.create(symbol="AAPL", name="Apple", kind="stock")
    monkeypatch.setattr(views, "store", cache(Store.from_settings))
    calls = counted(monkeypatch, views.store(), "history")
    monkeypatch.setattr(views.reads().breaker, "_pause_s", 3600.0)  # however slow this machine is, nobody tries again
    own_redis.freeze()
    answers = [Client().get("/api/v1/trades/AAPL/") for _ in range(20)]
    own_redis.thaw()
    assert {(answer.status_code, answer["Retry-After"]) for answer in answers} == {(503, "2")}
    assert calls["history"] == 1
    views.store().close()


def test_instruments_stay_known_while_the_database_hangs(db: None, hung: Hung, monkeypatch: pytest.MonkeyPatch) -> None:
    known = instruments.Instruments()
    monkeypatch.setattr(access, "instruments", lambda: known)
    Instrument.objects.create(symbol="AAPL", name="Apple", kind="stock")
    assert access.listed("AAPL").name == "Apple"
    known._looked_at = 0.0
    monkeypatch.setattr(known, "refresh_if_older", hung)
    for _ in range(50):
        assert access.listed("AAPL").name == "Apple"
    assert (hung.asked, database.breaker.state) == (1, "open")
    known._known = None
    with pytest.raises(DatabaseUnavailable):
        access.listed("AAPL")
