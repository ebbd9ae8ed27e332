"""Values that are known without asking the store: when they are given, and how fresh they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from marketdata.as_of import AsOf
from marketdata.errors import StoreUnavailable
from marketdata.last_known import LastKnown, Value
from marketdata.memory_store import MemoryStore
from marketdata.store import History, Stamped, Update


class Away:
    """A store that does not answer."""

    def latest(self, topics: Sequence[str]) -> list[Stamped | None]:
        raise StoreUnavailable("away")

    def as_of(self, topics: Sequence[str], until_us: int) -> list[Stamped | None]:
        raise StoreUnavailable("away")

    def history(self, topic: str, **which: Any) -> History:
        raise StoreUnavailable("away")


@pytest.fixture
def store() -> MemoryStore:
    found = MemoryStore()
    found.publish([Update("quote.A", b"1"), Update("quote.B", b"2")])
    return found


def bodies(values: list[Value | None]) -> list[bytes | None]:
    return [value.stamped.body if value and value.stamped else None for value in values]


def test_the_store_has_the_first_word(store):
    known = LastKnown()
    known.follow(lambda topics: {"quote.A": Stamped("old", 1, 0, b"old")})
    assert known.latest(store, ["quote.A"]) == [Value(store.latest(["quote.A"])[0], True)]


def test_what_was_read_is_known_when_the_store_is_away(store):
    known = LastKnown()
    known.latest(store, ["quote.A"])
    found = known.latest(Away(), ["quote.A", "quote.B"])
    assert (bodies(found), found[0].current, found[1]) == ([b"1", None], False, None)


def test_nothing_known_is_no_answer():
    with pytest.raises(StoreUnavailable):
        LastKnown().latest(Away(), ["quote.A"])


def test_nothing_asked_is_nothing_answered():
    assert LastKnown().latest(Away(), []) == []


def test_a_source_is_fresher_than_what_was_read(store):
    known = LastKnown()
    known.latest(store, ["quote.A"])
    stop = known.follow(lambda topics: {"quote.A": Stamped("e", 9, 0, b"9")})
    assert bodies(known.latest(Away(), ["quote.A"])) == [b"9"]
    stop()
    assert bodies(known.latest(Away(), ["quote.A"])) == [b"1"]


def test_a_store_that_lost_its_memory_is_filled_in_for(store):
    known = LastKnown()
    known.latest(store, ["quote.A"])
    store.wipe()
    assert [(value.stamped.body, value.current) for value in known.latest(store, ["quote.A"])] == [(b"1", False)]
    store.publish([Update("quote.A", b"3")])
    assert [(value.stamped.body, value.current) for value in known.latest(store, ["quote.A"])] == [(b"3", True)]


def test_a_topic_that_was_never_published_to_is_said_to_be_empty(store):
    assert LastKnown().latest(store, ["quote.C"]) == [Value(None, True)]


def test_memory_is_bounded_and_forgets_what_was_read_longest_ago(store):
    known = LastKnown(most_topics=2)
    store.publish([Update("quote.C", b"3")])
    for topic in ("quote.A", "quote.B", "quote.A", "quote.C"):
        known.latest(store, [topic])
    assert bodies(known.latest(Away(), ["quote.A", "quote.B", "quote.C"])) == [b"1", None, b"3"]


def test_who_sees_things_later_is_given_what_is_old_enough(store):
    known = LastKnown()
    known.follow(lambda topics: {"quote.A": Stamped("e", 9, 900, b"9"), "quote.B": Stamped("e", 3, 300, b"3")})
    assert bodies(known.latest(AsOf(Away(), 500), ["quote.A", "quote.B"])) == [None, b"3"]


def test_a_source_that_is_too_fresh_does_not_hide_what_was_read(store):
    known = LastKnown()
    known.latest(store, ["quote.A"])
    read_us = store.latest(["quote.A"])[0].published_us
    known.follow(lambda topics: {"quote.A": Stamped("e", 9, read_us + 500, b"9")})
    assert bodies(known.latest(AsOf(Away(), read_us + 100), ["quote.A"])) == [b"1"]


def test_what_somebody_sees_later_is_not_what_others_are_given(store):
    known = LastKnown()
    known.latest(store, ["quote.A"])
    until_us = store.latest(["quote.A"])[0].published_us
    store.publish([Update("quote.A", b"2")])
    known.latest(store, ["quote.A"])
    known.latest(AsOf(store, until_us), ["quote.A"])
    assert bodies(known.latest(Away(), ["quote.A"])) == [b"2"]
