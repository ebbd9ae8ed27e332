"""What is changed about a plan, a user, a key or a session acts on the connections that are open."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from django.db import OperationalError
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from marketdata.database import breaker
from marketdata.store import now_us
from realtime import auth, limits
from realtime import warden as module
from realtime.admissions import Admissions
from realtime.auth import Credentials, issue_ticket, resolve
from realtime.connection import Connection
from realtime.keys import create_key, revoke
from realtime.models import Account, ApiKey, Ban, Plan
from realtime.orders import Changed
from realtime.principal import Principal, Unauthorized
from realtime.rights import PUBLISH, grant
from realtime.sessions import Sessions
from realtime.trials import trials
from realtime.warden import Warden
from tests.integration.conftest import Desk, ListSink, messages

pytestmark = pytest.mark.django_db(transaction=True)
QUOTE, TRADE, DEPTH = "quote.AAPL", "trade.AAPL", "depth.AAPL"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    limits.forget_plans()
    auth.forget_principals()
    trials.forget()


@pytest.fixture
async def warden(desk: Desk) -> AsyncIterator[Warden]:
    admissions = Admissions(desk.hub, 40.0)
    found = Warden(desk.hub, admissions, Sessions(desk.hub, 60))
    await found.look()
    yield found
    auth.hears_of_changes(False)


@pytest.fixture
def ada() -> User:
    user = User.objects.create_user("ada", password="a long one")
    Account.objects.create(user=user, plan=Plan.objects.get(name="free"))
    return user


def join(desk: Desk, principal: Principal | None) -> Connection:
    connection = desk.connect()
    connection.opened_us = now_us()
    connection.address = "203.0.113.9"
    connection.principal = principal
    return connection


async def by_key(desk: Desk, user: User, **rights: bool) -> Connection:
    _, key = await sync_to_async(create_key)(user, **rights)
    return join(desk, await sync_to_async(resolve)(Credentials(token=key)))


def log_in(user: User) -> Any:
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), "realtime.logins.AccountBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session


async def by_session(desk: Desk, user: User) -> Connection:
    session = await sync_to_async(log_in)(user)
    return join(desk, await sync_to_async(resolve)(Credentials(session=session)))


async def follow(desk: Desk, connection: Connection, *names: str, rate: float | None = None) -> None:
    await desk.subscribe(connection, *names, rate=connection.principal.limits.rate(rate))  # type: ignore[union-attr]
    connection.asked |= dict.fromkeys(names, rate)


def closed(connection: Connection) -> tuple[int, str] | None:
    assert isinstance(connection.sink, ListSink)
    return connection.sink.closed


def following(connection: Connection) -> set[str]:
    assert connection.cohort is not None
    return set(connection.cohort.paces)


async def change(**values: Any) -> None:
    await Plan.objects.filter(name="free").aupdate(**values)


def evictions(connection: Connection) -> list[tuple[str, int]]:
    return [(message["topic"], message["code"]) for message in messages(connection) if message["type"] == "evicted"]


# credentials


async def test_a_revoked_key_ends_its_connections_only(desk: Desk, warden: Warden, ada: User) -> None:
    gone, stays = await by_key(desk, ada), await by_key(desk, ada)
    prefix = gone.principal.key_prefix  # type: ignore[union-attr]
    await sync_to_async(revoke)(ApiKey.objects.filter(prefix=prefix))
    await warden.look()
    assert (closed(gone), closed(stays)) == ((4501, "unauthorized"), None)
    assert messages(gone)[-1] | {"message": ""} == {"type": "notice", "kind": "limits", "message": "", "code": 4501}


async def test_a_deleted_key_ends_its_connections(desk: Desk, warden: Warden, ada: User) -> None:
    connection = await by_key(desk, ada)
    await ApiKey.objects.all().adelete()
    await warden.look()
    assert closed(connection) == (4501, "unauthorized")


@pytest.mark.parametrize("way", [by_key, by_session])
async def test_a_user_who_is_disabled_or_deleted_is_cut_off(desk: Desk, warden: Warden, ada: User, way: Any) -> None:
    connection = await way(desk, ada)
    await User.objects.filter(pk=ada.pk).aupdate(is_active=False)
    await warden.look()
    assert closed(connection) == (4503, "disabled")


async def test_logging_out_ends_the_connections_of_that_session(desk: Desk, warden: Warden, ada: User) -> None:
    gone, stays = await by_session(desk, ada), await by_session(desk, ada)
    login = gone.principal.login  # type: ignore[union-attr]
    assert login is not None
    await sync_to_async(import_module(settings.SESSION_ENGINE).SessionStore(login.key).flush)()
    await warden.look()
    assert (closed(gone), closed(stays)) == ((4501, "unauthorized"), None)


@pytest.mark.parametrize("shown", ["session ticket", "ticket session", "ticket"])
async def test_logging_out_ends_the_connections_of_the_sessions_tickets_too(
    desk: Desk, warden: Warden, ada: User, shown: str, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=redis_url, prefix=prefix)
    monkeypatch.setattr(settings, "TICKWIRE", dataclasses.replace(settings.TICKWIRE, bus=bus))
    session = await sync_to_async(log_in)(ada)
    by_itself = Credentials(session=session)
    ticket = await sync_to_async(issue_ticket)(await sync_to_async(resolve)(by_itself))  # type: ignore[arg-type]
    credentials = {"session": by_itself, "ticket": Credentials(token=ticket)}
    connections = [join(desk, await sync_to_async(resolve)(credentials[each])) for each in shown.split()]
    await warden.look()
    assert {closed(connection) for connection in connections} == {None}
    await sync_to_async(session.flush)()
    await warden.look()
    assert {closed(connection) for connection in connections} == {(4501, "unauthorized")}


async def test_a_changed_password_ends_the_sessions_connections_and_not_the_keys(desk: Desk, warden: Warden, ada: User) -> None:
    page, program = await by_session(desk, ada), await by_key(desk, ada)
    ada.set_password("another long one")
    await ada.asave()
    await warden.look()
    assert (closed(page), closed(program)) == ((4501, "unauthorized"), None)


async def test_a_right_that_is_withdrawn_is_gone_from_open_connections(desk: Desk, warden: Warden, ada: User) -> None:
    await sync_to_async(grant)(ada, PUBLISH)
    connection = await by_key(desk, ada, can_publish=True)
    assert connection.principal.can_publish  # type: ignore[union-attr]
    await ada.user_permissions.aclear()
    await warden.look()
    assert not connection.principal.can_publish  # type: ignore[union-attr]
    assert closed(connection) is None


async def test_a_group_that_is_deleted_is_told_since_its_members_lose_rights(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    group = await Group.objects.acreate(name="publishers")
    await sync_to_async(ada.groups.add)(group)
    told: list[Changed] = []
    monkeypatch.setattr("realtime.changes.tell", told.append)
    await group.adelete()
    assert Changed(everyone=True) in told


async def test_users_of_a_disabled_plan_and_its_visitors_are_cut_off(desk: Desk, warden: Warden, ada: User) -> None:
    user, visitor = await by_key(desk, ada), join(desk, await sync_to_async(resolve)(Credentials()))
    await Plan.objects.filter(name__in=("free", "anonymous")).aupdate(enabled=False)
    await warden.look()
    assert [closed(user), closed(visitor)] == [(4503, "disabled")] * 2


@pytest.mark.parametrize("ban", [{"user": True}, {"network": "203.0.113.0/24"}])
async def test_whoever_is_banned_is_cut_off(desk: Desk, warden: Warden, ada: User, ban: dict[str, Any]) -> None:
    connection, visitor = await by_key(desk, ada), join(desk, await sync_to_async(resolve)(Credentials()))
    await Ban.objects.acreate(**(ban | ({"user": ada} if "user" in ban else {})))
    await warden.look()
    assert closed(connection) == (4503, "disabled")
    assert closed(visitor) == (None if "user" in ban else (4503, "disabled"))


# what a plan allows


async def test_topics_of_a_type_that_the_plan_loses_are_evicted(desk: Desk, warden: Warden, ada: User) -> None:
    connection = await by_key(desk, ada)
    await follow(desk, connection, QUOTE, DEPTH, TRADE)
    await change(data_types=["quote", "trade"])
    await warden.look()
    assert evictions(connection) == [(DEPTH, 2001)]
    assert following(connection) == {QUOTE, TRADE}
    assert messages(connection)[-2]["kind"] == "limits"


async def test_topics_of_symbols_that_the_plan_loses_are_evicted(desk: Desk, warden: Warden, ada: User) -> None:
    connection = await by_key(desk, ada)
    await follow(desk, connection, QUOTE, "quote.MSFT")
    await change(symbols=["MS*"])
    await warden.look()
    assert evictions(connection) == [(QUOTE, 2001)]


async def test_of_too_many_topics_the_newest_are_evicted_the_very_newest_first(desk: Desk, warden: Warden, ada: User) -> None:
    older, newer = await by_key(desk, ada), await by_key(desk, ada)
    await follow(desk, older, TRADE)
    await follow(desk, older, QUOTE)
    await follow(desk, older, DEPTH)
    await follow(desk, newer, DEPTH)
    await follow(desk, newer, QUOTE)
    await follow(desk, newer, TRADE)  # the same set, and so the same cohort, in another order
    await change(topics_per_connection=1)
    await warden.look()
    assert evictions(older) == [(DEPTH, 2003), (QUOTE, 2003)]
    assert evictions(newer) == [(TRADE, 2003), (QUOTE, 2003)]


async def test_what_is_different_for_one_user_acts_on_that_user_alone(desk: Desk, warden: Warden, ada: User) -> None:
    bob = await sync_to_async(User.objects.create_user)("bob")
    hers, his = await by_key(desk, ada), await by_key(desk, bob)
    for connection in (hers, his):
        await follow(desk, connection, QUOTE, TRADE)
    await Account.objects.filter(user=ada).aupdate(overrides={"topics_per_connection": 1})
    await warden.look()
    assert (evictions(hers), evictions(his)) == ([(TRADE, 2003)], [])


async def test_a_limit_on_trial_evicts_nothing_and_is_counted(desk: Desk, warden: Warden, ada: User) -> None:
    connection = await by_key(desk, ada)
    await follow(desk, connection, QUOTE, TRADE)
    await change(topics_per_connection=1, dry_run=["topics"])
    await warden.look()
    assert evictions(connection) == []
    assert trials.counts() == {"free.topics": 1}


async def test_rates_follow_the_plan_down_and_what_was_asked_up(desk: Desk, warden: Warden, ada: User) -> None:
    connection = await by_key(desk, ada)
    await follow(desk, connection, QUOTE, rate=4)
    await follow(desk, connection, DEPTH)
    rates = []
    for most in (2, 3, 50, None):
        await change(max_rate=most)
        await warden.look()
        assert connection.cohort is not None
        rates.append([connection.cohort.paces[name].rate for name in (QUOTE, DEPTH)])
    assert rates == [[2, 2], [3, 3], [4, 50], [4, None]]


async def test_fewer_connections_end_those_that_are_too_many(desk: Desk, warden: Warden, ada: User) -> None:
    await warden.admissions.renew()
    connections = [await by_key(desk, ada) for _ in range(2)]
    for connection in connections:
        assert await warden.admissions.admit(connection, connection.principal)  # type: ignore[arg-type]
    await change(connections_per_user=1)
    await warden.look()
    await desk.until(lambda: [closed(connection) for connection in connections] == [None, (4504, "connection_limit")])


async def test_a_connection_of_the_age_that_the_plan_allows_ends(desk: Desk, warden: Warden, ada: User) -> None:
    old, young = await by_key(desk, ada), await by_key(desk, ada)
    old.opened_us -= 3_700_000_000
    await change(max_session_hours=1)
    await warden.look()
    assert (closed(old), closed(young)) == ((4000, "max_session_age"), None)


async def test_an_age_on_trial_is_counted_once_and_acts_when_the_trial_is_over(desk: Desk, warden: Warden, ada: User) -> None:
    connection = await by_key(desk, ada)
    connection.opened_us -= 3_700_000_000
    await change(max_session_hours=1, dry_run=["session_hours"])
    for _ in range(3):
        await warden.look()
    assert (closed(connection), trials.counts()) == (None, {"free.session_hours": 1})
    await change(dry_run=[])
    await warden.look()
    assert closed(connection) == (4000, "max_session_age")


async def test_an_edit_that_changes_nothing_is_not_told(desk: Desk, warden: Warden, ada: User) -> None:
    connection = await by_key(desk, ada)
    await User.objects.filter(pk=ada.pk).aupdate(first_name="Ada")
    await warden.look()
    assert messages(connection) == []


# how it learns


async def test_a_look_asks_few_queries_however_many_are_connected(desk: Desk, warden: Warden, ada: User) -> None:
    for way in (by_key, by_session):
        for _ in range(30):
            await way(desk, ada)
    join(desk, await sync_to_async(resolve)(Credentials()))

    def looking() -> int:
        with CaptureQueriesContext(database) as found:
            module._read()
            module.review([each.principal for each in desk.hub.connections.values() if each.principal.user_id])  # type: ignore[union-attr, misc]
        return len(found)

    assert await sync_to_async(looking)() <= 6  # plans, bans, keys, users, sessions


async def test_a_change_is_told_over_the_bus_and_acted_on_at_once(desk: Desk, warden: Warden, ada: User) -> None:
    connections = [await by_key(desk, ada) for _ in range(3)]
    others = [join(desk, await sync_to_async(resolve)(Credentials())) for _ in range(2)]
    await User.objects.filter(pk=ada.pk).aupdate(is_active=False)
    warden.hear(Changed(users=(ada.pk,)))
    assert set(warden._due) == {connection.session for connection in connections}
    warden.task.start()
    await desk.until(lambda: all(closed(connection) == (4503, "disabled") for connection in connections))
    await warden.task.stop()
    assert [closed(other) for other in others] == [None, None]


async def test_while_the_database_is_away_nobody_loses_anything_and_what_is_due_stays_due(
    desk: Desk, warden: Warden, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await by_key(desk, ada)
    await User.objects.filter(pk=ada.pk).aupdate(is_active=False)
    with monkeypatch.context() as broken:

        def fail(*_: Any) -> None:
            raise OperationalError("away")

        broken.setattr("realtime.reviews.User.objects", property(fail))
        broken.setattr("realtime.reviews.with_rights", fail)
        await warden.look()
    assert closed(connection) is None
    breaker.answers()
    await warden.look()
    assert closed(connection) == (4503, "disabled")


async def test_after_the_bus_was_away_everybody_is_looked_at(desk: Desk, warden: Warden, ada: User) -> None:
    connections = [await by_key(desk, ada) for _ in range(3)]
    warden._due.clear()
    warden._bus_changed(False)
    warden._bus_changed(True)
    assert set(warden._due) == {connection.session for connection in connections}


async def test_a_key_costs_no_query_after_the_first_until_something_changes(desk: Desk, warden: Warden, ada: User) -> None:
    _, key = await sync_to_async(create_key)(ada)
    shown = Credentials(token=key)
    auth.hears_of_changes(True)

    def queries() -> int:
        with CaptureQueriesContext(database) as found:
            resolve(shown)
        return sum("realtime_apikey" in query["sql"] and query["sql"].startswith("SELECT") for query in found)

    assert [await sync_to_async(queries)() for _ in range(3)] == [1, 0, 0]
    await warden.look()
    assert await sync_to_async(queries)() == 0
    warden.hear(Changed(users=(ada.pk,)))
    assert [await sync_to_async(queries)() for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_key_that_was_revoked_in_sql_is_found_and_opens_nothing_more(
    desk: Desk, warden: Warden, ada: User, is_connected: bool
) -> None:
    _, key = await sync_to_async(create_key)(ada)
    auth.hears_of_changes(True)
    principal = await sync_to_async(resolve)(Credentials(token=key))
    if is_connected:
        join(desk, principal)
    await ApiKey.objects.aupdate(revoked_at=timezone.now())
    await warden.look()
    with pytest.raises(Unauthorized):
        await sync_to_async(resolve)(Credentials(token=key))


async def test_remembered_credentials_are_looked_at_in_turn(
    desk: Desk, warden: Warden, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_LOOKED_AT", 2)
    auth.hears_of_changes(True)
    for _ in range(5):
        _, key = await sync_to_async(create_key)(ada)
        await sync_to_async(resolve)(Credentials(token=key))
    prefixes = [[principal.key_prefix for principal in warden._turn_of_remembered()] for _ in range(4)]
    assert [len(turn) for turn in prefixes] == [2, 2, 1, 2]
    assert len({prefix for turn in prefixes for prefix in turn}) == 5
