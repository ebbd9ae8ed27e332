"""What feeds offer while Redis is stopped, killed, frozen, full or demoted: nothing doubled or out of order, lost = counted.

Every test reads the streams in Redis and compares them with what was offered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from marketdata import offers
from marketdata.backlog import Backlog
from marketdata.bars import BarWriter
from marketdata.errors import StoreRefused, StoreUnavailable
from marketdata.ingest import Ingest
from marketdata.layout import Layout
from marketdata.publisher import AsyncPublisher
from marketdata.store import AsyncStore, Store, Update
from marketdata.ticks import Tick, from_body
from marketdata.topics import parse
from tests.own_redis import OwnRedis, running, until
from tests.unit.ingest_parts import NOW, FixedInstruments, instrument, quote, trade

LAYOUT = Layout("faults", history=100_000)
BATCHES = 100  # each test offers that many and breaks Redis in between
MOST = 2000  # ticks that may wait


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    with running(tmp_path / "redis") as found:
        yield found


class Offering:
    """A feed that goes on offering one trade and two quotes at a time, whatever happens."""

    def __init__(self, ingest: Ingest) -> None:
        self.ingest = ingest
        self.offered: list[Tick] = []

    async def offer(self, batches: int) -> None:
        for _ in range(batches):
            at = len(self.offered) / 1000
            batch: list[Tick] = [trade(at, id=f"{at}"), quote(at), quote(at, symbol="Y")]
            self.offered += batch
            await self.ingest.aoffer(batch)

    async def cleared(self) -> None:
        """Wait until nothing waits any more."""
        async with asyncio.timeout(30):
            await self.ingest.offers._clear.wait()


@pytest.fixture
async def feed(own_redis: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Offering]:
    monkeypatch.setattr(offers, "LONGEST_S", 0.1)
    store = AsyncStore(own_redis.url, LAYOUT)
    store.client.connection_pool.connection_kwargs["socket_timeout"] = 0.3  # how long a silent Redis is waited for
    known = FixedInstruments(instrument("X"), instrument("Y"))
    backlog = Backlog(MOST)
    ingest = Ingest(AsyncPublisher(store), known, clock=lambda: NOW, writer=BarWriter(lambda _: None), backlog=backlog)
    yield Offering(ingest)
    await ingest.stop()
    await store.close()


def stream(own_redis: OwnRedis, topic: str) -> list[Tick]:
    """What the topic has; its numbers have no hole."""
    store = Store(own_redis.url, LAYOUT)
    updates = store.history(topic, limit=100_000).updates
    store.close()
    assert [update.seq for update in updates] == list(range(1, len(updates) + 1))
    return [from_body(parse(topic).type, update.body) for update in updates]


def published(own_redis: OwnRedis) -> list[Tick]:
    """What the topics of the feed have, in the order of event time within each."""
    found = [stream(own_redis, topic) for topic in ("trade.X", "quote.X", "quote.Y")]
    for ticks in found:
        times = [tick.ts for tick in ticks]
        assert times == sorted(set(times))  # nothing doubled, nothing backwards
    return [tick for ticks in found for tick in ticks]


def assert_all_is_there(feed: Offering, own_redis: OwnRedis) -> None:
    assert sorted(map(repr, published(own_redis))) == sorted(map(repr, feed.offered))
    assert feed.ingest.accepted == len(feed.offered)
    assert (feed.ingest.duplicates, feed.ingest.rejected_by_reason) == (0, {})


async def test_frozen(feed: Offering, own_redis: OwnRedis) -> None:
    """A frozen Redis does what it was sent before when it thaws; what was given again meanwhile must not be done twice."""
    await feed.offer(BATCHES)
    for _ in range(2):
        own_redis.freeze()
        await feed.offer(BATCHES)
        while feed.ingest.offers.backoff.outage.failures % 3 != 2:  # the same batch was given several times
            await asyncio.sleep(0.05)
        own_redis.thaw()
        await feed.cleared()
    await feed.offer(BATCHES)
    assert_all_is_there(feed, own_redis)


@pytest.mark.parametrize("end", [OwnRedis.stop, OwnRedis.kill], ids=["stopped", "killed"])
async def test_restarted_with_its_file(feed: Offering, own_redis: OwnRedis, end: Callable[[OwnRedis], None]) -> None:
    """Other epoch, same windows and marks: what came before the restart is in its file, what comes after is all there is."""
    await feed.offer(BATCHES)
    own_redis.save()
    end(own_redis)
    before = len(feed.offered)
    await feed.offer(BATCHES)
    own_redis.start()
    await feed.cleared()
    await feed.offer(1)
    assert sorted(map(repr, published(own_redis))) == sorted(map(repr, feed.offered[before:]))
    assert feed.ingest.accepted == len(feed.offered)


async def test_gone_and_back_without_memory(feed: Offering, own_redis: OwnRedis) -> None:
    await feed.offer(BATCHES)
    own_redis.kill()
    before = len(feed.offered)
    await feed.offer(BATCHES)
    own_redis.start()
    await feed.cleared()
    assert sorted(map(repr, published(own_redis))) == sorted(map(repr, feed.offered[before:]))


async def test_connections_killed_while_it_publishes(feed: Offering, own_redis: OwnRedis) -> None:
    """Nobody knows whether the batch on its way was done."""
    for _ in range(20):
        offering = asyncio.create_task(feed.offer(20))
        await asyncio.sleep(0.003)
        await asyncio.to_thread(own_redis.ask, "CLIENT", "KILL", "TYPE", "normal")
        await offering
    await feed.cleared()
    assert_all_is_there(feed, own_redis)


async def test_full(feed: Offering, own_redis: OwnRedis, caplog: pytest.LogCaptureFixture) -> None:
    await feed.offer(BATCHES)
    own_redis.config("maxmemory", "1")
    await feed.offer(BATCHES)
    own_redis.config("maxmemory", "0")
    await feed.cleared()
    assert_all_is_there(feed, own_redis)
    assert "publishing: Redis takes nothing: it has no memory left" in caplog.text


async def test_demoted(feed: Offering, own_redis: OwnRedis, caplog: pytest.LogCaptureFixture) -> None:
    await feed.offer(BATCHES)
    own_redis.ask("REPLICAOF", "127.0.0.1", "1")
    await feed.offer(BATCHES)
    own_redis.ask("REPLICAOF", "NO", "ONE")
    await feed.cleared()
    assert_all_is_there(feed, own_redis)
    assert "publishing: Redis takes nothing: it is a replica" in caplog.text


async def test_more_than_fits_is_left_out_and_counted(feed: Offering, own_redis: OwnRedis) -> None:
    own_redis.stop()
    await feed.offer(MOST // 2)
    own_redis.start()
    await feed.cleared()
    left = published(own_redis)
    backlog = feed.ingest.offers.backlog
    out = backlog.conflated + backlog.dropped
    assert len(left) == feed.ingest.accepted == len(feed.offered) - out.total()
    assert out["trade"] == 0  # these matter each, and quotes made room enough
    assert {tick.symbol for tick in left} == {"X", "Y"}
    assert backlog.conflated["quote"] > 500


async def test_another_process_brings_the_same_trades_during_the_outage(feed: Offering, own_redis: OwnRedis) -> None:
    store = AsyncStore(own_redis.url, LAYOUT)
    known = FixedInstruments(instrument("X"), instrument("Y"))
    other = Ingest(AsyncPublisher(store), known, clock=lambda: NOW, writer=BarWriter(lambda _: None), derive=())
    await feed.offer(1)
    own_redis.stop()
    await feed.offer(BATCHES)
    trades = [tick for tick in feed.offered if tick.type == "trade"]
    own_redis.start()
    done = await other.aoffer(trades[50:], wait=20)
    await feed.cleared()
    await other.offers._clear.wait()
    found = stream(own_redis, "trade.X")
    assert len(found) == len(set(map(repr, found))) >= BATCHES
    assert done.waiting == 0
    assert feed.ingest.duplicates + other.duplicates == len(trades) + len(trades[50:]) - len(found) - 1  # 1: of the old epoch
    await other.stop()
    await store.close()


# Refusals


def refusal(own_redis: OwnRedis) -> StoreUnavailable:
    """What a publish says."""
    store = Store(own_redis.url, LAYOUT)
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.publish([Update("quote.X", b"{}")])
        return caught.value
    finally:
        store.close()


def test_out_of_memory_is_said(own_redis: OwnRedis) -> None:
    own_redis.config("maxmemory", "1")
    found = refusal(own_redis)
    assert isinstance(found, StoreRefused)
    assert "no memory left" in str(found)


def test_a_replica_is_said(own_redis: OwnRedis) -> None:
    own_redis.ask("REPLICAOF", "127.0.0.1", "1")
    found = refusal(own_redis)
    assert isinstance(found, StoreRefused)
    assert "replica" in str(found)


def test_a_disk_that_takes_nothing_is_said(own_redis: OwnRedis) -> None:
    gone = own_redis.folder / "gone"
    gone.mkdir()
    own_redis.config("dir", str(gone))
    own_redis.config("save", "3600 1")
    gone.rmdir()
    own_redis.ask("BGSAVE")
    until(lambda: own_redis.ask("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
    found = refusal(own_redis)
    assert isinstance(found, StoreRefused)
    assert "disk" in str(found)


def connections(own_redis: OwnRedis) -> set[str]:
    return {line.split()[0] for line in own_redis.ask("CLIENT", "LIST", "TYPE", "normal").splitlines()}


async def test_a_demoted_master_is_left(own_redis: OwnRedis) -> None:
    """The connection is dropped, so that the next one is made to whoever is the master then."""
    one, other = Store(own_redis.url, LAYOUT), AsyncStore(own_redis.url, LAYOUT)
    one.latest(["quote.X"])
    await other.latest(["quote.X"])
    own_redis.ask("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(StoreRefused):
        one.publish([Update("quote.X", b"{}")])
    with pytest.raises(StoreRefused):
        await other.publish([Update("quote.X", b"{}")])
    await asyncio.sleep(0.05)
    assert len(connections(own_redis)) == 1  # the one that asks
    one.close()
    await other.close()
