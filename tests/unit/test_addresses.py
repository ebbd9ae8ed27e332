"""Addresses of services that Sentinels watch over: what is read from them, and what is refused."""

from __future__ import annotations

import pytest

from marketdata.addresses import Service, is_service, service


def test_a_service_is_read_with_all_that_it_names():
    assert service("rediss+sentinel://me:a%3Ab@one:1,two/ticks/3?sentinel_username=us&sentinel_password=s%40") == Service(
        "ticks", (("one", 1), ("two", 26379)), 3, "me", "a:b", "us", "s@", True
    )


def test_the_least_that_can_be_said_is_a_host_and_a_service():
    assert service("redis+sentinel://one/ticks") == Service("ticks", (("one", 26379),))


def test_a_password_may_stand_without_a_user():
    found = service("redis+sentinel://:secret@one/ticks")
    assert (found.username, found.password) == (None, "secret")


def test_sentinels_may_have_addresses_of_version_six():
    assert service("redis+sentinel://[::1]:7000,[fe80::1]/ticks").sentinels == (("::1", 7000), ("fe80::1", 26379))


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://", "redis+sentinel:///ticks", "redis+sentinel://one", "redis+sentinel://one/", "redis+sentinel://a,/ticks",
        "redis+sentinel://one/ticks/x", "redis+sentinel://one:0/ticks", "redis+sentinel://one:http/ticks", "redis+sentinel://one/t?db=1",
        "redis+sentinel://one/ticks#here", "redis+sentinel://[one]/ticks", "redis+sentinel://::1/ticks",
    ],
)  # fmt: skip
def test_a_malformed_address_is_refused(url):
    assert is_service(url)
    with pytest.raises(ValueError):
        service(url)
