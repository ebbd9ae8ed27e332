"""REST as often as the plan allows; and bad credentials from one address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from realtime.auth import Unauthorized, forget_principals, identify, identify_token
from realtime.codes import Code
from realtime.guesses import MOST_BAD, TooManyGuesses, guesses, key_index
from realtime.keys import create_key
from realtime.limits import forget_plans
from realtime.models import ApiKey, Plan
from realtime.throttles import requests
from tests.integration.rest.test_errors import check

ME = "/api/v1/me/"
HERE = "127.0.0.1"  # as the test client calls itself
Make = Callable[..., Client]


def allow(plan: str, rate: float, burst: int) -> None:
    Plan.objects.filter(name=plan).update(requests_per_second=rate, request_burst=burst)
    forget_plans()


def statuses(client: Client, times: int, **given: Any) -> list[int]:
    return [client.get(ME, **given).status_code for _ in range(times)]


# requests


def test_one_request_too_many_is_429_with_when_to_try_again(anonymous: Client) -> None:
    allow("anonymous", 0.1, 2)
    assert statuses(anonymous, 2) == [200, 200]
    answer = anonymous.get(ME)
    check(answer, 429, Code.TOO_MANY_REQUESTS)
    assert answer["Retry-After"] == "10"
    assert answer.json()["error"]["details"] == {"requests_per_second": 0.1, "request_burst": 2}
    assert requests.refused >= 1


def test_every_answer_says_how_many_are_left(anonymous: Client) -> None:
    allow("anonymous", 0.1, 2)
    told = [(one["RateLimit-Limit"], one["RateLimit-Remaining"]) for one in (anonymous.get(ME) for _ in range(3))]
    assert told == [("2", "1"), ("2", "0"), ("2", "0")]
    assert anonymous.get("/api/v1/quotes/NOPE/")["RateLimit-Reset"] == "20"


def test_every_endpoint_takes_from_the_same_bucket(anonymous: Client) -> None:
    allow("anonymous", 0.1, 2)
    paths = ("instruments/", "quotes/AAPL/", "trades/AAPL/")
    assert [anonymous.get(f"/api/v1/{path}").status_code for path in paths] == [200, 200, 429]


def test_all_keys_of_a_user_take_from_one_bucket_and_others_have_their_own(key_client: Make, client: Client) -> None:
    allow("free", 0.1, 1)
    user = User.objects.create_user("ada")
    one, other = (Client(headers={"Authorization": f"Bearer {create_key(user)[1]}"}) for _ in range(2))
    assert statuses(one, 1) + statuses(other, 1) + statuses(client, 1) == [200, 429, 200]


def test_visitors_are_told_apart_by_address(anonymous: Client) -> None:
    allow("anonymous", 0.1, 1)
    assert statuses(anonymous, 2) == [200, 429]
    assert statuses(anonymous, 1, REMOTE_ADDR="192.0.2.7") == [200]


def test_staff_is_not_limited(key_client: Make) -> None:
    boss = User.objects.create_user("boss", is_staff=True)
    allow("pro", 0.1, 1)
    client = Client(headers={"Authorization": f"Bearer {create_key(boss, is_staff=True)[1]}"})
    assert statuses(client, 3) == [200, 200, 200]
    assert "RateLimit-Limit" not in client.get(ME)


def test_where_nobody_is_anonymous_strangers_are_limited_all_the_same(anonymous: Client) -> None:
    Plan.objects.filter(name="anonymous").update(enabled=False)
    forget_plans()
    assert set(statuses(anonymous, 60)) == {401, 429}


# bad credentials


def bad_key(number: int) -> str:
    return f"tw_{number:08}_{'x' * 43}"


def guess(client: Client, times: int = MOST_BAD) -> list[int]:
    return [client.get(ME, headers={"Authorization": f"Bearer {bad_key(n)}"}).status_code for n in range(times)]


def test_after_too_many_bad_keys_the_next_is_429(anonymous: Client) -> None:
    assert set(guess(anonymous)) == {401}
    answer = anonymous.get(ME, headers={"Authorization": f"Bearer {bad_key(99)}"})
    check(answer, 429, Code.TOO_MANY_REQUESTS)
    assert 0 < int(answer["Retry-After"]) <= 60


def test_further_guesses_cost_one_query_however_many(anonymous: Client, django_assert_max_num_queries: Any) -> None:
    guess(anonymous)
    with django_assert_max_num_queries(1):
        assert set(guess(anonymous, 50)) == {429}


def test_credentials_of_no_known_form_are_counted_too(anonymous: Client) -> None:
    statuses_of_rubbish = [
        anonymous.get(ME, headers={"Authorization": f"Bearer rubbish{n}"}).status_code for n in range(MOST_BAD + 1)
    ]
    assert statuses_of_rubbish == [401] * MOST_BAD + [429]


def test_another_address_is_not_punished(anonymous: Client) -> None:
    guess(anonymous)
    headers = {"Authorization": f"Bearer {bad_key(1)}"}
    assert anonymous.get(ME, headers=headers, REMOTE_ADDR="192.0.2.7").status_code == 401


def test_visitors_from_there_are_served(anonymous: Client) -> None:
    guess(anonymous)
    assert anonymous.get(ME).status_code == 200


def test_a_good_key_from_there_is_served_though_nobody_used_it_before(key_client: Make, anonymous: Client) -> None:
    client = key_client()
    guess(anonymous)
    assert client.get(ME).status_code == 200


def test_a_key_that_was_made_since_is_served(key_client: Make, anonymous: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    guess(anonymous, MOST_BAD + 1)
    client = key_client()
    now = key_index._clock()
    monkeypatch.setattr(key_index, "_clock", lambda: now + 2.1)
    assert client.get(ME).status_code == 200


def test_where_there_are_too_many_keys_to_know_all_are_looked_up(
    key_client: Make, anonymous: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_index, "most", 1)
    key_client()
    unread = key_client()
    guess(anonymous)
    assert unread.get(ME).status_code == 200


def test_a_socket_is_refused_without_a_thread_or_a_query(anonymous: Client, django_assert_num_queries: Any) -> None:
    guess(anonymous, MOST_BAD + 1)
    scope = {"headers": [(b"authorization", f"Bearer {bad_key(7)}".encode())], "client": [HERE, 1234]}
    with django_assert_num_queries(0):
        for coroutine in (identify(scope), identify_token(bad_key(8), HERE)):
            with pytest.raises(TooManyGuesses):  # without a loop: it never gets as far as to need one
                coroutine.send(None)


def test_what_refuses_a_socket_is_unauthorized_which_closes_with_4501() -> None:
    assert issubclass(TooManyGuesses, Unauthorized)


@pytest.mark.django_db(transaction=True)
async def test_bad_keys_of_sockets_are_counted() -> None:
    guesses.forget()
    for n in range(MOST_BAD):
        with pytest.raises(Unauthorized):
            await identify_token(bad_key(n), "192.0.2.9")
    with pytest.raises(TooManyGuesses):
        await identify_token(bad_key(0), "192.0.2.9")


def test_a_revoked_key_is_refused_from_there_as_well(anonymous: Client, key_client: Make) -> None:
    client = key_client()
    guess(anonymous, MOST_BAD + 1)
    ApiKey.objects.update(revoked_at="2026-01-01T00:00Z")
    forget_principals()
    assert client.get(ME).status_code == 429


def test_where_no_address_is_known_nothing_is_counted(anonymous: Client) -> None:
    answers = [anonymous.get(ME, headers={"Authorization": "Bearer rubbish"}, REMOTE_ADDR="") for _ in range(MOST_BAD + 1)]
    assert {answer.status_code for answer in answers} == {401}
    assert len(guesses) == 0
