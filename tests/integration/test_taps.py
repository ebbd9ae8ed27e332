"""Looking on at connections and topics: what is copied, what it costs, how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from marketdata.errors import StoreUnavailable
from realtime import taps as module
from realtime.connection import Connection
from realtime.redaction import HIDDEN
from realtime.taps import Copy, TappedSink, Taps
from tests.integration.conftest import Desk, ListSink, messages

QUOTE = '{"symbol":"AAPL","bid":"%d"}'


class Looking:
    """The taps of a desk, and what they copied."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.taps = Taps(desk.hub, "here")

    def at(self, key: str, *, session: str | None = None, topic: str | None = None, for_s: float = 30.0) -> str:
        return self.taps.begin(key, session, topic, for_s)

    async def copies(self, key: str) -> list[Copy]:
        rows = await self.desk.store.client.xrange(key)
        return [msgspec.json.decode(fields[b"c"], type=Copy) for _, fields in rows]

    async def seen(self, key: str, *whats: str) -> list[dict[str, Any]]:
        """Messages of these kinds."""
        return [copy.message for copy in await self.copies(key) if copy.what in whats]

    async def until(self, key: str, count: int, *whats: str) -> list[dict[str, Any]]:
        async with asyncio.timeout(5):
            while len(found := await self.seen(key, *whats)) < count:
                await asyncio.sleep(0.02)
        return found


