"""What looks like a credential is masked, wherever it stands; what is none is left."""

from __future__ import annotations

import base64
import hashlib
from datetime import date

import jwt
import pytest
from django.test import RequestFactory

from monitoring.masks import LONGEST, masked, masked_value

# the same in each process: those of a parallel run must name tests alike
SECRET = base64.urlsafe_b64encode(hashlib.sha256(b"not one of ours").digest()).decode().rstrip("=")
KEY = f"tw_abcd1234_{SECRET}"
TICKET = f"tk_{SECRET}"
TOKEN = jwt.encode({"sub": "alice", "exp": 4_000_000_000}, "k" * 32, algorithm="HS256")


@pytest.mark.parametrize(
    "text",
    [
        f"key {KEY} was shown",
        f"/ws/v1/market?key={KEY}",
        f"offers ['tickwire.v1', 'bearer.{KEY}']",
        f"ticket {TICKET}",
        f"Authorization: Bearer {SECRET}",
        f"{{'authorization': 'Basic {SECRET}'}}",
        f"[(b'authorization', b'Bearer {SECRET}')]",
        f"Authorization: {SECRET}",
        f"Cookie: theme=dark; sessionid={SECRET}; csrftoken={SECRET}",
        f"(b'cookie', b'sessionid={SECRET}')",
        f"redis://default:{SECRET}@redis:6379/0",
        f"redis+sentinel://:{SECRET}@one,two/ticks?sentinel_password={SECRET}",
        f"postgresql://tickwire:{SECRET}@db/name",
        f"connection failed: password={SECRET} host=db",
        f'{{"session": "{SECRET}"}}',
        f"TICKWIRE_JWT_SECRET={SECRET}",
        f"https://{SECRET}@sentry.example.com/1",
        f"https://{SECRET}:{SECRET}@sentry.example.com/1",
    ],
)
def test_a_secret_is_not_in_what_is_left(text: str) -> None:
    left = masked(text)
    assert SECRET not in left
    assert "…" in left


def test_of_a_signed_token_nothing_is_left_but_its_kind() -> None:
    assert masked(f"token {TOKEN}.") == "token eyJ…."


def test_of_a_key_its_public_prefix_is_left() -> None:
    assert masked(f"key {KEY} was shown") == "key tw_abcd1234_… was shown"


@pytest.mark.parametrize(
    "text",
    [
        "trade.BTC-USDT 42 in epoch k3x9qa",
        "http://127.0.0.1:8000/api/v1/quotes/?symbols=AAPL",
        "a key's prefix is abcd1234",
        "session: 5 topics resumed",
        "the token expired",
        "use of key abcd1234 not noted: database is locked",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert masked(text) == text


def test_a_value_named_as_a_secret_is_masked_whatever_it_looks_like() -> None:
    found = masked_value({"password": "x", "api_key": ["y"], "nested": {"Authorization": "z"}, "tokens": 3, "cookie": ""})
    assert found == {"password": "…", "api_key": "…", "nested": {"Authorization": "…"}, "tokens": 3, "cookie": ""}


def test_values_of_any_kind_are_looked_through() -> None:
    found = masked_value({"list": [KEY, (TICKET, 1.5)], "bytes": KEY.encode(), "object": ValueError(KEY), KEY: None})
    assert SECRET not in repr(found)


def test_a_value_without_end_has_one() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert masked_value(endless)


@pytest.mark.timeout(20)
def test_a_value_that_grows_as_it_is_looked_through_is_cut() -> None:
    value: object = KEY
    for _ in range(10):
        value = [value] * 100
    assert len(repr(masked_value(value))) < 100_000


def test_of_an_object_only_its_type_is_told() -> None:
    request = RequestFactory().get("/x/", {"token": SECRET})
    assert masked_value({"request": request, "at": date(2026, 1, 2)}) == {
        "request": "<WSGIRequest>",
        "at": "datetime.date(2026, 1, 2)",
    }


def test_an_exception_without_a_repr_is_named_by_its_type() -> None:
    class Shy(Exception):
        def __repr__(self) -> str:
            raise RuntimeError

    assert str(masked_value(Shy())).endswith("Shy without a repr>")


def test_a_huge_text_is_cut_and_says_so() -> None:
    left = masked("x" * (LONGEST + 7))
    assert left.endswith(" … (7 more characters)")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("hard", ["a", "a:", "password", "eyJa.", "tw_", "a-", "://", "cookie=", "bearer "])
def test_a_text_made_to_be_slow_is_not(hard: str) -> None:
    """A pattern that backtracks would take minutes."""
    assert masked(hard * (LONGEST // len(hard)))
