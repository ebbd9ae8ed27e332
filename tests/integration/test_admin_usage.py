"""What operators see of what users use."""

from __future__ import annotations

import csv
import io
import re
from datetime import date
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.test import Client

from realtime.models import Usage
from realtime.usage import AMOUNTS

pytestmark = pytest.mark.django_db

PAGE = "/admin/realtime/usage/"
DAY = date(2026, 11, 28)


@pytest.fixture
def viewer() -> Client:
    """Who may look at usage, and do nothing else."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_usage"))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def used() -> list[Usage]:
    ada, evil = User.objects.create_user("ada"), User.objects.create_user("=1+1")
    rows = [(ada, "k3f9xa7q", DAY), (ada, "", DAY), (evil, "", DAY.replace(month=10))]
    return [
        Usage.objects.create(user=user, key=key, day=day, bytes=1000 * number, requests=number)
        for number, (user, key, day) in enumerate(rows, 1)
    ]


def shown(answer: Any) -> str:
    assert answer.status_code == 200
    return " ".join(re.sub(r"<[^>]*>", " ", answer.content.decode()).split())


def export(client: Client, rows: list[Usage], query: str = "", **more: str) -> Any:
    return client.post(f"{PAGE}{query}", {"action": "export", "_selected_action": [row.pk for row in rows], **more})


def read(answer: Any) -> list[list[str]]:
    async def whole() -> bytes:
        return b"".join([part async for part in answer])

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(async_to_sync(whole)().decode(), newline="")))


def test_a_viewer_sees_what_was_used_and_the_totals_of_it(viewer: Client, used: list[Usage]) -> None:
    text = shown(viewer.get(PAGE))
    assert "k3f9xa7q" in text
    assert "6,000 bytes · 6 requests" in text


@pytest.mark.parametrize(
    ("query", "totals"),
    [
        ("day__year=2026&day__month=11", "3,000 bytes"), ("day__gte=2026-11-01", "3,000 bytes"),
        ("key__exact=k3f9xa7q", "1,000 bytes"), ("q=ada", "3,000 bytes"), ("key__isempty=1", "5,000 bytes"),
        ("q=nobody", "0 bytes"),
    ],
)  # fmt: skip
def test_totals_are_those_of_what_the_filters_leave(viewer: Client, used: list[Usage], query: str, totals: str) -> None:
    assert f" {totals} ·" in shown(viewer.get(f"{PAGE}?{query}"))


def test_users_and_keys_are_links_to_all_that_is_theirs(viewer: Client, used: list[Usage]) -> None:
    page = viewer.get(PAGE).content.decode()
    links = re.findall(r'href="(/admin/realtime/usage/\?(?:user|key)[^"]*)"', page)
    assert len(links) == 4
    assert {
        len(re.findall(r"\d{4}-\d\d-\d\d ada", shown(viewer.get(link)))) for link in links if link.endswith(f"={used[0].user_id}")
    } == {2}


def test_nobody_changes_it(viewer: Client, used: list[Usage]) -> None:
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    for client in (viewer, boss):
        assert client.get(f"{PAGE}add/").status_code == 403
        assert client.post(f"{PAGE}{used[0].pk}/change/", {}).status_code == 403
        assert client.post(f"{PAGE}{used[0].pk}/delete/", {"post": "yes"}).status_code == 403
        client.post(PAGE, {"action": "delete_selected", "_selected_action": [used[0].pk], "post": "yes"})
    assert Usage.objects.count() == 3


def test_a_user_is_deleted_with_it(used: list[Usage]) -> None:
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    assert boss.post(f"/admin/auth/user/{used[0].user_id}/delete/", {"post": "yes"}).status_code == 302
    assert list(Usage.objects.all()) == used[2:]


def test_staff_without_the_permission_sees_nothing(used: list[Usage]) -> None:
    client = Client()
    client.force_login(User.objects.create_user("clerk", is_staff=True))
    assert client.get(PAGE).status_code == 403
    assert export(client, used).status_code == 403


def test_what_is_selected_is_exported_without_formulas(viewer: Client, used: list[Usage]) -> None:
    answer = export(viewer, used[1:])
    assert answer["Content-Disposition"] == 'attachment; filename="usage.csv"'
    assert read(answer) == [
        ["day", "user", "key", *AMOUNTS],
        ["2026-10-28", "'=1+1", "", "0", "0", "0", "3000", "3"],
        ["2026-11-28", "ada", "", "0", "0", "0", "2000", "2"],
    ]


def test_everything_that_the_filters_leave_is_exported(viewer: Client, used: list[Usage]) -> None:
    found = read(export(viewer, used[:1], "?q=ada", select_across="1"))
    assert [row[6] for row in found[1:]] == ["1000", "2000"]


def test_the_list_costs_a_bounded_number_of_queries(viewer: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(50):
        Usage.objects.create(user=User.objects.create_user(f"user{number}"), day=DAY)
    with django_assert_max_num_queries(12):
        viewer.get(PAGE)
