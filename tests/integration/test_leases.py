"""Leases on real Redis."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from marketdata.errors import StoreUnavailable
from marketdata.layout import Layout
from marketdata.leases import Leases
from marketdata.store import Store

LONG_MS = 60_000


@pytest.fixture
def leases(redis_url, prefix):
    store = Store(redis_url, Layout(prefix))
    yield Leases(store)
    store.close()


def test_one_of_many_gets_a_lease(leases):
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: leases.take("x", LONG_MS), range(40)))
    assert sum(lease is not None for lease in taken) == 1


def test_leases_of_different_names_do_not_meet(leases):
    assert leases.take("x", LONG_MS)
    assert leases.take("y", LONG_MS)


def test_the_next_holder_reads_what_the_last_one_noted(leases):
    first = leases.take("x", LONG_MS)
    assert first.note == ""
    assert leases.give_back(first, "until 5")
    assert leases.take("x", LONG_MS).note == "until 5"
    assert leases.notes(["x", "never"]) == ["until 5", ""]


def test_a_lease_ends_by_itself(leases):
    assert leases.take("x", 30)
    time.sleep(0.05)
    assert leases.take("x", LONG_MS)


def test_a_renewed_lease_goes_on(leases):
    lease = leases.take("x", 100)
    assert leases.renew(lease, LONG_MS)
    time.sleep(0.15)
    assert leases.take("x", LONG_MS) is None


def test_who_lost_a_lease_changes_nothing(leases):
    late = leases.take("x", 20)
    time.sleep(0.05)
    holder = leases.take("x", LONG_MS)
    assert not leases.renew(late, LONG_MS)
    assert not leases.give_back(late, "old")
    assert leases.notes(["x"]) == [""]
    assert leases.give_back(holder, "new")


def test_without_redis_it_says_so(tmp_path):
    leases = Leases(Store(f"unix://{tmp_path}/none.sock", Layout("x")))
    with pytest.raises(StoreUnavailable):
        leases.take("x", LONG_MS)
    with pytest.raises(StoreUnavailable):
        leases.notes(["x"])


def test_names_of_keys_begin_with_the_prefix(leases, redis_url, prefix):
    leases.give_back(leases.take("x", LONG_MS), "n")
    leases.take("x", LONG_MS)
    store = Store(redis_url, Layout(prefix))
    assert {key.decode() for key in store.client.scan_iter(f"{prefix}*")} == {f"{prefix}:lease:x", f"{prefix}:lease:x:note"}
    store.close()
