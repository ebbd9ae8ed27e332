"""Clients for an address, before they connect."""

from __future__ import annotations

import pytest

from marketdata import dial

ADDRESS = "rediss+sentinel://me:secret@one:1,two/ticks/3?sentinel_username=us&sentinel_password=known"


@pytest.mark.parametrize("make", [dial.client, dial.async_client])
def test_a_client_behind_sentinels_shows_each_its_own_password(make):
    pool = make(ADDRESS).connection_pool
    asked = pool.connection_kwargs
    assert (asked["db"], asked["username"], asked["password"]) == (3, "me", "secret")
    assert "SSL" in pool.connection_class.__name__
    sentinels = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(it["host"], it["port"], it["username"], it["password"]) for it in sentinels] == [
        ("one", 1, "us", "known"),
        ("two", 26379, "us", "known"),
    ]


@pytest.mark.parametrize("make", [dial.client, dial.async_client])
@pytest.mark.parametrize("address", ["redis://host", "redis+sentinel://host/ticks"])
def test_no_client_waits_for_ever_or_tries_again_by_itself(make, address):
    asked = make(address).connection_pool.connection_kwargs
    assert asked["socket_timeout"] == asked["socket_connect_timeout"] == dial.TIMEOUT_S
    assert asked["retry"].get_retries() == 0
