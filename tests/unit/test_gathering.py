"""Questions to the store that are asked at the same time: one call for all, and nobody gets another's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from marketdata.errors import StoreUnavailable
from marketdata.reads import MOST_AT_ONCE, Gathering
from marketdata.store import Stamped


class Slow:
    """A store that answers once it may."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.failing = False
        self.may = asyncio.Event()

    async def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        self.asked.append(list(topics))
        await self.may.wait()
        if self.failing:
            raise StoreUnavailable("away")
        return [Stamped("e", len(topic), 0, topic.encode()) for topic in topics]


async def begun(*questions: Sequence[str], of: Gathering) -> list[asyncio.Task[list[Stamped | None]]]:
    """Questions that are under way."""
    tasks = [asyncio.create_task(of.latest(topics)) for topics in questions]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


def bodies(answer: list[Stamped | None]) -> list[bytes]:
    return [one.body for one in answer if one is not None]


async def test_those_who_ask_meanwhile_are_asked_for_together_and_each_topic_once() -> None:
    store = Slow()
    gathering = Gathering(store.latest)
    first = await begun(["a"], of=gathering)
    others = await begun(["b", "c"], ["c", "a", "c"], of=gathering)
    assert store.asked == [["a"]]
    store.may.set()
    assert [bodies(answer) for answer in await asyncio.gather(*first, *others)] == [[b"a"], [b"b", b"c"], [b"c", b"a", b"c"]]
    assert store.asked == [["a"], ["b", "c", "a"]]


async def test_one_question_has_a_bound_and_whoever_has_no_room_is_next() -> None:
    store = Slow()
    gathering = Gathering(store.latest)
    half = [f"a{number}" for number in range(MOST_AT_ONCE // 2)]
    more = [f"b{number}" for number in range(MOST_AT_ONCE // 2 + 1)]
    store.may.set()
    await asyncio.gather(*await begun(half, half, more, more, of=gathering))
    assert [len(asked) for asked in store.asked] == [len(half), len(more), len(more)]


async def test_a_question_that_is_larger_than_the_bound_is_asked_by_itself() -> None:
    store = Slow()
    store.may.set()
    topics = [f"a{number}" for number in range(2 * MOST_AT_ONCE)]
    assert len(await Gathering(store.latest).latest(topics)) == len(topics)


async def test_a_failure_is_everybodys_and_the_next_question_is_asked() -> None:
    store = Slow()
    store.failing = True
    gathering = Gathering(store.latest)
    tasks = await begun(["a"], ["b"], of=gathering)
    store.may.set()
    for task in tasks:
        with pytest.raises(StoreUnavailable):
            await task
    store.failing = False
    assert bodies(await gathering.latest(["c"])) == [b"c"]


async def test_who_stops_waiting_takes_nobody_along() -> None:
    store = Slow()
    gathering = Gathering(store.latest)
    gone, stays = await begun(["a"], ["b"], of=gathering)
    gone.cancel()
    store.may.set()
    assert bodies(await stays) == [b"b"]
