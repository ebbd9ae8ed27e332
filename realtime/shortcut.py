"""Latest values over REST, answered before Django where that needs nothing but memory and one call of Redis.

Rules of this file:
1. An answer from here is the one that Django would give, byte for byte: both ask `marketdata.snapshots` what may be read and is
   there, and `throttles` whether the caller may ask. What the middleware adds is not known here: it is copied from an answer that
   Django gave to a request of the same kind a short while ago.
2. Whatever is not plain goes to Django: cookies, unknown credentials, plans with a delay or limits on trial, other
   conditions than If-None-Match, errors of any kind.
3. Nothing here asks the database or waits for a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
from django.utils.http import parse_etags

from marketdata import correlation, snapshots
from marketdata.access import INSTRUMENTS_AGE_S, check_plan
from marketdata.errors import MarketDataError
from marketdata.instruments import Instruments
from marketdata.last_known import last_known
from marketdata.serializers import MOST_TOPICS, split
from marketdata.snapshots import Wanted
from marketdata.topics import DataType
from realtime import auth, throttles
from realtime.codes import CodedError
from realtime.limits import Limits
from realtime.node import Node
from realtime.principal import Principal
from realtime.remembered import Remembered

LEARNED_S = 60.0
MOST_KINDS = 1000  # of requests that are told apart
MOST_LIKE_BYTES = 2048  # of the headers by which they are; what sends more is no program that asks often
MOST_QUESTIONS, SHORT = 1000, 1024  # some 10 MB, where all are of so many characters and name nothing that exists
MOST_LONG, LONGEST = 64, 9000  # some 6 MB; 200 topics of the longest names

Application = Callable[[Any, Any, Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Place(NamedTuple):
    """An address: what its query is called, and the data type whose symbols that names; None: it names topics."""

    asked: bytes
    kind: DataType | None


PLACES = {
    "/api/v1/snapshots/": Place(b"topics", None),
    "/api/v1/quotes/": Place(b"symbols", DataType.QUOTE),
    "/api/v1/tickers/": Place(b"symbols", DataType.TICKER),
}
QUERY = re.compile(rb"(topics|symbols)=([A-Za-z0-9._,-]+)")
AUTHORIZATION, IF_NONE_MATCH, REQUEST_ID = b"authorization", b"if-none-match", b"x-request-id"
_TAKEN_UP = frozenset((AUTHORIZATION, IF_NONE_MATCH, REQUEST_ID))
_OF_NO_MATTER = frozenset((b"user-agent", b"traceparent", b"tracestate", b"x-forwarded-for", b"x-real-ip"))
_NOT_PLAIN = frozenset(
    (b"cookie", b"if-match", b"if-modified-since", b"if-unmodified-since", b"content-length", b"transfer-encoding", b"expect")
)
_NOT_TO_BE_COPIED = frozenset((b"set-cookie", b"content-encoding", b"transfer-encoding"))


class Question(NamedTuple):
    """A plain request.

    Attributes:
        place: where it is asked.
        names: joined by commas.
        shown: those of its headers that are looked at here.
        address: of the client; empty: nobody knows.
        like: the rest of it, by which the middleware may tell requests apart.
    """

    place: Place
    names: str
    shown: Mapping[bytes, str]
    address: str
    like: tuple[object, ...]


class Answer(NamedTuple):
    """What is sent."""

    status: int
    headers: Headers
    body: bytes


class Shortcut:
    """An ASGI application in front of another; see the rules above.

    Attributes:
        answered: requests that did not reach the other.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.answered = 0
        self._learned: Remembered[Headers] = Remembered(LEARNED_S, MOST_KINDS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer, or hand on."""
        question = plain(scope)
        if question is None:
            await self.application(scope, receive, send)
            return
        try:
            answer = await self._answer(question)
        except (CodedError, MarketDataError):
            answer = None
        if answer is None:
            await self.application(scope, receive, self._learning(question, send))
            return
        self.answered += 1
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, question: Question) -> Answer | None:
        """The answer; None: Django shall give it. Charged last, so that nobody pays for a request twice."""
        principal = auth.known(question.shown.get(AUTHORIZATION), question.address)
        if principal is None or principal.delay_us or principal.limits.dry_run:
            return None
        charge = throttles.charge_of(principal, question.address)
        whole, unchanged = (self._learned.get((status, charge is not None, question.like)) for status in (200, 304))
        asked_before = question.shown.get(IF_NONE_MATCH)
        if whole is None or (asked_before is not None and unchanged is None):
            return None
        content = await _content(question, principal)
        if content is None:
            return None
        made = {b"etag": snapshots.etag(content), REQUEST_ID: correlation.named(question.shown.get(REQUEST_ID))}
        if charge is not None:
            taken = throttles.requests.take(*charge, time.monotonic())
            if taken.wait_s:
                return None
            made |= {name.lower().encode(): text for name, text in throttles.told(charge, taken).items()}
        throttles.meter(principal)
        if unchanged is not None and asked_before is not None and _names(asked_before, made[b"etag"]):
            return Answer(304, _filled(unchanged, made, b""), b"")
        return Answer(200, _filled(whole, made, content), content)

    def _learning(self, question: Question, send: Any) -> Any:
        """Sends on, and copies the headers of an answer that could have been given here."""

        async def learn(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] in (200, 304):
                headers = [(name, value) for name, value in message["headers"]]
                names = {name.lower() for name, _ in headers}
                if not names & _NOT_TO_BE_COPIED:
                    self._learned.set((message["status"], b"ratelimit-limit" in names, question.like), headers)
            await send(message)

        return learn


def plain(scope: Any) -> Question | None:
    """The question that a request asks, if it is one that could be answered here."""
    place = PLACES.get(scope["path"])
    if place is None or scope["method"] != "GET":
        return None
    query = QUERY.fullmatch(scope["query_string"].replace(b"%2C", b","))  # a comma, as browsers write it
    if query is None or query[1] != place.asked or len(query[2]) > LONGEST:
        return None
    shown: dict[bytes, str] = {}
    others = []
    for name, value in scope["headers"]:
        if name in _NOT_PLAIN or name in shown:
            return None
        if name in _TAKEN_UP:
            shown[name] = value.decode("latin-1")
        elif name not in _OF_NO_MATTER:
            others.append((name, value))
    if sum(len(name) + len(value) for name, value in others) > MOST_LIKE_BYTES:
        return None
    like = scope["path"], scope.get("scheme"), scope.get("root_path"), *others
    return Question(place, query[2].decode(), shown, (scope.get("client") or [""])[0], like)


def _find(place: Place, text: str, limits: Limits, listed: Instruments, version: int) -> Wanted | None:  # noqa: ARG001
    """What may be read of a question under these limits.

    Returns:
        None: there are too many names, or none.

    Raises:
        NotInPlan: the limits leave the place's data type out.
    """
    reader = Principal(None, None, "", limits)  # whoever has them: nothing else of a reader can make a difference here
    names = split(text)
    if not 1 <= len(names) <= MOST_TOPICS:
        return None
    if place.kind is None:
        return snapshots.wanted(names, reader, listed)
    check_plan(place.kind, None, reader)
    return snapshots.wanted([f"{place.kind}.{symbol}" for symbol in names], reader, listed)


# remembered while neither limits nor instruments change
_wanted, _wanted_long = lru_cache(MOST_QUESTIONS)(_find), lru_cache(MOST_LONG)(_find)


async def _content(question: Question, principal: Principal) -> bytes | None:
    """The body; None where more is needed than memory and Redis."""
    node = await Node.here()
    if node.instruments.is_older(INSTRUMENTS_AGE_S) or node.store.breaker.state != "closed":
        return None
    remembered = _wanted if len(question.names) <= SHORT else _wanted_long
    wanted = remembered(question.place, question.names, principal.limits, node.instruments, node.instruments.version)
    if wanted is None:
        return None
    topics = list(wanted.topics)
    found = await node.store.latest(topics)
    if None in found:  # what the store never had or has lost, somebody else may know: Django asks, in a thread
        return None
    last_known(node.hub.layout.prefix).note(topics, found)
    return msgspec.json.encode(snapshots.answer(wanted, list(zip(found, repeat(True)))))


def _names(asked_before: str, etag: str) -> bool:
    """Whether an If-None-Match names the entity tag, as Django compares them."""
    known = parse_etags(asked_before)
    return known == ["*"] or etag in (each.strip("W/") for each in known)


def _filled(template: Headers, made: Mapping[bytes, str], body: bytes) -> Headers:
    """The headers of an answer like the one that was copied."""
    own = {name: text.encode() for name, text in made.items()} | {b"content-length": b"%d" % len(body)}
    return [(name, own.get(name.lower(), value)) for name, value in template]
