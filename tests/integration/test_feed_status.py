"""What feeds note about themselves, on real Redis."""

from __future__ import annotations

import pytest

from marketdata.errors import StoreUnavailable
from marketdata.feed_status import FRESH_US, FeedStatus, anote_statuses, feed_status, feed_statuses, note_status
from marketdata.layout import Layout
from marketdata.store import AsyncStore, Store, now_us


def status(name: str, **fields) -> FeedStatus:
    return FeedStatus(name=name, kind="demo", polled=False, **{"good_until_us": now_us() + FRESH_US, **fields})


@pytest.fixture
def store(redis_url, prefix):
    store = Store(redis_url, Layout(prefix))
    yield store
    store.close()


def test_anyone_reads_what_was_noted(store):
    noted = [status("b", connected=True, ticks=5, last_error="gone"), status("a")]
    for each in noted:
        note_status(store, each)
    assert feed_statuses(store) == noted[::-1]


async def test_the_feed_process_notes_all_at_once(store, redis_url):
    asynchronous = AsyncStore(redis_url, store.layout)
    noted = [status("a"), status("b")]
    await anote_statuses(asynchronous, noted)
    await anote_statuses(asynchronous, [])
    await asynchronous.close()
    assert feed_statuses(store) == noted


def test_a_note_out_of_date_is_left_out_but_its_counters_are_there_to_go_on_from(store):
    old = status("a", ticks=7, good_until_us=1)
    note_status(store, old)
    assert feed_statuses(store) == []
    assert feed_status(store, "a") == old


def test_notes_vanish_with_a_switched_off_installation(store, prefix):
    note_status(store, status("a"))
    assert 0 < store.client.ttl(f"{prefix}:feeds") <= 3600


def test_without_redis_it_says_so(tmp_path):
    with pytest.raises(StoreUnavailable):
        feed_statuses(Store(f"unix://{tmp_path}/none.sock", Layout("x")))
