"""Bad credentials are counted by address, in bounded memory."""

from __future__ import annotations

import pytest

from realtime.guesses import MOST_BAD, REFUSED_S, WITHIN_S, Guesses, network


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guesses(clock: Clock) -> Guesses:
    return Guesses(most=3, clock=clock)


def fail(guesses: Guesses, address: str, times: int = MOST_BAD) -> None:
    for _ in range(times):
        guesses.failed(address)


def test_a_few_bad_credentials_are_forgiven(guesses: Guesses) -> None:
    fail(guesses, "a", MOST_BAD - 1)
    assert guesses.wait_s("a") == 0.0


def test_too_many_are_not_for_a_while(guesses: Guesses, clock: Clock) -> None:
    fail(guesses, "a")
    assert guesses.wait_s("a") == REFUSED_S
    clock.now += REFUSED_S
    assert guesses.wait_s("a") == 0.0


def test_the_while_is_not_longer_for_who_goes_on(guesses: Guesses, clock: Clock) -> None:
    fail(guesses, "a")
    clock.now += REFUSED_S - 1
    fail(guesses, "a")
    assert guesses.wait_s("a") == 1.0


def test_those_of_another_minute_do_not_count(guesses: Guesses, clock: Clock) -> None:
    fail(guesses, "a", MOST_BAD - 1)
    clock.now += WITHIN_S
    fail(guesses, "a", MOST_BAD - 1)
    assert guesses.wait_s("a") == 0.0


def test_another_address_is_not_to_blame(guesses: Guesses) -> None:
    fail(guesses, "a")
    assert guesses.wait_s("b") == 0.0


def test_the_address_heard_of_least_recently_is_forgotten(guesses: Guesses) -> None:
    for address in ("a", "b", "c", "a", "d"):
        guesses.failed(address)
    assert len(guesses) == 3
    fail(guesses, "a", MOST_BAD - 2)
    assert guesses.wait_s("a") > 0


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_addresses_are_counted_by_subscriber(address: str, counted: str) -> None:
    assert network(address) == counted
