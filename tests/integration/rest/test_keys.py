"""One's own API keys over REST: who may list, make and revoke which."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import DatabaseError
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from realtime.codes import Code
from realtime.keys import create_key
from realtime.models import ApiKey
from realtime.own_keys import MOST_KEYS
from tests.integration.rest.test_errors import check

KEYS = "/api/v1/keys/"
TOKEN = "c" * 32


def by_session(user: User, *, csrf: bool = True) -> Client:
    client = Client(enforce_csrf_checks=True, headers={"X-CSRFToken": TOKEN} if csrf else None)
    client.force_login(user)
    client.cookies["csrftoken"] = TOKEN
    return client


def by_key(user: User, **permissions: bool) -> Client:
    return Client(headers={"Authorization": f"Bearer {create_key(user, **permissions)[1]}"})


def make(client: Client, **asked: Any) -> Any:
    return client.post(KEYS, asked, content_type="application/json")


def in_us(**span: float) -> int:
    return int((timezone.now() + timedelta(**span)).timestamp() * 1e6)


@pytest.fixture
def ada(listed: None, store: Any) -> User:
    return User.objects.create_user("ada")


# who × method

WHO = {
    "visitor": lambda user: Client(),
    "session": by_session,
    "session without its CSRF token": lambda user: by_session(user, csrf=False),
    "key": by_key,
    "staff's key": lambda user: by_key(User.objects.create_user("boss", is_staff=True), is_staff=True),
}
ANSWERS = {
    "visitor": (401, 401, 401, 401),
    "session": (200, 201, 204, 405),
    "session without its CSRF token": (200, 403, 403, 403),
    "key": (200, 403, 403, 405),
    "staff's key": (200, 403, 404, 405),
}


@pytest.mark.parametrize("who", WHO)
def test_who_may_do_what(ada: User, who: str) -> None:
    row, _ = create_key(ada)
    client = WHO[who](ada)
    statuses = (
        client.get(KEYS).status_code,
        make(client).status_code,
        client.delete(f"{KEYS}{row.prefix}/").status_code,
        client.put(KEYS, {}, content_type="application/json").status_code,
    )
    assert statuses == ANSWERS[who]
    row.refresh_from_db()
    assert (row.revoked_at is not None) is (who == "session")


def test_a_key_may_end_itself(ada: User) -> None:
    row, key = create_key(ada)
    assert Client(headers={"Authorization": f"Bearer {key}"}).delete(f"{KEYS}{row.prefix}/").status_code == 204
    row.refresh_from_db()
    assert row.revoked_at is not None


# list


def test_the_list_has_ones_own_keys_and_nobody_elses(ada: User) -> None:
    create_key(User.objects.create_user("bob"), "bobs")
    row, _ = create_key(ada, "notebook", can_publish=True)
    (shown,) = by_session(ada).get(KEYS).json()["keys"]
    assert shown == {
        "prefix": row.prefix, "name": "notebook", "can_publish": True, "is_staff": False,
        "created_at": round(row.created_at.timestamp() * 1e6), "expires_at": None, "last_used_at": None, "revoked_at": None,
    }  # fmt: skip


def test_the_list_shows_neither_hash_nor_secret(ada: User) -> None:
    row, key = create_key(ada)
    text = by_session(ada).get(KEYS).content.decode()
    assert row.hash not in text
    assert key.split("_", 2)[2] not in text


def test_revoked_keys_come_last(ada: User) -> None:
    rows = [create_key(ada, name)[0] for name in ("one", "two", "three")]
    client = by_session(ada)
    client.delete(f"{KEYS}{rows[2].prefix}/")
    keys = client.get(KEYS).json()["keys"]
    assert [(key["name"], key["revoked_at"] is None) for key in keys] == [("two", True), ("one", True), ("three", False)]


# make


def test_the_answer_has_the_key_which_works_at_once(ada: User) -> None:
    ends = in_us(days=1)
    answer = make(by_session(ada), name="notebook", expires_at=ends)
    assert answer.status_code == 201
    made = answer.json()
    assert (made["name"], made["expires_at"], made["can_publish"], made["is_staff"]) == ("notebook", ends, False, False)
    assert made["key"].startswith(f"tw_{made['prefix']}_")
    me = Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {made['key']}"}).json()
    assert (me["user"], me["key"]) == ("ada", made["prefix"])


def test_no_cache_keeps_the_key(ada: User) -> None:
    assert "no-store" in make(by_session(ada))["Cache-Control"]


def test_who_may_not_publish_makes_no_key_that_does(ada: User) -> None:
    check(make(by_session(ada), can_publish=True), 403, Code.PERMISSION_DENIED)
    assert not ApiKey.objects.exists()


def test_who_may_publish_makes_a_key_that_does(ada: User) -> None:
    ada.user_permissions.add(Permission.objects.get(codename="publish", content_type__app_label="realtime"))
    assert make(by_session(ada), can_publish=True).json()["can_publish"] is True


def test_only_staff_makes_staff_keys(ada: User) -> None:
    check(make(by_session(ada), is_staff=True), 403, Code.PERMISSION_DENIED)
    boss = User.objects.create_user("boss", is_staff=True)
    assert make(by_session(boss), is_staff=True).json()["is_staff"] is True


def test_one_key_too_many_is_refused_with_the_limit(ada: User) -> None:
    for _ in range(MOST_KEYS):
        create_key(ada)
    answer = make(by_session(ada))
    check(answer, 400, Code.LIMIT_EXCEEDED)
    assert answer.json()["error"]["details"] == {"limit": MOST_KEYS}


def test_keys_that_ended_do_not_count(ada: User) -> None:
    for _ in range(MOST_KEYS):
        create_key(ada, expires_at=timezone.now() - timedelta(seconds=1))
    assert make(by_session(ada)).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"{", b"\xff", b'{"name":7}', b'{"name":null}', b'{"nom":"x"}', b'{"name":"a\\u0000b"}',
        b'{"name":"%s"}' % (b"x" * 65), b'{"expires_at":1}', b'{"expires_at":-1}', b'{"expires_at":"tomorrow"}',
        b'{"expires_at":253402300800000000}', b'{"expires_at":1e400}', b'{"can_publish":1}', b'{"name":' + b"[" * 5000,
    ],
)  # fmt: skip
def test_a_body_that_makes_no_sense_is_refused(ada: User, body: bytes) -> None:
    check(by_session(ada).post(KEYS, body, content_type="application/json"), 400, Code.BAD_REQUEST)
    assert not ApiKey.objects.exists()


def test_a_form_is_refused(ada: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    client.cookies["csrftoken"] = TOKEN
    check(client.post(KEYS, {"csrfmiddlewaretoken": TOKEN, "name": "x"}), 415, Code.BAD_REQUEST)


# revoke


def test_a_revoked_key_is_refused_and_revoking_it_again_changes_nothing(ada: User) -> None:
    row, key = create_key(ada)
    client = by_session(ada)
    assert client.delete(f"{KEYS}{row.prefix}/").status_code == 204
    row.refresh_from_db()
    first = row.revoked_at
    assert client.delete(f"{KEYS}{row.prefix}/").status_code == 204
    row.refresh_from_db()
    assert row.revoked_at == first
    check(Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {key}"}), 401, Code.UNAUTHORIZED)


def test_another_users_key_is_answered_like_none_at_all(ada: User) -> None:
    row, _ = create_key(User.objects.create_user("bob"))
    client = by_session(ada)
    one, other = client.delete(f"{KEYS}{row.prefix}/"), client.delete(f"{KEYS}{'a' * 8}/")
    check(one, 404, Code.UNKNOWN_OP)
    assert one.content.replace(row.prefix.encode(), b"a" * 8) == other.content
    row.refresh_from_db()
    assert row.revoked_at is None


# the database


def test_while_the_database_is_away_nobody_is_told_anything_wrong(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    client = by_key(ada)
    assert client.get(KEYS).status_code == 200

    def away(*_: Any) -> Any:
        raise DatabaseError("gone")

    monkeypatch.setattr(QuerySet, "_fetch_all", away)
    answer = client.get(KEYS)
    monkeypatch.undo()
    check(answer, 503, Code.OVERLOADED)
    assert answer["Retry-After"]
