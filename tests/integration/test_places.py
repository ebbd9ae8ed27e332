"""A connection's place: limits that are lowered or on trial, and what one address may have."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from realtime.admissions import Admissions
from realtime.connection import Connection
from realtime.hub import Hub
from realtime.limits import Limits
from realtime.places import AddressRules, Refusal, is_inside
from realtime.principal import Principal
from realtime.trials import trials
from tests.integration.conftest import Desk
from tests.integration.test_admissions import Nodes, admit, away, closed, dial, nodes  # noqa: F401 -- a fixture

Strict = Callable[[AddressRules], Admissions]
REJECTED, TAKEN_OVER = (4504, "connection_limit"), (4505, "taken_over")


def principal(limit: int, *, takes_over: bool = False, on_trial: bool = False) -> Principal:
    dry_run = frozenset({"connections"}) if on_trial else frozenset()
    return Principal(7, "ada", "free", Limits(10, limit, None, 5, 20, frozenset(), takes_over=takes_over, dry_run=dry_run))


def lowered(who: Principal, limit: int) -> Principal:
    return replace(who, limits=replace(who.limits, connections=limit))


def relimit(node: Admissions, connections: list[Connection], who: Principal) -> None:
    for connection in connections:
        node.relimit(connection, who)


def ends(connections: list[Connection]) -> list[tuple[int, str] | None]:
    return [closed(connection) for connection in connections]


# a limit that is lowered


@pytest.mark.parametrize(
    ("takes_over", "expected"),
    [(False, [None, None, REJECTED, REJECTED]), (True, [TAKEN_OVER, TAKEN_OVER, None, None])],
)
async def test_a_lowered_limit_ends_the_newest_or_with_take_over_the_oldest_on_every_node(
    desk: Desk, nodes: Nodes, takes_over: bool, expected: list[tuple[int, str] | None]  # noqa: F811
) -> None:  # fmt: skip
    one, other, who = nodes(), nodes(), principal(4, takes_over=takes_over)
    await asyncio.gather(one.renew(), other.renew())  # from here on they hear each other
    connections = [(await admit(desk, node, who))[0] for node in (one, other, one, other)]
    relimit(one, connections[::2], lowered(who, 2))
    await desk.until(lambda: ends(connections) == expected)
    assert sum(sum(node.held.values()) for node in (one, other)) == 2


async def test_a_raised_limit_ends_nobody_and_lets_more_in(desk: Desk, nodes: Nodes) -> None:  # noqa: F811
    node, who = nodes(), principal(1)
    connections = await admit(desk, node, who)
    relimit(node, connections, lowered(who, 3))
    assert len(await admit(desk, node, lowered(who, 3), 3)) == 2
    assert ends(connections) == [None]


async def test_with_redis_away_a_lowered_limit_ends_what_is_too_many_here(
    desk: Desk, nodes: Nodes, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    node, who = nodes(), principal(3)
    connections = [(await admit(desk, node, who))[0] for _ in range(3)]
    away(node, monkeypatch)
    relimit(node, connections, lowered(who, 1))
    await desk.until(lambda: ends(connections) == [None, REJECTED, REJECTED])


# on trial


async def test_a_limit_on_trial_lets_everybody_in_and_counts(desk: Desk, nodes: Nodes) -> None:  # noqa: F811
    trials.forget()
    node, who = nodes(), principal(2, on_trial=True)
    assert len(await admit(desk, node, who, 5)) == 5
    assert trials.counts() == {"free.connections": 3}


async def test_a_limit_on_trial_counts_with_redis_away_too(
    desk: Desk, nodes: Nodes, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    trials.forget()
    node, who = nodes(), principal(2, on_trial=True)
    away(node, monkeypatch)
    assert len(await admit(desk, node, who, 5)) == 5
    assert trials.counts() == {"free.connections": 3}


# a process that stood still


async def test_a_process_that_stood_still_gives_up_the_places_that_others_have(desk: Desk, nodes: Nodes) -> None:  # noqa: F811
    still, other, who = nodes(0.3), nodes(), principal(3)
    before = [(await admit(desk, still, who))[0] for _ in range(3)]
    async with asyncio.timeout(10):
        while sum(other.held.values()) < 2:
            await admit(desk, other, who)
            await asyncio.sleep(0.02)
    await still.renew()
    assert ends(before) == [None, REJECTED, REJECTED]
    assert sum(sum(node.held.values()) for node in (still, other)) == 3


async def test_a_process_that_stood_still_keeps_the_places_that_nobody_took(desk: Desk, nodes: Nodes) -> None:  # noqa: F811
    still, who = nodes(0.1), principal(3)
    before = await admit(desk, still, who, 3)
    async with asyncio.timeout(10):
        while still.hub.time() - still._renewed_at <= still.lease_s:
            await asyncio.sleep(0.02)
    await still.renew()
    assert ends(before) == [None] * 3


# addresses


@pytest.fixture
async def strict(desk: Desk) -> AsyncIterator[Strict]:
    """Makes the admissions of one more node that has rules for addresses."""
    made: list[Admissions] = []

    def make(rules: AddressRules) -> Admissions:
        made.append(Admissions(Hub(desk.hub.bus, desk.store, desk.store.layout), 40.0, rules))
        return made[-1]

    yield make
    for admissions in made:
        await admissions.stop()
        await admissions.hub.stop()


async def enter(
    desk: Desk, node: Admissions, count: int, address: str = "203.0.113.9", who: Principal | None = None
) -> list[Refusal | None]:
    async def one() -> Refusal | None:
        connection = dial(desk)
        connection.address = address
        return await node.enter(connection, who or principal(100))

    return list(await asyncio.gather(*(one() for _ in range(count))))


def codes(refusals: list[Refusal | None]) -> list[int | None]:
    return [None if refusal is None else int(refusal.close) for refusal in refusals]


async def test_an_address_has_so_many_connections_on_all_nodes_whoever_they_belong_to(desk: Desk, strict: Strict) -> None:
    rules = AddressRules(3, 300)
    one, other = strict(rules), strict(rules)
    assert codes(await enter(desk, one, 2)) == [None, None]
    assert sorted(map(str, codes(await enter(desk, other, 2)))) == ["4504", "None"]
    assert codes(await enter(desk, other, 1, "203.0.113.10")) == [None]


async def test_who_is_refused_by_address_has_no_place_among_the_users_either(desk: Desk, strict: Strict) -> None:
    node = strict(AddressRules(1, 300))
    await enter(desk, node, 3)
    assert sorted(node.held.values()) == [1, 1]


async def test_who_is_refused_by_address_takes_nobodys_place(desk: Desk, strict: Strict) -> None:
    node, who = strict(AddressRules(1, 300)), principal(1, takes_over=True)
    await node.renew()  # which begins to listen
    assert codes(await enter(desk, node, 1, who=who)) == [None]
    assert codes(await enter(desk, node, 1, who=who)) == [4504]
    assert (node.hub.counts["taken_over"], sorted(node.held.values())) == (0, [1, 1])
    assert codes(await enter(desk, node, 1, "203.0.113.10", who)) == [None]
    await desk.until(lambda: node.hub.counts["taken_over"] == 1)


async def test_an_address_begins_so_many_connections_in_five_minutes_and_is_told_when_again(desk: Desk, strict: Strict) -> None:
    node = strict(AddressRules(100, 4))
    assert codes(await enter(desk, node, 4)) == [None] * 4
    (refusal,) = await enter(desk, node, 1)
    assert refusal is not None
    assert refusal.close == 4013
    assert 0 < (refusal.retry_after_ms or 0) <= 300_000
    assert node.hub.counts["refused_addresses"] == 1


async def test_addresses_on_trial_are_counted_and_let_in(desk: Desk, strict: Strict) -> None:
    trials.forget()
    node = strict(AddressRules(2, 4, on_trial=True))
    assert codes(await enter(desk, node, 6)) == [None] * 6
    assert trials.counts() == {"address.connections": 4}


async def test_some_networks_are_not_counted(desk: Desk, strict: Strict) -> None:
    node = strict(AddressRules(1, 1, (ipaddress.ip_network("127.0.0.0/8"),)))
    assert codes(await enter(desk, node, 3, "127.0.0.9")) == [None] * 3
    assert codes(await enter(desk, node, 3, "")) == [None] * 3  # a Unix socket has no address


async def test_a_subscriber_of_ipv6_is_one_address(desk: Desk, strict: Strict) -> None:
    node = strict(AddressRules(1, 300))
    assert codes(await enter(desk, node, 1, "2001:db8::1")) == [None]
    assert codes(await enter(desk, node, 1, "2001:db8::2")) == [4504]
    assert codes(await enter(desk, node, 1, "2001:db8:0:1::1")) == [None]


@pytest.mark.parametrize(("first", "second"), [("2001:db8::1", "2001:db8::2"), ("198.51.100.7", "::ffff:198.51.100.7")])
async def test_a_visitor_who_changes_the_end_of_an_ipv6_address_is_the_same_visitor(
    desk: Desk, strict: Strict, first: str, second: str
) -> None:
    node, visitor = strict(AddressRules(0, 0)), replace(principal(1), user_id=None)
    assert codes(await enter(desk, node, 1, first, visitor)) == [None]
    assert codes(await enter(desk, node, 1, second, visitor)) == [4504]
    assert codes(await enter(desk, node, 1, "2001:db8:0:1::1", visitor)) == [None]


@pytest.mark.parametrize(
    ("address", "inside"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.0.0.1", False), ("2001:db8::1", False), ("nowhere", False), ("", False)],
)
def test_an_address_is_looked_for_in_networks_of_its_own_kind(address: str, inside: bool) -> None:
    assert is_inside(address, [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fe80::/10")]) is inside
