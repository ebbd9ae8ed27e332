"""Signed tokens as credentials: whom they name here, and what they may do."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection as database
from django.test import Client
from django.test.utils import CaptureQueriesContext

from realtime.auth import CannotTell, Credentials, Principal, TokenExpired, Unauthorized, forget_principals, resolve
from realtime.limits import forget_plans
from realtime.models import Account, Plan
from tests.unit.signing import SECRET, hs256, jwks, rs256

pytestmark = pytest.mark.django_db


def accept(settings: Any, **rules: Any) -> None:
    settings.TICKWIRE = dataclasses.replace(settings.TICKWIRE, tokens=dataclasses.replace(settings.TICKWIRE.tokens, **rules))


@pytest.fixture(autouse=True)
def ada(settings: Any) -> User:
    forget_plans()
    forget_principals()
    accept(settings, secret=SECRET)
    user = User.objects.create_user("ada", is_staff=True)
    Account.objects.create(user=user, plan=Plan.objects.get(name="free"))
    return user


def show(token: str) -> Principal:
    principal = resolve(Credentials(authorization=f"Bearer {token}"))
    assert principal is not None
    return principal


def test_a_token_names_a_user_and_gives_no_rights(ada: User) -> None:
    end = int(time.time()) + 60
    found = show(hs256(exp=end))
    assert (found.user_id, found.name, found.plan_name, found.expires_at_us) == (ada.pk, "ada", "free", end * 1_000_000)
    assert (found.can_publish, found.is_staff, found.key_prefix) == (False, False, None)


def test_a_plan_that_the_token_names_replaces_the_accounts() -> None:
    found = show(hs256(plan="pro"))
    assert (found.plan_name, found.plan_claimed, found.limits.topics) == ("pro", True, 2000)
    assert show(hs256()).plan_name == "free"


def test_tokens_of_nobody_of_the_inactive_and_of_plans_that_are_not_are_refused_alike(ada: User) -> None:
    User.objects.create_user("eve", is_active=False)
    Plan.objects.filter(name="pro").update(enabled=False)
    refusals = set()
    for token in (hs256(sub="nobody"), hs256(sub="eve"), hs256(plan="pro"), hs256(plan="none"), hs256()[:-2], "a.b.c", ".."):
        with pytest.raises(Unauthorized) as refused:
            show(token)
        refusals.add((refused.value.code, refused.value.message))
    assert len(refusals) == 1


def test_where_no_tokens_are_accepted_a_good_one_is_refused(settings: Any) -> None:
    accept(settings, secret="")
    with pytest.raises(Unauthorized):
        show(hs256())


def test_a_token_that_ended_is_told_so() -> None:
    with pytest.raises(TokenExpired):
        show(hs256(exp=int(time.time()) - 60))


def test_a_token_past_its_end_is_not_remembered(settings: Any) -> None:
    lives, ended = hs256(), hs256(exp=int(time.time()) - 3)
    show(lives)
    show(ended)
    accept(settings, secret="")
    show(lives)
    with pytest.raises(Unauthorized):
        show(ended)


def test_keys_of_a_file_are_believed(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_bytes(jwks("one"))
    accept(settings, secret="", jwks=str(tmp_path / "keys.json"))
    assert show(rs256("one")).name == "ada"
    with pytest.raises(Unauthorized):
        show(rs256("two", kid="one"))


def test_while_the_keys_are_away_nobody_is_refused_for_good(settings: Any) -> None:
    accept(settings, jwks="http://127.0.0.1:9/keys")
    with pytest.raises(CannotTell):
        show(rs256("one"))
    assert show(hs256()).name == "ada"


def test_many_tokens_of_one_user_cost_one_query() -> None:
    show(hs256(jti="first"))
    with CaptureQueriesContext(database) as queries:
        for number in range(10):
            show(hs256(jti=str(number)))
    assert len(queries) == 0


def test_rest_takes_tokens_and_says_when_one_ended() -> None:
    def ask(token: str) -> Any:
        return Client().get("/api/v1/me/", headers={"Authorization": f"Bearer {token}"})

    assert ask(hs256(plan="pro")).json()["plan"] == "pro"
    for token, code in ((hs256(exp=1), 109), (hs256()[:-2], 101)):
        refused = ask(token)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, code)
