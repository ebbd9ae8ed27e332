"""REST over a real store of its own, three listed instruments, and clients with and without keys."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from redis.client import Pipeline, Redis

from marketdata import instruments, models, views
from marketdata.store import Store, Update, now_us
from marketdata.ticks import Depth, Quote, Ticker, Trade, body
from monitoring import registry
from realtime.auth import forget_principals
from realtime.guesses import guesses, key_index
from realtime.keys import create_key
from realtime.limits import forget_plans
from realtime.rights import PUBLISH, grant
from realtime.throttles import requests
from realtime.usage import sums

Publish = Callable[..., list[int]]
_ids = itertools.count(1)


def quote(symbol: str = "AAPL", **changes: Any) -> Quote:
    return Quote(
        **({"symbol": symbol, "ts": now_us(), "bid": "10.1", "bid_size": "5", "ask": "10.20", "ask_size": "7"} | changes)
    )


def trade(symbol: str = "AAPL", **changes: Any) -> Trade:
    fields = {"symbol": symbol, "ts": now_us(), "id": str(next(_ids)), "price": "10.15", "size": "3", "side": "buy"}
    return Trade(**(fields | changes))


def ticker(symbol: str = "AAPL", last: str = "10.15") -> Ticker:
    return Ticker(symbol, now_us(), last, "10", "11", "9", "9.9", "0.25", "2.53", "1000", "10150")


def depth(symbol: str = "AAPL", bid: str = "10.1") -> Depth:
    return Depth(symbol, now_us(), ((bid, "5"),), (("10.2", "7"),))


@pytest.fixture
def store(redis_url: str, prefix: str, settings: Any) -> Iterator[Store]:
    """The store that the views use, with nothing in it."""
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=redis_url, prefix=prefix)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    views.store.cache_clear()
    views.ingest.cache_clear()
    yield views.store()
    views.store().close()
    views.store.cache_clear()
    views.ingest.cache_clear()


@pytest.fixture
def publish(store: Store) -> Publish:
    """Put ticks into the store as they are."""
    return lambda *ticks: store.publish([Update(str(tick.topic), body(tick)) for tick in ticks])


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each round trip to Redis."""
    made: list[int] = []
    execute = Pipeline.execute

    def counted(pipe: Pipeline, *args: Any, **kwargs: Any) -> Any:
        made.append(len(pipe))
        return execute(pipe, *args, **kwargs)

    ask = Redis.execute_command

    def asked(client: Redis, *args: Any, **kwargs: Any) -> Any:
        made.append(1)
        return ask(client, *args, **kwargs)

    monkeypatch.setattr(Pipeline, "execute", counted)
    monkeypatch.setattr(Redis, "execute_command", asked)
    return made


@pytest.fixture
def listed(db: None) -> Iterator[None]:
    """AAPL, BTC-USDT and 600519.SH are listed; GONE is no longer."""
    rows = [
        ("AAPL", "Apple Inc.", "stock", "NASDAQ", "always", True),
        ("BTC-USDT", "Bitcoin in Tether", "crypto", "BINANCE", "always", True),
        ("600519.SH", "Kweichow Moutai", "stock", "SSE", "cn", True),
        ("GONE", "", "stock", "", "always", False),
    ]
    for symbol, name, kind, venue, session, active in rows:
        models.Instrument.objects.create(symbol=symbol, name=name, kind=kind, venue=venue, session=session, active=active)
    instruments.instruments.cache_clear()
    yield
    instruments.instruments.cache_clear()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    forget_plans()
    forget_principals()
    requests.forget()
    guesses.forget()
    key_index.forget()
    registry.store.cache_clear()  # it may lead to another test's Redis
    yield
    sums.forget()  # its users are gone


@pytest.fixture
def anonymous(listed: None, store: Store) -> Client:
    """A visitor."""
    return Client()


@pytest.fixture
def key_client(listed: None, store: Store) -> Callable[..., Client]:
    """Makes a client with an API key of those permissions."""

    def make(**permissions: bool) -> Client:
        user = User.objects.create_user(f"user{next(_ids)}")
        if permissions.get("can_publish"):
            grant(user, PUBLISH)
        _, key = create_key(user, **permissions)
        return Client(headers={"Authorization": f"Bearer {key}"})

    return make


@pytest.fixture
def client(key_client: Callable[..., Client]) -> Client:
    """A client with a key of plan `free`."""
    return key_client()
