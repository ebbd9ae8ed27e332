"""API keys in the admin: the secret is shown once, and a key may no more than its user."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from realtime.keys import FORM, create_key, find_key
from realtime.models import ApiKey
from realtime.rights import PUBLISH, grant
from tests.integration.admin_parts import ACTION, complaints, shown, superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Client:
    return superuser()


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


def make(operator: Client, user: User, **fields: Any) -> Any:
    return operator.post("/admin/realtime/apikey/add/", {"user": user.pk, "name": "notebook"} | fields)


def secret_in(answer: Any) -> str:
    found = FORM.search(answer.content.decode())
    assert found
    return found[0]


def test_a_key_is_made_and_works(operator: Client, ada: User) -> None:
    found = find_key(secret_in(make(operator, ada)))
    assert found is not None
    assert (found.user, found.name, found.can_publish, found.is_staff) == (ada, "notebook", False, False)


def test_the_secret_is_in_one_answer_and_nowhere_else(operator: Client, ada: User) -> None:
    answer = make(operator, ada)
    secret = secret_in(answer)
    assert "no-store" in answer["Cache-Control"]
    assert all(secret not in morsel.value for morsel in operator.cookies.values())
    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())
    row = ApiKey.objects.get()
    for page in ("", f"{row.pk}/change/", f"{row.pk}/history/", "../../marketdata/journalentry/"):
        assert secret[12:] not in operator.get(f"/admin/realtime/apikey/{page}", follow=True).content.decode()


def test_a_key_has_the_end_that_was_chosen(operator: Client, ada: User) -> None:
    make(operator, ada, expires_at_0="2099-01-02", expires_at_1="03:04")
    assert f"{ApiKey.objects.get().expires_at:%Y-%m-%d %H:%M}" == "2099-01-02 03:04"


def test_an_end_that_is_past_is_refused(operator: Client, ada: User) -> None:
    assert "expires_at" in complaints(make(operator, ada, expires_at_0="2020-01-02", expires_at_1="03:04"))


@pytest.mark.parametrize("right", ["can_publish", "is_staff"])
def test_a_key_may_no_more_than_its_user(operator: Client, ada: User, right: str) -> None:
    assert right in complaints(make(operator, ada, **{right: "on"}))
    row, _ = create_key(ada)
    assert right in complaints(operator.post(f"/admin/realtime/apikey/{row.pk}/change/", {right: "on"}))
    assert ApiKey.objects.count() == 1


def test_a_key_has_what_its_user_has(operator: Client, ada: User) -> None:
    grant(ada, PUBLISH)
    User.objects.filter(pk=ada.pk).update(is_staff=True)
    make(operator, ada, can_publish="on", is_staff="on")
    row = ApiKey.objects.get()
    assert (row.can_publish, row.is_staff) == (True, True)


def test_a_disabled_user_gets_no_key(operator: Client) -> None:
    gone = User.objects.create_user("gone", is_active=False)
    assert "user" in complaints(make(operator, gone))


def test_a_key_is_shown_without_its_hash(operator: Client, ada: User) -> None:
    row, _ = create_key(ada, "notebook")
    for page in ("/admin/realtime/apikey/", f"/admin/realtime/apikey/{row.pk}/change/"):
        answer = operator.get(page)
        assert row.prefix in shown(answer)
        assert row.hash not in answer.content.decode()


def test_keys_are_revoked(operator: Client, ada: User) -> None:
    row, _ = create_key(ada)
    answer = operator.post("/admin/realtime/apikey/", {"action": "revoke", ACTION: [row.pk]}, follow=True)
    assert "1 revoked" in shown(answer)
    assert ApiKey.objects.get().revoked_at is not None


def test_living_keys_are_told_from_ended_ones(operator: Client, ada: User) -> None:
    create_key(ada, "living")
    create_key(ada, "future", expires_at=timezone.now() + timedelta(days=1))
    create_key(ada, "expired", expires_at=timezone.now() - timedelta(days=1))
    revoked, _ = create_key(ada, "revoked")
    ApiKey.objects.filter(pk=revoked.pk).update(revoked_at=timezone.now())
    create_key(User.objects.create_user("gone", is_active=False), "disabled")

    def names(state: str) -> set[str]:
        return {row.name for row in operator.get(f"/admin/realtime/apikey/?state={state}").context["cl"].result_list}

    assert names("living") == {"living", "future"}
    assert names("ended") == {"expired", "revoked", "disabled"}


def test_times_are_told_with_their_zone(operator: Client, ada: User) -> None:
    key, _ = create_key(ada)
    ApiKey.objects.filter(pk=key.pk).update(created_at=datetime(2026, 1, 31, 16, 5, 6, tzinfo=UTC))
    assert "2026-01-31 16:05:06 UTC" in shown(operator.get("/admin/realtime/apikey/"))
