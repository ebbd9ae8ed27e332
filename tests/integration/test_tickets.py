"""Tickets: on real Redis, and as what they make of whoever shows them."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import redis
from django.contrib.auth.models import User
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.exceptions import NotAuthenticated

from marketdata import dial
from marketdata.errors import StoreUnavailable
from marketdata.store import now_us
from realtime.auth import (
    CannotTell,
    Credentials,
    Principal,
    Unauthorized,
    forget_principals,
    identify_token,
    issue_ticket,
    resolve,
)
from realtime.keys import create_key, revoke
from realtime.limits import forget_plans
from realtime.models import Account, ApiKey, Plan
from realtime.rights import PUBLISH, grant
from realtime.tickets import LIFE_S, Ticket, Tickets

ADAS = Ticket(7, "k3f9xa7q", None, True, False, None)


@pytest.fixture(autouse=True)
def _fresh(redis_url: str, prefix: str, settings: Any) -> None:
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url=redis_url, prefix=prefix)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    forget_plans()
    forget_principals()


@pytest.fixture
def client(redis_url: str) -> Any:
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.fixture
def tickets(client: redis.Redis, prefix: str) -> Tickets:
    return Tickets(client, prefix)


def show(ticket: str) -> Principal:
    principal = resolve(Credentials(token=ticket))
    assert principal is not None
    return principal


def shown_key(user: User, **permissions: Any) -> Principal:
    _, key = create_key(user, **permissions)
    principal = resolve(Credentials(token=key))
    assert principal is not None
    return principal


# in Redis


def test_a_ticket_is_redeemed_once(tickets: Tickets) -> None:
    text = tickets.issue(ADAS)
    assert [tickets.redeem(text), tickets.redeem(text)] == [ADAS, None]


def test_redis_learns_no_session_key(tickets: Tickets, client: redis.Redis) -> None:
    ticket = msgspec.structs.replace(ADAS, login=("k3yofasession0123456789abcdefghij", "hash"))
    text = tickets.issue(ticket)
    (kept,) = [client.get(key) for key in client.scan_iter(f"{tickets.prefix}:*")]
    assert isinstance(kept, bytes)
    assert msgspec.json.decode(kept, type=Ticket).login not in (ticket.login, None)
    assert b"k3yofasession" not in kept
    assert tickets.redeem(text) == ticket


def test_of_many_who_show_a_ticket_at_once_one_gets_it(tickets: Tickets) -> None:
    text = tickets.issue(ADAS)
    found: list[Ticket | None] = []
    threads = [threading.Thread(target=lambda: found.append(tickets.redeem(text))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == sorted([ADAS] + [None] * 15, key=str)


def test_redis_has_no_ticket_that_could_be_used_and_forgets_it_in_time(
    tickets: Tickets, client: redis.Redis, prefix: str
) -> None:
    text = tickets.issue(ADAS)
    (key,) = client.scan_iter(f"{prefix}:ticket:*")
    assert text not in key.decode() + client.get(key).decode()
    assert tickets.redeem(key.decode().rpartition(":")[2]) is None
    assert 0 < client.pttl(key) <= LIFE_S * 1000


def test_a_ticket_that_redis_forgot_is_none(tickets: Tickets, client: redis.Redis, prefix: str) -> None:
    text = tickets.issue(ADAS)
    for key in client.scan_iter(f"{prefix}:ticket:*"):
        client.pexpire(key, 0)
    assert tickets.redeem(text) is None


def test_while_redis_is_away_tickets_say_so() -> None:
    away = Tickets(dial.client("redis://127.0.0.1:9/0", 0.2), "nowhere")
    with pytest.raises(StoreUnavailable):
        away.issue(ADAS)
    with pytest.raises(StoreUnavailable):
        away.redeem("tk_x")


# as credentials


@pytest.fixture
def ada(db: None) -> User:
    user = User.objects.create_user("ada", is_staff=True)
    Account.objects.create(user=user, plan=Plan.objects.get(name="free"))
    return user


@pytest.mark.parametrize(("can_publish", "is_staff"), [(True, False), (False, True), (False, False)])
def test_a_ticket_is_worth_what_its_key_is(ada: User, can_publish: bool, is_staff: bool) -> None:
    grant(ada, PUBLISH)
    principal = shown_key(ada, can_publish=can_publish, is_staff=is_staff)
    assert show(issue_ticket(principal)) == principal


def test_a_sessions_ticket_is_worth_what_the_session_is(ada: User) -> None:
    session = Principal(ada.pk, "ada", "free", shown_key(ada).limits, is_staff=True)
    assert show(issue_ticket(session)) == session


def test_a_ticket_keeps_the_end_and_plan_of_its_signed_token(ada: User) -> None:
    end = now_us() + 60_000_000
    signed = msgspec.structs.replace(shown_key(ada), key_prefix=None, plan_name="pro", plan_claimed=True, expires_at_us=end)
    found = show(issue_ticket(signed))
    assert (found.plan_name, found.limits.topics, found.expires_at_us, found.is_staff) == ("pro", 2000, end, False)


def test_a_second_showing_is_refused_like_a_ticket_that_never_was(ada: User) -> None:
    ticket = issue_ticket(shown_key(ada))
    show(ticket)
    messages = set()
    for text in (ticket, "tk_", "tk_" + "x" * 43, "tk_\0\ud800"):
        with pytest.raises(Unauthorized) as refused:
            show(text)
        messages.add((refused.value.code, refused.value.message))
    assert len(messages) == 1


def test_a_ticket_whose_credential_ended_meanwhile_is_refused(ada: User) -> None:
    of_key, of_user = issue_ticket(shown_key(ada)), issue_ticket(msgspec.structs.replace(shown_key(ada), key_prefix=None))
    expired = issue_ticket(msgspec.structs.replace(shown_key(ada), expires_at_us=now_us() - 1))
    revoke(ApiKey.objects.all())
    User.objects.update(is_active=False)
    forget_principals()
    for ticket in (of_key, of_user, expired):
        with pytest.raises(Unauthorized):
            show(ticket)


def test_an_authorization_header_takes_no_ticket_and_leaves_it_unused(ada: User) -> None:
    ticket = issue_ticket(shown_key(ada))
    with pytest.raises(Unauthorized):
        resolve(Credentials(authorization=f"Bearer {ticket}"))
    show(ticket)


def test_many_tickets_of_one_user_cost_one_query(ada: User) -> None:
    principal = shown_key(ada)
    issued = [issue_ticket(principal) for _ in range(10)]
    with CaptureQueriesContext(database) as queries:
        for ticket in issued:
            show(ticket)
    assert sum("realtime_apikey" in query["sql"] for query in queries) == 1  # who is banned is asked by the clock


def test_a_visitor_gets_no_ticket(ada: User) -> None:
    visitor = resolve(Credentials())
    assert visitor is not None
    with pytest.raises(NotAuthenticated):
        issue_ticket(visitor)


def test_a_ticket_that_cannot_be_looked_up_is_not_refused(ada: User, settings: Any, prefix: str) -> None:
    principal = shown_key(ada)
    bus = dataclasses.replace(settings.TICKWIRE.bus, redis_url="redis://127.0.0.1:9/0", prefix=prefix)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, bus=bus)
    with pytest.raises(CannotTell):
        issue_ticket(principal)
    with pytest.raises(CannotTell):
        show("tk_" + "x" * 43)


@pytest.mark.django_db(transaction=True)
async def test_a_socket_shows_a_ticket_once_however_quickly() -> None:
    user = await User.objects.acreate(username="bob")
    ticket = await asyncio.to_thread(lambda: issue_ticket(shown_key(user)))
    found = await asyncio.gather(*(identify_token(ticket) for _ in range(8)), return_exceptions=True)
    assert [type(each) for each in found if isinstance(each, Exception)] == [Unauthorized] * 7


def test_a_key_that_ends_says_when(ada: User) -> None:
    end = timezone.now() + timedelta(hours=1)
    assert shown_key(ada, expires_at=end).expires_at_us == int(end.timestamp() * 1e6)
