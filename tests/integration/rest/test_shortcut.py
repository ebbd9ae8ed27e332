"""What is answered before Django is what Django would answer: the same requests, both ways, compared byte for byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application

from marketdata import views
from marketdata.errors import StoreUnavailable
from marketdata.instruments import instruments
from marketdata.store import Store
from realtime import auth
from realtime.auth import forget_principals
from realtime.bans import Bans
from realtime.keys import create_key, revoke
from realtime.limits import forget_plans
from realtime.models import ApiKey, Ban, Plan
from realtime.node import Node
from realtime.shortcut import Shortcut
from realtime.throttles import requests
from realtime.usage import Sums

from .conftest import Publish, depth, quote, ticker

pytestmark = pytest.mark.django_db(transaction=True)

SNAPSHOTS = "/api/v1/snapshots/"
BOTH = "topics=quote.AAPL,quote.BTC-USDT"


class Answer(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return {key.lower(): value for key, value in self.headers}.get(name)


async def ask(
    application: Any, query: str = BOTH, path: str = SNAPSHOTS, method: str = "GET", more: Any = (), **headers: str
) -> Answer:
    """The answer of an ASGI application; an underscore in the name of a header is a hyphen."""
    shown = {"host": "testserver", "x-request-id": "test-1", **{name.replace("_", "-"): text for name, text in headers.items()}}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path, "root_path": "",
        "scheme": "http", "raw_path": path.encode(), "query_string": query.encode(),
        "client": ("127.0.0.1", 1), "server": ("testserver", 80),
        "headers": [(name.encode(), text.encode()) for name, text in (*shown.items(), *more)],
    }  # fmt: skip
    sent: list[Any] = []
    received = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Any:
        return next(received, None) or await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    return Answer(sent[0]["status"], list(sent[0]["headers"]), b"".join(part.get("body", b"") for part in sent[1:]))


class Ways:
    """Django, and the shortcut in front of it."""

    def __init__(self) -> None:
        self.django = get_asgi_application()
        self.shortcut = Shortcut(self.django)

    async def compare(self, **asked: Any) -> tuple[Answer, bool]:
        """The answer, which is the same both ways, and whether the shortcut gave it; with full buckets for each request."""
        requests.forget()
        first = await ask(self.django, **asked)
        for _ in range(2):  # the first of a kind is Django's
            requests.forget()
            before = self.shortcut.answered
            found = await ask(self.shortcut, **asked)
            assert found == first
        return found, self.shortcut.answered == before + 1


@pytest.fixture
def ways(listed: None, store: Store, publish: Publish) -> Ways:
    publish(quote(), quote("BTC-USDT"), ticker(), depth())
    return Ways()


@pytest.fixture
def key_of(listed: None) -> Callable[..., str]:
    def make(name: str = "ada", **permissions: bool) -> str:
        user = User.objects.create_user(name, is_staff=permissions.get("is_staff", False))
        return f"Bearer {create_key(user, **permissions)[1]}"

    return make


@pytest.mark.parametrize(
    ("path", "query", "count"),
    [
        (SNAPSHOTS, BOTH, 2),
        (SNAPSHOTS, "topics=quote.AAPL%2Cquote.BTC-USDT,quote.AAPL,", 2),
        (SNAPSHOTS, "topics=quote.AAPL,quote.NOPE,nonsense,quote.GONE,depth.AAPL,kline.2m.AAPL", 1),
        (SNAPSHOTS, "topics=quote.NOPE", 0),
        ("/api/v1/quotes/", "symbols=BTC-USDT,NOPE,AAPL", 2),
        ("/api/v1/tickers/", "symbols=AAPL", 1),
    ],
)
async def test_a_plain_request_is_answered_alike(ways: Ways, path: str, query: str, count: int) -> None:
    answer, shortened = await ways.compare(path=path, query=query)
    assert (answer.status, shortened, answer.body.count(b'"seq":1')) == (200, True, count)
    assert answer.header(b"ratelimit-limit") == b"40"


@pytest.mark.parametrize("permissions", [{}, {"is_staff": True}])
async def test_a_known_key_is_answered_alike(ways: Ways, key_of: Any, permissions: dict[str, bool]) -> None:
    key = await sync_to_async(key_of)(**permissions)
    answer, shortened = await ways.compare(authorization=key, query="topics=depth.AAPL")
    assert (answer.status, shortened) == (200, True)
    assert (answer.header(b"ratelimit-limit") is None) == bool(permissions)


async def test_a_request_is_metered_whoever_answers_it(ways: Ways, key_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Sums()
    monkeypatch.setattr("realtime.throttles.sums", counted)
    for permissions in ({}, {"is_staff": True}):
        key = await sync_to_async(key_of)(f"user{permissions}", **permissions)
        assert (await ways.compare(authorization=key))[1]  # asks three times
    await ways.compare()
    assert [line.amounts[4] for line in counted.take()] == [3, 3]


async def test_nobody_gets_the_headers_of_others(ways: Ways, key_of: Any) -> None:
    staff, other = await sync_to_async(key_of)(is_staff=True), await sync_to_async(key_of)("bob")
    assert (await ways.compare())[1]
    for key in (staff, other, staff):
        assert (await ways.compare(authorization=key))[1]


async def test_what_the_client_has_is_304_alike(ways: Ways) -> None:
    etag = ((await ways.compare())[0].header(b"etag") or b"").decode()
    for known, status in [(etag, 304), (f'"other", W/{etag}', 304), ("*", 304), ('"other"', 200), ("rubbish", 200)]:
        answer, shortened = await ways.compare(if_none_match=known)
        assert (answer.status, bool(answer.body), shortened) == (status, status == 200, True), known


@pytest.mark.parametrize("name", ["", "not a name", "x" * 65])
async def test_a_name_that_may_not_stand_in_a_log_is_replaced(ways: Ways, name: str) -> None:
    for _ in range(2):
        answer = await ask(ways.shortcut, x_request_id=name)
    assert ways.shortcut.answered == 1
    assert len(answer.header(b"x-request-id") or b"") == 16


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"query": ""}, 400),
        ({"query": "topics="}, 400),
        ({"query": "topics=,"}, 400),
        ({"query": BOTH + "&more=1"}, 200),
        ({"query": "topics=quote.AAPL,quote.B%C3%96RSE"}, 200),
        ({"query": f"topics={','.join(f'quote.S{number}' for number in range(201))}"}, 400),
        ({"query": "symbols=AAPL"}, 400),
        ({"path": "/api/v1/quotes/", "query": ""}, 200),
        ({"path": "/api/v1/quotes/AAPL/", "query": ""}, 200),
        ({"path": "/api/v1/snapshots"}, 301),
        ({"method": "HEAD"}, 200),
        ({"method": "POST"}, 405),
        ({"cookie": "any=one"}, 200),
        ({"authorization": "Bearer tw_abcdefgh_" + "x" * 43}, 401),
        ({"authorization": "Basic abc"}, 401),
        ({"more": [("authorization", "Bearer a"), ("authorization", "Bearer b")]}, 401),
        ({"accept": "text/html"}, 406),
        ({"host": "elsewhere.example"}, 400),
        ({"if_match": '"other"'}, 412),
        ({"if_unmodified_since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 412),
        ({"if_modified_since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200),
        ({"query": "topics=quote.AAPL,ticker.BTC-USDT"}, 200),
        ({"query": f"topics=quote.{'A' * 9000}"}, 200),
        ({"user_agent": "a", "x_more": "x" * 2048}, 200),
    ],
)
async def test_what_is_not_plain_goes_to_django(ways: Ways, asked: dict[str, Any], status: int) -> None:
    answer, shortened = await ways.compare(**asked)
    assert (answer.status, shortened) == (status, False)


async def test_a_type_outside_the_plan_is_refused_by_django(ways: Ways) -> None:
    await Plan.objects.filter(name="anonymous").aupdate(data_types=["ticker"])
    forget_plans()
    answer, shortened = await ways.compare(path="/api/v1/quotes/", query="symbols=AAPL")
    assert (answer.status, shortened) == (403, False)


async def test_one_request_too_many_is_refused_by_django_and_none_is_charged_twice(ways: Ways) -> None:
    await Plan.objects.filter(name="anonymous").aupdate(requests_per_second=0.01, request_burst=4)
    forget_plans()
    refused = requests.refused
    answers = [await ask(ways.shortcut) for _ in range(5)]
    assert [answer.header(b"ratelimit-remaining") for answer in answers] == [b"3", b"2", b"1", b"0", b"0"]
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 429]
    assert (ways.shortcut.answered, requests.refused) == (3, refused + 1)


async def test_a_key_that_was_revoked_is_refused(ways: Ways, key_of: Any) -> None:
    key = await sync_to_async(key_of)()
    assert (await ways.compare(authorization=key))[1]
    await sync_to_async(revoke)(ApiKey.objects.all())
    forget_principals()
    answer, shortened = await ways.compare(authorization=key)
    assert (answer.status, shortened) == (401, False)


async def test_without_an_anonymous_plan_visitors_are_refused_by_django(ways: Ways) -> None:
    await Plan.objects.filter(name="anonymous").aupdate(enabled=False)
    forget_plans()
    answer, shortened = await ways.compare()
    assert (answer.status, shortened) == (401, False)


async def test_old_instruments_are_asked_for_by_django(ways: Ways) -> None:
    assert (await ways.compare())[1]
    instruments()._looked_at -= 10
    before = ways.shortcut.answered
    await ask(ways.shortcut)
    await ask(ways.shortcut)
    assert ways.shortcut.answered == before + 1


async def test_while_the_store_is_away_django_serves_the_last_known_values(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    assert (await ways.compare())[1]
    monkeypatch.setattr((await Node.here()).store, "latest", away)
    answer, shortened = await ways.compare()
    assert (answer.status, shortened) == (200, False)


async def test_what_was_read_here_is_known_when_the_store_is_away(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    await ask(ways.shortcut, query="topics=ticker.AAPL")  # Django's, which knows the ticker from now on, but not the quotes
    await ask(ways.shortcut)
    monkeypatch.setattr(views.store(), "latest", away)
    monkeypatch.setattr((await Node.here()).store, "latest", away)
    answer = await ask(ways.shortcut)
    assert answer.body.count(b'"stale":true') == 2


async def test_an_answer_that_sets_a_cookie_or_is_encoded_is_not_copied(ways: Ways) -> None:
    for header in ((b"Set-Cookie", b"a=b"), (b"Content-Encoding", b"gzip")):

        async def other(scope: Any, receive: Any, send: Any, header: Any = header) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"RateLimit-Limit", b"1"), header]})
            await send({"type": "http.response.body", "body": b""})

        await ways.compare()  # plans and instruments are known
        shortcut = Shortcut(other)
        for _ in range(2):
            await ask(shortcut)
        assert shortcut.answered == 0


@pytest.mark.parametrize("change", [{"delay_seconds": 900}, {"dry_run": ["requests"]}])
async def test_plans_with_a_delay_or_on_trial_are_served_by_django(ways: Ways, change: dict[str, Any]) -> None:
    assert (await ways.compare())[1]
    await Plan.objects.filter(name="anonymous").aupdate(**change)
    forget_plans()
    assert not (await ways.compare())[1]


async def test_a_plan_that_was_changed_counts_for_a_question_that_was_asked_before(ways: Ways) -> None:
    assert (await ways.compare())[0].body.count(b'"seq":1') == 2
    await Plan.objects.filter(name="anonymous").aupdate(symbols=["BTC*"])
    forget_plans()
    answer, shortened = await ways.compare()
    assert (answer.body.count(b'"seq":1'), answer.body.count(b"insufficient_plan"), shortened) == (1, 1, True)


@pytest.fixture
def fresh_bans(monkeypatch: pytest.MonkeyPatch) -> Bans:
    """None is known yet."""
    fresh = Bans()
    monkeypatch.setattr(auth, "bans", fresh)
    return fresh


async def test_who_is_shut_out_is_refused_by_django(ways: Ways, fresh_bans: Bans) -> None:
    assert (await ways.compare())[1]
    await Ban.objects.acreate(network="127.0.0.0/8")
    fresh_bans._read_at = float("-inf")
    answer, shortened = await ways.compare()
    assert (answer.status, shortened) == (403, False)


async def test_old_bans_are_asked_for_by_django(ways: Ways, fresh_bans: Bans) -> None:
    assert (await ways.compare())[1]
    fresh_bans._read_at -= 10
    before = ways.shortcut.answered
    await ask(ways.shortcut)
    await ask(ways.shortcut)
    assert ways.shortcut.answered == before + 1
