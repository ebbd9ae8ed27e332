"""The store as it was at a moment, over each of its forms."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from marketdata.as_of import AsOf, AsyncAsOf
from marketdata.memory_store import MemoryStore
from marketdata.store import AsyncStore, Stamped, Update
from tests.conftest import Clock

TRADE = "trade.AAPL"
SECOND_US = 1_000_000


def as_of(store: Any, until_us: int) -> Any:
    return (AsyncAsOf if isinstance(store.store, AsyncStore) else AsOf)(store.store, until_us)


async def asked(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found


@pytest.fixture
async def until_us(store: Any, clock: Clock) -> int:
    """A moment by which the first six of ten updates were published."""
    began_us = clock.us
    for n in range(1, 11):
        await store.publish([Update(TRADE, b"%d" % n)])
        clock.pass_s(1)
    return began_us + 5 * SECOND_US


@pytest.mark.parametrize(
    ("which", "seqs"),
    [
        ({"newest": True, "limit": 2}, [5, 6]),
        ({"newest": True}, [1, 2, 3, 4, 5, 6]),
        ({"from_seq": 4}, [4, 5, 6]),
        ({"from_seq": 2, "limit": 3}, [2, 3, 4]),
        ({"from_seq": 4, "to_seq": 9}, [4, 5, 6]),
        ({"from_seq": 2, "to_seq": 3}, [2, 3]),
        ({"from_seq": 7, "to_seq": 9}, []),
    ],
)
async def test_history_ends_at_the_moment(store: Any, until_us: int, which: dict[str, Any], seqs: list[int]) -> None:
    epoch, updates = await asked(as_of(store, until_us).history(TRADE, **which))
    assert ([update.seq for update in updates], epoch) == (seqs, (await store.latest([TRADE]))[0].epoch)


async def test_the_latest_value_is_the_end_of_the_history(store: Any, until_us: int) -> None:
    seen = as_of(store, until_us)
    assert await asked(seen.latest([TRADE])) == (await asked(seen.history(TRADE, newest=True, limit=1))).updates


async def test_of_a_topic_that_was_not_there_yet_nothing_is_seen(store: Any, until_us: int) -> None:
    seen = as_of(store, until_us - 6 * SECOND_US)
    assert (await asked(seen.history(TRADE)), await asked(seen.latest([TRADE]))) == (("", []), [None])


async def test_a_clock_that_went_ahead_shows_nothing_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.publish([Update(TRADE, b"1"), Update(TRADE, b"2"), Update(TRADE, b"3")])
    kept = store._topics[TRADE].history
    for at, published_us in enumerate((100, 900, 200)):  # the second one's writer has a clock that is fast
        kept[at] = Stamped(kept[at].epoch, kept[at].seq, published_us, kept[at].body)
    assert [update.seq for update in AsOf(store, 500).history(TRADE).updates] == [1]


async def test_an_epoch_that_begins_between_two_questions_is_not_taken_for_the_old_one() -> None:
    store = MemoryStore()
    store.publish([Update(TRADE, b"1")])

    class Late(MemoryStore):
        def as_of(self, topics: Any, until_us: int) -> list[Stamped | None]:
            found = store.as_of(topics, until_us)
            store.wipe()
            store.publish([Update(TRADE, b"2")])
            return found

        def history(self, topic: str, **which: Any) -> Any:
            return store.history(topic, **which)

    assert AsOf(Late(), 1 << 60).history(TRADE) == ("", [])
