"""Who is connecting: API keys, sessions, page passes, anonymous visitors; over sockets' scopes."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from realtime.auth import (
    PAGE_COOKIE,
    Credentials,
    Unauthorized,
    forget_principals,
    grant_page_pass,
    identify,
    identify_token,
    resolve,
)
from realtime.keys import create_key, revoke
from realtime.limits import forget_plans, named
from realtime.models import Account, ApiKey, Plan
from realtime.rights import PUBLISH, grant

pytestmark = pytest.mark.django_db
HOST = "tickwire.example"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_plans()
    forget_principals()


@pytest.fixture
def ada() -> User:
    user = User.objects.create_user("ada")
    Account.objects.create(user=user, plan=Plan.objects.get(name="free"))
    return user


def bearer(key: str) -> Credentials:
    return Credentials(authorization=f"Bearer {key}")


def session_of(user: User) -> SessionStore:
    client = Client()
    client.force_login(user)
    return SessionStore(client.cookies["sessionid"].value)


def page_pass() -> str:
    response = HttpResponse()
    grant_page_pass(RequestFactory().get("/"), response)
    return response.cookies[PAGE_COOKIE].value


# API keys


def test_a_key_names_its_user_plan_and_permissions(ada: User) -> None:
    grant(ada, PUBLISH)
    row, key = create_key(ada, can_publish=True)
    principal = resolve(bearer(key))
    assert principal is not None
    assert (principal.user_id, principal.name, principal.plan_name) == (ada.pk, "ada", "free")
    assert (principal.can_publish, principal.is_staff, principal.key_prefix) == (True, False, row.prefix)
    assert principal.limits == named("free")


def test_a_key_publishes_only_while_its_user_may(ada: User) -> None:
    _, key = create_key(ada, can_publish=True)
    assert resolve(bearer(key)).can_publish is False


@pytest.mark.parametrize("way", ["own", "group", "superuser"])
def test_the_right_to_publish_comes_from_the_user_a_group_or_being_superuser(ada: User, way: str) -> None:
    _, key = create_key(ada, can_publish=True)
    if way == "own":
        grant(ada, PUBLISH)
    elif way == "group":
        group = Group.objects.create(name="publishers")
        group.permissions.add(Permission.objects.get(codename="publish"))
        ada.groups.add(group)
    else:
        User.objects.update(is_superuser=True)
    assert resolve(bearer(key)).can_publish is True


def test_what_is_different_for_a_user_holds_with_every_plan(ada: User) -> None:
    Account.objects.filter(user=ada).update(plan=Plan.objects.get(name="pro"), overrides={"topics_per_connection": 3})
    _, key = create_key(ada)
    limits = resolve(bearer(key)).limits
    assert (limits.topics, limits.connections) == (3, 10)


def test_only_a_hash_of_the_secret_is_kept(ada: User) -> None:
    row, key = create_key(ada)
    secret = key.split("_", 2)[2]
    assert len(secret) >= 32
    assert not any(secret in str(value) for value in ApiKey.objects.filter(pk=row.pk).values()[0].values())


@pytest.mark.parametrize(
    "spoil", [lambda key: key[:-1], lambda key: key[:-1] + "!", lambda key: key[:12], lambda key: "", str.upper]
)
def test_a_changed_key_is_refused(ada: User, spoil: Any) -> None:
    _, key = create_key(ada)
    with pytest.raises(Unauthorized):
        resolve(bearer(spoil(key)))


def test_another_keys_secret_is_refused(ada: User) -> None:
    (one, key), (other, _) = create_key(ada), create_key(ada)
    with pytest.raises(Unauthorized):
        resolve(bearer(key.replace(one.prefix, other.prefix)))


def test_revoked_expired_and_ownerless_keys_are_refused_alike(ada: User) -> None:
    bob = User.objects.create_user("bob", is_active=False)
    revoked, key_of_revoked = create_key(ada)
    revoke(ApiKey.objects.filter(pk=revoked.pk))
    _, expired = create_key(ada, expires_at=timezone.now() - timedelta(seconds=1))
    _, inactive = create_key(bob)
    messages = set()
    for key in (key_of_revoked, expired, inactive, "tw_aaaaaaaa_" + "x" * 43):
        with pytest.raises(Unauthorized) as refused:
            resolve(bearer(key))
        messages.add(refused.value.message)
    assert len(messages) == 1


def test_a_key_that_has_not_expired_yet_is_taken(ada: User) -> None:
    _, key = create_key(ada, expires_at=timezone.now() + timedelta(hours=1))
    assert resolve(bearer(key)) is not None


def test_another_scheme_than_bearer_is_refused() -> None:
    with pytest.raises(Unauthorized, match="Bearer"):
        resolve(Credentials(authorization="Basic YWRhOmFkYQ=="))


def test_a_bad_key_does_not_fall_back_to_a_good_session(ada: User) -> None:
    with pytest.raises(Unauthorized):
        resolve(Credentials(authorization="Bearer nonsense", session=session_of(ada)))


def test_staff_needs_a_staff_key_and_a_staff_user(ada: User) -> None:
    boss = User.objects.create_user("boss", is_staff=True)
    for user, is_staff_key, expected in [(boss, True, True), (boss, False, False), (ada, True, False)]:
        _, key = create_key(user, is_staff=is_staff_key)
        principal = resolve(bearer(key))
        assert principal is not None
        assert principal.is_staff is expected


def test_a_key_costs_one_query_and_its_next_use_none(ada: User, django_assert_num_queries) -> None:
    row, key = create_key(ada)
    ApiKey.objects.filter(pk=row.pk).update(last_used_at=timezone.now())
    with django_assert_num_queries(1):
        resolve(bearer(key))
    with django_assert_num_queries(0):
        resolve(bearer(key))


def test_the_use_of_a_key_is_noted_once_a_minute(ada: User) -> None:
    row, key = create_key(ada)
    resolve(bearer(key))
    row.refresh_from_db()
    first = row.last_used_at
    assert first is not None
    forget_principals()
    resolve(bearer(key))
    row.refresh_from_db()
    assert row.last_used_at == first


def test_a_database_that_cannot_note_the_use_keeps_nobody_out(ada: User, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    _, key = create_key(ada)

    def locked(*args: Any, **kwargs: Any) -> int:
        raise DatabaseError("database is locked")

    monkeypatch.setattr(QuerySet, "update", locked)
    assert resolve(bearer(key)) is not None
    assert "database is locked" in caplog.text


def test_verified_keys_are_remembered_for_moments_only(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    row, key = create_key(ada)
    resolve(bearer(key))
    revoke(ApiKey.objects.filter(pk=row.pk))
    assert resolve(bearer(key)) is not None
    now = time.monotonic()
    monkeypatch.setattr("realtime.remembered.time.monotonic", lambda: now + 2.1)
    with pytest.raises(Unauthorized):
        resolve(bearer(key))


# plans


def test_a_user_without_an_account_has_the_default_plan() -> None:
    _, key = create_key(User.objects.create_user("bob"))
    principal = resolve(bearer(key))
    assert principal is not None
    assert principal.plan_name == "free"


def test_staff_without_an_account_has_the_best_plan() -> None:
    boss = User.objects.create_user("boss", is_staff=True)
    principal = resolve(Credentials(session=session_of(boss)))
    assert principal is not None
    assert principal.plan_name == "pro"


def test_an_account_decides_even_for_staff() -> None:
    boss = User.objects.create_user("boss", is_staff=True)
    Account.objects.create(user=boss, plan=Plan.objects.get(name="free"))
    principal = resolve(Credentials(session=session_of(boss)))
    assert principal is not None
    assert principal.plan_name == "free"


def test_a_user_whose_plan_is_disabled_is_refused_with_its_name(ada: User) -> None:
    _, key = create_key(ada)
    Plan.objects.filter(name="free").update(enabled=False)
    with pytest.raises(Unauthorized, match="'free'"):
        resolve(bearer(key))


# sessions, page pass, anonymous


def test_a_session_is_its_user(ada: User) -> None:
    principal = resolve(Credentials(session=session_of(ada)))
    assert principal is not None
    assert (principal.name, principal.key_prefix, principal.can_publish) == ("ada", None, False)


def test_a_session_costs_two_queries(ada: User, django_assert_num_queries) -> None:
    session = session_of(ada)
    with django_assert_num_queries(2):
        resolve(Credentials(session=session))


def test_a_session_of_a_user_who_was_deactivated_is_a_visitor(ada: User) -> None:
    session = session_of(ada)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    principal = resolve(Credentials(session=session))
    assert principal is not None
    assert (principal.user_id, principal.plan_name) == (None, "anonymous")


def test_a_session_that_is_gone_is_a_visitor() -> None:
    principal = resolve(Credentials(session=SessionStore("0123456789abcdef0123456789abcdef")))
    assert principal is not None
    assert principal.plan_name == "anonymous"


def test_a_visitor_of_the_page_has_the_dashboard_plan() -> None:
    principal = resolve(Credentials(page_pass=page_pass()))
    assert principal is not None
    assert (principal.user_id, principal.plan_name) == (None, "dashboard")


def test_a_forged_or_old_page_pass_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = page_pass()
    forged = resolve(Credentials(page_pass=genuine[:-1] + ("A" if genuine[-1] != "A" else "B")))
    later = timezone.now().timestamp() + 24 * 3600 + 2
    monkeypatch.setattr("django.core.signing.time.time", lambda: later)
    old = resolve(Credentials(page_pass=genuine))
    assert forged is not None
    assert old is not None
    assert (forged.plan_name, old.plan_name) == ("anonymous", "anonymous")


def test_without_an_anonymous_plan_a_visitor_is_nobody() -> None:
    Plan.objects.filter(name="anonymous").update(enabled=False)
    assert resolve(Credentials()) is None


# sockets


def scope(**headers: str) -> dict[str, Any]:
    return {"headers": [(b"host", HOST.encode()), *((name.encode(), value.encode()) for name, value in headers.items())]}


@pytest.mark.django_db(transaction=True)
async def test_a_socket_with_a_key_needs_no_origin() -> None:
    user = await User.objects.acreate(username="ada")
    _, key = await asyncio.to_thread(create_key, user)
    principal = await identify(scope(authorization=f"Bearer {key}"))
    assert principal is not None
    assert principal.name == "ada"
    assert await identify_token(key) == principal


@pytest.mark.django_db(transaction=True)
async def test_a_token_that_is_nobodys_is_refused() -> None:
    with pytest.raises(Unauthorized):
        await identify_token("tw_aaaaaaaa_" + "x" * 43)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("origin", [f"https://{HOST}", f"http://{HOST.upper()}"])
async def test_a_socket_with_a_page_pass_from_the_own_page(origin: str) -> None:
    principal = await identify(scope(cookie=f"{PAGE_COOKIE}={page_pass()}", origin=origin))
    assert principal is not None
    assert principal.plan_name == "dashboard"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", f"https://{HOST}.evil.example", f"https://{HOST}:8443", "null", "http://[", ""]
)
async def test_a_cookie_from_a_foreign_page_is_refused(origin: str) -> None:
    with pytest.raises(Unauthorized, match="own pages"):
        await identify(scope(cookie=f"{PAGE_COOKIE}=x", origin=origin))
    with pytest.raises(Unauthorized, match="own pages"):
        await identify(scope(cookie="sessionid=x", origin=origin))


@pytest.mark.parametrize("name", ["", "short", "a" * 20 + "\0", "a" * 20 + "'", "ä" * 20])
def test_what_can_be_no_sessions_name_is_not_looked_up(name: str, settings: Any) -> None:
    assert import_module(settings.SESSION_ENGINE).SessionStore(name).session_key is None


async def test_a_cookie_without_origin_is_refused() -> None:
    with pytest.raises(Unauthorized, match="own pages"):
        await identify(scope(cookie="sessionid=x"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("origin", ["https://app.example.com", "https://a.b.example.org"])
async def test_trusted_origins_count_as_own(origin: str, settings: Any) -> None:
    trusted = ["https://app.example.com", "https://*.example.org"]
    site = dataclasses.replace(settings.TICKWIRE.site, trusted_origins=trusted)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, site=site)
    principal = await identify(scope(cookie=f"{PAGE_COOKIE}={page_pass()}", origin=origin))
    assert principal is not None


@pytest.mark.django_db(transaction=True)
async def test_where_visitors_come_by_https_a_page_that_came_by_http_is_foreign(settings: Any) -> None:
    site = dataclasses.replace(settings.TICKWIRE.site, https=True)
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, site=site)
    cookie = f"{PAGE_COOKIE}={page_pass()}"
    assert await identify(scope(cookie=cookie, origin=f"https://{HOST}")) is not None
    with pytest.raises(Unauthorized, match="own pages"):
        await identify(scope(cookie=cookie, origin=f"http://{HOST}"))


async def test_a_trusted_origin_of_another_scheme_is_foreign(settings: Any) -> None:
    site = dataclasses.replace(settings.TICKWIRE.site, trusted_origins=["https://app.example.com"])
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, site=site)
    with pytest.raises(Unauthorized):
        await identify(scope(cookie="sessionid=x", origin="http://app.example.com"))


@pytest.mark.django_db(transaction=True)
async def test_a_foreign_page_without_our_cookies_is_an_anonymous_visitor() -> None:
    principal = await identify(scope(cookie="theme=dark", origin="https://elsewhere.example"))
    assert principal is not None
    assert principal.plan_name == "anonymous"


@pytest.mark.django_db(transaction=True)
async def test_a_storm_of_one_keys_handshakes_is_answered_from_memory() -> None:
    user = await User.objects.acreate(username="ada")
    _, key = await asyncio.to_thread(create_key, user)
    first = await identify(scope(authorization=f"Bearer {key}"))
    await ApiKey.objects.all().adelete()
    found = await asyncio.gather(*(identify(scope(authorization=f"Bearer {key}")) for _ in range(100)))
    assert found == [first] * 100
