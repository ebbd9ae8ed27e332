"""Commands in, messages out."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import protocol
from realtime.codes import Close, Code, CodedError, Eviction


def decoded(**fields: Any) -> protocol.Command:
    return protocol.decode(json.dumps(fields))


def refused(data: str | bytes, wire: str = "json") -> protocol.BadCommand:
    with pytest.raises(protocol.BadCommand) as caught:
        protocol.decode(data, wire)
    return caught.value


@pytest.mark.parametrize("data", ["", "{", "[]", "1", "null", '"text"', "\ud800", '{"op":1}', "{}", "[" * 5000])
def test_a_frame_that_is_no_command_is_107(data: str) -> None:
    assert refused(data).code is Code.BAD_REQUEST


def test_an_unknown_op_is_104_and_echoes_the_id() -> None:
    failure = refused('{"op":"dance","id":"x"}')
    assert (failure.code, failure.id) == (Code.UNKNOWN_OP, "x")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ('{"op":"ping","colour":1}', "colour"),
        ('{"op":"history"}', "topic"),
        ('{"op":"subscribe","topics":"quote.A"}', "topics"),
        ('{"op":"subscribe","topics":["quote.A"],"max_rate":-1}', "max_rate"),
        ('{"op":"configure","heartbeat":61}', "heartbeat"),
        ('{"op":"history","topic":"quote.A","from_seq":18446744073709551616}', "from_seq"),
        ('{"op":"history","topic":"quote.A","to_seq":96098733833141973155840}', "to_seq"),
        ('{"op":"ping","id":1.5}', "id"),
        ('{"op":"ping","id":true}', "id"),
    ],
)
def test_a_wrong_field_is_107_and_named(data: str, field: str) -> None:
    failure = refused(data)
    assert failure.code is Code.BAD_REQUEST
    assert field in failure.message


def test_an_id_of_37_characters_is_refused_and_not_echoed() -> None:
    assert refused(json.dumps({"op": "ping", "id": "x" * 37})).id is None


def test_messagepack_carries_the_same_commands() -> None:
    command = protocol.decode(msgspec.msgpack.encode({"op": "subscribe", "topics": ["quote.A"], "id": 7}), "msgpack")
    assert command == protocol.Subscribe(id=7, topics=["quote.A"])
    assert refused(b"\xc1", "msgpack").code is Code.BAD_REQUEST
    assert refused(msgspec.msgpack.encode({1: 2}), "msgpack").code is Code.BAD_REQUEST


@given(st.binary(max_size=200), st.sampled_from(["json", "msgpack"]))
def test_no_bytes_do_more_than_be_refused(data: bytes, wire: str) -> None:
    with contextlib.suppress(protocol.BadCommand):
        protocol.decode(data, wire)


def test_symbols_times_types_are_topics() -> None:
    command = protocol.Subscribe(symbols=["A", "B"], types=["quote", "kline"], interval="1m")
    assert protocol.wanted_topics(command) == ["quote.A", "kline.1m.A", "quote.B", "kline.1m.B"]


@pytest.mark.parametrize(
    "command",
    [
        protocol.Subscribe(),
        protocol.Subscribe(topics=[]),
        protocol.Subscribe(topics=["quote.A"], symbols=["A"], types=["quote"]),
        protocol.Subscribe(symbols=["A"]),
        protocol.Subscribe(symbols=["A"], types=["kline"]),
    ],
)
def test_a_subscribe_that_names_no_topics_or_both_ways_is_107(command: protocol.Subscribe) -> None:
    with pytest.raises(CodedError) as caught:
        protocol.wanted_topics(command)
    assert caught.value.code is Code.BAD_REQUEST


@pytest.mark.parametrize(
    ("command", "given"),
    [
        (protocol.Subscribe(topics=[f"quote.S{n}" for n in range(201)]), 201),
        (protocol.Subscribe(symbols=[f"S{n}" for n in range(201)], types=["quote"]), 201),
        (protocol.Subscribe(symbols=["S"] * 200, types=["quote"] * 200), 40_000),
    ],
)
def test_more_than_200_topics_are_106(command: protocol.Subscribe, given: int) -> None:
    with pytest.raises(CodedError) as caught:
        protocol.wanted_topics(command)
    assert (caught.value.code, caught.value.details) == (Code.LIMIT_EXCEEDED, {"limit": 200, "given": given})


def test_a_topic_named_twice_counts_once() -> None:
    assert protocol.bounded_topics(["quote.A"] * 300) == ["quote.A"]


def test_market_data_is_spliced_around_the_body() -> None:
    assert json.loads(protocol.update("quote.A", 5, b'{"bid":"1"}')) == {
        "type": "update", "topic": "quote.A", "seq": 5, "data": {"bid": "1"},
    }  # fmt: skip
    assert json.loads(protocol.snapshot("quote.A", "abc123", 5, b"{}")) == {
        "type": "snapshot", "topic": "quote.A", "epoch": "abc123", "seq": 5, "data": {},
    }  # fmt: skip


def test_an_error_says_whether_waiting_helps() -> None:
    told = json.loads(protocol.error(CodedError(Code.TOO_MANY_REQUESTS, "slow down", retry_after_ms=50), 3))
    assert told == {
        "type": "error", "id": 3, "code": 111, "name": "too_many_requests", "message": "slow down",
        "temporary": True, "retry_after_ms": 50,
    }  # fmt: skip


def test_a_push_has_no_id() -> None:
    notice = json.loads(protocol.notice("shutdown", "bye", code=Close.RESTART, retry_after_ms=10))
    assert notice == {"type": "notice", "kind": "shutdown", "message": "bye", "retry_after_ms": 10, "code": 1012}
    assert json.loads(protocol.evicted("quote.A", Eviction.ADMIN))["name"] == "admin"
    assert json.loads(protocol.gap("trade.A", "e", 1, 2, "history")) == {
        "type": "gap", "topic": "trade.A", "epoch": "e", "from": 1, "to": 2, "reason": "history",
    }  # fmt: skip