@pytest.fixture
def looking(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Looking:
    monkeypatch.setattr(module, "EVERY_S", 0.02)
    return Looking(desk)


async def followed(desk: Desk, topic: str = "quote.AAPL") -> Connection:
    connection = desk.connect()
    await desk.publish(topic, QUOTE % 1)
    await desk.subscribe(connection, topic)
    return connection


def messages_of(connection: Connection) -> list[Any]:
    sink = connection.sink
    inner = sink.sink if isinstance(sink, TappedSink) else sink
    assert isinstance(inner, ListSink)
    return inner.messages


async def test_a_tap_of_a_connection_copies_what_it_is_sent(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    assert looking.at(prefix, session=connection.session) == "on"
    await desk.publish("quote.AAPL", QUOTE % 2)
    (update,) = await looking.until(prefix, 1, "sent")
    assert update == {"type": "update", "topic": "quote.AAPL", "seq": 2, "data": {"symbol": "AAPL", "bid": "2"}}
    (known,) = await looking.seen(prefix, "known")
    assert (known["type"], known["seq"]) == ("snapshot", 1)
    assert messages_of(connection)[-1] == update
    assert (await looking.copies(prefix))[0].node == "here"


async def test_what_passes_reaches_the_client_as_before(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    sink = connection.sink
    looking.at(prefix, session=connection.session)
    await desk.publish("quote.AAPL", QUOTE % 2)
    await looking.until(prefix, 1, "sent")
    assert isinstance(sink, ListSink)
    assert [message["seq"] for message in sink.messages] == [1, 2]


async def test_without_a_tap_sink_and_receiver_are_the_very_same(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    channel = desk.hub.entries["quote.AAPL"].channel
    sink, receiver = connection.sink, desk.hub.bus._receivers[channel]
    looking.at(f"{prefix}-1", session=connection.session)
    looking.at(f"{prefix}-2", topic="quote.AAPL")
    assert connection.sink is not sink
    assert desk.hub.bus._receivers[channel] is not receiver
    for tap in (f"{prefix}-1", f"{prefix}-2"):
        looking.taps.end(tap)
    assert connection.sink is sink
    assert connection.tap is None
    assert desk.hub.bus._receivers[channel] is receiver


async def test_two_look_at_the_same_and_one_goes(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    for name in ("a", "b"):
        looking.at(f"{prefix}-{name}", session=connection.session)
        looking.at(f"{prefix}-{name}t", topic="quote.AAPL")
    looking.taps.end(f"{prefix}-a")
    looking.taps.end(f"{prefix}-at")
    await desk.publish("quote.AAPL", QUOTE % 2)
    await looking.until(f"{prefix}-b", 1, "sent")
    await looking.until(f"{prefix}-bt", 1, "update")
    assert await looking.seen(f"{prefix}-a", "sent") == []


async def test_a_tap_of_a_topic_copies_what_the_bus_brings(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    assert looking.at(prefix, topic="quote.AAPL") == "on"
    await desk.publish("quote.AAPL", QUOTE % 2, QUOTE % 3)
    updates = await looking.until(prefix, 2, "update")
    assert [(update["seq"], update["data"]["bid"]) for update in updates] == [(2, "2"), (3, "3")]
    await desk.until(lambda: messages(connection)[-1]["seq"] == 3)


async def test_what_is_not_here_is_not_looked_at(looking: Looking, prefix: str) -> None:
    assert looking.at(prefix, session="nobody") == "no"
    assert looking.at(prefix, topic="quote.AAPL") == "no"


async def test_a_process_looks_at_a_few_things_at_once(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    for n in range(module.MOST_OPEN):
        assert looking.at(f"{prefix}-{n}", session=connection.session) == "on"
    assert looking.at(f"{prefix}-more", session=connection.session) == "full"


async def test_a_command_is_copied_without_its_token_and_an_answer_without_its_session(
    desk: Desk, looking: Looking, prefix: str
) -> None:
    connection = await followed(desk)
    looking.at(prefix, session=connection.session)
    assert connection.tap is not None
    connection.tap('{"op":"auth","token":"tw_secret"}')
    connection.say(b'{"type":"welcome","session":"s3cret"}')
    await looking.until(prefix, 2, "sent", "command")
    assert await looking.seen(prefix, "command") == [{"op": "auth", "token": HIDDEN}]
    assert await looking.seen(prefix, "sent") == [{"type": "welcome", "session": HIDDEN}]


@pytest.mark.parametrize(("bound", "why"), [("MOST_MESSAGES", "messages"), ("MOST_BYTES", "bytes")])
async def test_a_tap_ends_with_its_messages_and_its_bytes(
    desk: Desk, looking: Looking, prefix: str, monkeypatch: pytest.MonkeyPatch, bound: str, why: str
) -> None:
    connection = await followed(desk)
    monkeypatch.setattr(module, bound, 4 if bound == "MOST_MESSAGES" else 400)
    looking.at(prefix, session=connection.session)
    for _ in range(9):
        connection.say(b'{"type":"notice"}')
    assert not isinstance(connection.sink, TappedSink)
    assert await looking.until(prefix, 1, "ended") == [{"why": why}]


async def test_a_tap_ends_after_its_time_and_its_copies_later(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    looking.at(prefix, session=connection.session, for_s=0.05)
    assert await looking.until(prefix, 1, "ended") == [{"why": "time"}]
    assert not isinstance(connection.sink, TappedSink)
    assert 0 < await desk.store.client.ttl(prefix) <= module.KEPT_S
    await desk.until(lambda: not len(looking.taps))


async def test_a_tap_ends_with_its_connection(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    looking.at(prefix, session=connection.session)
    connection.sink.close(4503, "disabled")
    connection.sink.release()
    assert await looking.until(prefix, 1, "ended") == [{"why": "the connection ended"}]
    assert await looking.seen(prefix, "sent") == [{"type": "close", "code": 4503, "reason": "disabled"}]


async def test_what_is_too_much_at_once_is_counted_and_not_copied(
    desk: Desk, looking: Looking, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await followed(desk)
    monkeypatch.setattr(module, "AT_ONCE", 5)
    looking.at(prefix, session=connection.session)
    for _ in range(20):
        connection.say(b'{"type":"notice"}')
    (missed,) = await looking.until(prefix, 1, "missed")
    assert missed["count"] + len(await looking.seen(prefix, "sent")) == 20
    assert len(messages_of(connection)) == 21


async def test_a_long_message_is_told_of_and_not_copied(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    looking.at(prefix, session=connection.session)
    connection.say(b'{"type":"history","topic":"quote.AAPL","text":"%b"}' % (b"x" * module.LONGEST_BYTES))
    (told,) = await looking.until(prefix, 1, "sent")
    assert (told["type"], told["topic"], told["cut"] > module.LONGEST_BYTES) == ("history", "quote.AAPL", True)


async def test_a_tap_that_fails_ends_and_the_client_notices_nothing(
    desk: Desk, looking: Looking, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await followed(desk)
    looking.at(prefix, session=connection.session)
    connection.sink.taps[0].see("sent", iter_failing())  # type: ignore[attr-defined]
    assert await looking.until(prefix, 1, "ended") == [{"why": "failed"}]
    assert "a tap failed" in caplog.text
    connection.say(b'{"type":"notice"}')
    assert messages_of(connection)[-1] == {"type": "notice"}


def iter_failing() -> Any:
    yield {"type": "notice"}
    raise ValueError("something nobody foresaw")


async def test_while_redis_is_away_copies_are_missed_and_nothing_else(
    desk: Desk, looking: Looking, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await followed(desk)

    def away(_: Any) -> Any:
        raise StoreUnavailable("Redis: away")

    with monkeypatch.context() as broken:
        broken.setattr(module, "areachable", away)
        looking.at(prefix, session=connection.session)
        connection.say(b'{"type":"notice"}')
        tap = connection.sink.taps[0]  # type: ignore[attr-defined]
        await desk.until(lambda: tap._missed >= 2)
    (missed,) = await looking.until(prefix, 1, "missed")
    assert missed["count"] >= 2
    assert messages_of(connection)[-1] == {"type": "notice"}


async def test_a_topic_that_was_joined_anew_is_left_alone(desk: Desk, looking: Looking, prefix: str) -> None:
    connection = await followed(desk)
    looking.at(prefix, topic="quote.AAPL")
    channel = desk.hub.entries["quote.AAPL"].channel
    desk.hub.unsubscribe(connection, ["quote.AAPL"])
    await desk.until(lambda: desk.hub.entries["quote.AAPL"].idle_since is not None)
    await desk.hub.forget_idle()
    await desk.subscribe(connection, "quote.AAPL")
    anew = desk.hub.bus._receivers[channel]
    looking.taps.end(prefix)
    assert desk.hub.bus._receivers[channel] is anew
