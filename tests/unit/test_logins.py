"""Failed logins are counted by address, and by name with a larger bound that locks its owner out of nothing."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied

from realtime.guesses import MOST_BAD, REFUSED_S, WITHIN_S, Guesses
from realtime.logins import MOST_OF_NAME, NAME_S, Logins
from tests.unit.test_guesses import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logins(clock: Clock) -> Logins:
    names = Guesses(clock=clock, most_bad=MOST_OF_NAME, within_s=NAME_S, refused_s=NAME_S)
    return Logins(Guesses(clock=clock), names)


def attack(logins: Logins, name: str, times: int = MOST_OF_NAME) -> None:
    """From as many addresses."""
    for n in range(times):
        logins.failed(f"198.51.100.{n}", name)


def test_an_address_is_refused_whatever_the_name(logins: Logins) -> None:
    for n in range(MOST_BAD):
        logins.failed("192.0.2.1", f"name{n}")
    assert logins.wait_s("192.0.2.1", "ada") == REFUSED_S
    assert logins.wait_s("192.0.2.2", "name0") == 0.0


def test_a_name_is_refused_from_many_addresses(logins: Logins) -> None:
    attack(logins, "ada", MOST_OF_NAME - 1)
    assert logins.wait_s("198.51.100.0", "ada") == 0.0
    logins.failed("198.51.100.0", "ada")
    assert logins.wait_s("198.51.100.0", "ada") == WITHIN_S
    assert logins.wait_s("198.51.100.0", "bob") == 0.0


def test_an_address_that_did_not_fail_is_let_through_to_a_name_under_attack(logins: Logins) -> None:
    attack(logins, "ada")
    logins.refuse("192.0.2.1", "ada")
    logins.failed("192.0.2.1", "ada")
    with pytest.raises(PermissionDenied):
        logins.refuse("192.0.2.1", "ada")


def test_each_address_has_one_guess_a_minute_at_a_name_under_attack(logins: Logins, clock: Clock) -> None:
    attack(logins, "ada")
    guesses = 0
    for _ in range(30 * 60):
        clock.now += 1
        if not logins.wait_s("192.0.2.1", "ada"):
            logins.failed("192.0.2.1", "ada")
            guesses += 1
    assert guesses == 30


def test_an_attack_is_forgotten_after_an_hour(logins: Logins, clock: Clock) -> None:
    attack(logins, "ada")
    clock.now += NAME_S
    logins.failed("198.51.100.0", "ada")
    assert logins.wait_s("198.51.100.0", "ada") == 0.0


def test_networks_count_as_one_address(logins: Logins) -> None:
    for n in range(MOST_BAD):
        logins.failed(f"2001:db8:1:2::{n:x}", "ada")
    assert logins.wait_s("2001:db8:1:2::ffff", "ada") == REFUSED_S
