"""Guessing passwords at the admin's door."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth import aauthenticate, authenticate
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from realtime.guesses import MOST_BAD
from realtime.logins import MOST_OF_NAME, logins

LOGIN = "/admin/login/"
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def _ada(db: None, settings: object) -> Iterator[None]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # type: ignore[attr-defined]
    User.objects.create_superuser("ada", password=PASSWORD)
    logins.forget()
    yield
    logins.forget()


def log_in(password: str, address: str = "192.0.2.1", name: str = "ada") -> tuple[bool, str]:
    """Whether it let in, and what the page says."""
    answer = Client(REMOTE_ADDR=address).post(LOGIN, {"username": name, "password": password})
    return answer.status_code == 302, answer.content.decode()


def guess(times: int = MOST_BAD, address: str = "192.0.2.1") -> None:
    for n in range(times):
        log_in(f"guess {n}", address)


def test_a_wrong_password_is_told_as_before() -> None:
    let_in, page = log_in("guess")
    assert not let_in
    assert "Please enter the correct username and password" in page


def test_after_too_many_from_an_address_the_page_says_how_long_to_wait() -> None:
    guess()
    let_in, page = log_in(PASSWORD)
    assert not let_in
    assert "Too many failed logins. No password is looked at before 60 seconds have passed" in page


def test_the_right_password_from_elsewhere_still_works() -> None:
    guess()
    assert log_in(PASSWORD, "192.0.2.2")[0]


def test_the_right_password_works_at_a_name_that_many_addresses_guess_at() -> None:
    for n in range(MOST_OF_NAME):
        log_in("guess", f"198.51.100.{n}")
    assert not log_in(PASSWORD, "198.51.100.7")[0]
    assert log_in(PASSWORD, "192.0.2.2")[0]


def test_a_name_that_nobody_has_is_refused_alike() -> None:
    for _ in range(MOST_BAD):
        log_in("guess", name="nobody")
    assert "Too many failed logins" in log_in("guess", name="nobody")[1]


def test_a_refused_attempt_costs_no_look_at_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    guess()
    monkeypatch.setattr(User, "check_password", lambda *_: pytest.fail("it was looked at"))
    refused = logins.refused
    log_in(PASSWORD)
    assert logins.refused == refused + 1


@pytest.mark.django_db(transaction=True)
async def test_no_other_way_to_log_in_goes_past_it() -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1")
    for n in range(MOST_BAD):
        logins.failed("192.0.2.1", f"name{n}")
    assert await aauthenticate(request, username="ada", password=PASSWORD) is None


def test_a_program_without_a_request_is_not_counted() -> None:
    for _ in range(MOST_BAD):
        authenticate(username="ada", password="guess")
    assert authenticate(username="ada", password=PASSWORD) is not None


# every user's door


def test_a_user_who_is_no_staff_logs_in_and_makes_a_key() -> None:
    User.objects.create_user("carol", password=PASSWORD)
    browser = Client()
    assert browser.post("/login/", {"username": "carol", "password": PASSWORD}).status_code == 302
    assert "You are logged in as carol" in browser.get("/login/").content.decode()
    made = browser.post("/api/v1/keys/", {}, content_type="application/json")
    assert made.status_code == 201
    assert browser.post("/logout/").status_code == 302
    assert browser.get("/api/v1/keys/").status_code == 401


def test_it_sends_nobody_to_another_server() -> None:
    given = {"username": "ada", "password": PASSWORD}
    for wanted, got in (("/api/docs/", "/api/docs/"), ("https://evil.example/", "/login/"), ("//evil.example", "/login/")):
        assert Client().post("/login/", given | {"next": wanted})["Location"] == got


def test_guesses_at_either_door_are_counted_together() -> None:
    guess()
    answer = Client(REMOTE_ADDR="192.0.2.1").post("/login/", {"username": "ada", "password": PASSWORD})
    assert "Too many failed logins" in answer.content.decode()
