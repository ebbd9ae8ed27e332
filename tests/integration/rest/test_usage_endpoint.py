"""What one used oneself, by key and day, as JSON and as a file."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client

from realtime import own_usage, sheets
from realtime.codes import Code
from realtime.keys import create_key
from realtime.limits import forget_plans
from realtime.models import ApiKey, Plan, Usage
from realtime.usage import AMOUNTS, Holder, Sums, today
from tests.integration.rest.test_errors import check

USAGE = "/api/v1/me/usage/"
HEAD = ["day", "key", *AMOUNTS]


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> Sums:
    """What REST adds up during a test."""
    own = Sums()
    monkeypatch.setattr("realtime.throttles.sums", own)
    return own


@pytest.fixture
def me(client: Client) -> User:
    return User.objects.get()


def use(user: User, day: date, key: str = "", **amounts: int) -> Usage:
    return Usage.objects.create(user=user, day=day, key=key, **amounts)


async def _whole(answer: Any) -> bytes:
    return b"".join([part async for part in answer])


def rows(answer: Any) -> list[list[str]]:
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(async_to_sync(_whole)(answer).decode(), newline="")))


# as JSON


def test_it_is_told_by_day_and_key_the_newest_first(client: Client, me: User) -> None:
    use(me, today() - timedelta(days=1), "k3f9xa7q", connections=1, messages=2, commands=3, bytes=4, requests=5)
    use(me, today(), requests=6)
    told = client.get(USAGE).json()
    nothing = dict.fromkeys(AMOUNTS, 0)
    assert told == {
        "from": str(today() - timedelta(days=29)),
        "to": str(today()),
        "usage": [
            {"day": str(today()), "key": None, **nothing, "requests": 6},
            {"day": str(today() - timedelta(days=1)), "key": "k3f9xa7q", **dict(zip(AMOUNTS, range(1, 6), strict=True))},
        ],
    }


def test_the_days_asked_for_are_both_included(client: Client, me: User) -> None:
    for day in range(1, 6):
        use(me, date(2026, 3, day))
    told = client.get(f"{USAGE}?from=2026-03-02&to=2026-03-04").json()
    assert [line["day"] for line in told["usage"]] == ["2026-03-04", "2026-03-03", "2026-03-02"]


def test_others_use_is_nobodys_business(client: Client, me: User) -> None:
    use(User.objects.create_user("bob"), today(), bytes=1)
    assert client.get(USAGE).json()["usage"] == []


def test_a_visitor_has_none(anonymous: Client) -> None:
    check(anonymous.get(USAGE), 401, Code.UNAUTHORIZED)


@pytest.mark.parametrize(
    "query", ["from=yesterday", "to=2026-13-01", "format=xml", "from=2026-03-02&to=2026-03-01", "from=2026-3"]
)
def test_what_makes_no_sense_is_107(client: Client, query: str) -> None:
    check(client.get(f"{USAGE}?{query}"), 400, Code.BAD_REQUEST)


def test_too_many_days_are_refused_with_how_many_may_be(client: Client) -> None:
    answer = client.get(f"{USAGE}?from=2025-01-01&to=2026-01-02")
    check(answer, 400, Code.LIMIT_EXCEEDED)
    assert answer.json()["error"]["details"] == {"limit": 366}
    assert client.get(f"{USAGE}?from=2025-01-01&to=2026-01-01").status_code == 200


def test_the_first_days_of_all_are_days_too(client: Client) -> None:
    assert client.get(f"{USAGE}?to=0001-01-03").json()["from"] == "0001-01-01"


def test_too_many_lines_are_for_the_file(client: Client, me: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_usage, "MOST_LINES", 2)
    for number in range(3):
        use(me, today(), f"key{number}")
    check(client.get(USAGE), 400, Code.LIMIT_EXCEEDED)
    assert len(rows(client.get(f"{USAGE}?format=csv"))) == 4


def test_while_the_database_is_away_it_is_503(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(own_usage, "_lines", away)
    check(client.get(USAGE), 503, Code.OVERLOADED)


# as a file


def test_the_file_has_a_heading_and_the_oldest_day_first(client: Client, me: User) -> None:
    use(me, date(2026, 3, 2), "k3f9xa7q", bytes=7)
    use(me, date(2026, 3, 1), connections=1)
    answer = client.get(f"{USAGE}?from=2026-03-01&to=2026-03-02&format=csv", headers={"Accept": "text/csv"})
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="usage-2026-03-01-2026-03-02.csv"'
    assert answer["Cache-Control"] == "private, no-store"
    assert rows(answer) == [
        HEAD,
        ["2026-03-01", "", "1", "0", "0", "0", "0"],
        ["2026-03-02", "k3f9xa7q", "0", "0", "0", "7", "0"],
    ]


def test_a_file_of_nothing_is_a_heading(client: Client) -> None:
    assert rows(client.get(f"{USAGE}?format=csv")) == [HEAD]


def test_a_long_file_is_read_in_pages_and_has_every_row_once(client: Client, me: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "ROWS_AT_ONCE", 3)
    for number in range(12):
        use(me, today() - timedelta(days=number // 5), f"key{number:02}")
    found = rows(client.get(f"{USAGE}?format=csv"))[1:]
    assert sorted(row[1] for row in found) == [f"key{number:02}" for number in range(12)]
    assert [row[0] for row in found] == sorted(row[0] for row in found)


# what REST adds


def total(counted: Sums) -> dict[Holder, int]:
    return {line.holder: line.amounts[4] for line in counted.take()}


def test_requests_are_counted_by_key(client: Client, me: User, counted: Sums) -> None:
    other = Client(headers={"Authorization": f"Bearer {create_key(me)[1]}"})
    for one in (client, client, other):
        one.get("/api/v1/instruments/")
    newest, oldest = ApiKey.objects.values_list("prefix", flat=True)
    assert total(counted) == {Holder(me.pk, oldest): 2, Holder(me.pk, newest): 1}


def test_requests_by_session_have_no_key_and_staffs_count_as_well(listed: None, store: Any, counted: Sums) -> None:
    boss = User.objects.create_user("boss", is_staff=True)
    client = Client()
    client.force_login(boss)
    client.get("/api/v1/me/")
    assert total(counted) == {Holder(boss.pk, ""): 1}


def test_refused_requests_and_visitors_are_not_counted(client: Client, anonymous: Client, me: User, counted: Sums) -> None:
    Plan.objects.filter(name="free").update(requests_per_second=0.1, request_burst=2)
    forget_plans()
    assert [client.get("/api/v1/me/").status_code for _ in range(3)] == [200, 200, 429]
    anonymous.get("/api/v1/me/")
    assert list(total(counted).values()) == [2]
