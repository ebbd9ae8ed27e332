"""What a slow socket is owed."""

from __future__ import annotations

import json
from typing import Any

from realtime.outbox import Item, Outbox


def opened(messages: list[bytes]) -> list[Any]:
    return [json.loads(message) for message in messages]


def trade(seq: int, body: bytes = b"{}") -> Item:
    return Item(seq, body, keep=True)


def test_a_newer_value_replaces_an_older_one() -> None:
    outbox = Outbox(1000, 10)
    outbox.put("quote.A", "e", Item(1, b"1"))
    outbox.put("quote.A", "e", Item(2, b"2"))
    assert outbox.conflated == 1
    assert [message["seq"] for message in opened(outbox.take())] == [2]


def test_trades_are_queued_in_order() -> None:
    outbox = Outbox(1000, 10)
    for seq in (1, 2, 3):
        outbox.put("trade.A", "e", trade(seq))
    assert [message["seq"] for message in opened(outbox.take())] == [1, 2, 3]


def test_control_leaves_first_then_gaps_then_trades_then_the_rest() -> None:
    outbox = Outbox(1000, 1)
    outbox.put("quote.A", "e", Item(7, b"{}"))
    outbox.put("trade.A", "e", trade(1))
    outbox.put("trade.A", "e", trade(2))
    outbox.say(b'{"type":"pong"}')
    assert [message["type"] for message in opened(outbox.take())] == ["pong", "gap", "update", "update"]


def test_too_many_updates_of_a_topic_merge_into_one_gap() -> None:
    outbox = Outbox(1000, 2)
    for seq in range(5, 10):
        outbox.put("trade.A", "e", trade(seq))
    gap, *updates = opened(outbox.take())
    assert (gap["from"], gap["to"], gap["epoch"], gap["reason"]) == (5, 7, "e", "overflow")
    assert [update["seq"] for update in updates] == [8, 9]
    assert outbox.gaps == 1


def test_too_many_bytes_drop_the_oldest_trades() -> None:
    outbox = Outbox(100, 1000)
    for seq in range(1, 6):
        outbox.put("trade.A", "e", trade(seq, b"x" * 40))
    assert outbox.size_bytes <= 100
    assert outbox.lost["trade.A"].last == 3


def test_a_closed_kline_replaces_its_open_self_and_stays_before_the_next_bar() -> None:
    outbox = Outbox(1000, 10)
    outbox.put("kline.1m.A", "e", Item(1, b'{"n":1}'))
    outbox.put("kline.1m.A", "e", Item(2, b'{"n":2}', keep=True))
    outbox.put("kline.1m.A", "e", Item(3, b'{"n":3}'))
    assert [message["seq"] for message in opened(outbox.take())] == [2, 3]


def test_a_conflated_snapshot_hands_its_epoch_on() -> None:
    outbox = Outbox(1000, 10)
    outbox.put("quote.A", "new", Item(1, b"{}", epoch="new"))
    outbox.put("quote.A", "new", Item(2, b"{}"))
    (message,) = opened(outbox.take())
    assert (message["type"], message["epoch"], message["seq"]) == ("snapshot", "new", 2)


def test_a_forgotten_topic_is_owed_nothing() -> None:
    outbox = Outbox(1000, 1)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("trade.A", "e", trade(2))
    outbox.put("quote.A", "e", Item(1, b"{}"))
    outbox.forget("trade.A")
    outbox.forget("quote.A")
    assert outbox.take() == []
    assert outbox.size_bytes == 0


def test_an_emptied_outbox_is_empty() -> None:
    outbox = Outbox(1000, 10)
    outbox.say(b"{}")
    outbox.put("trade.A", "e", trade(1))
    assert len(outbox) == 2
    outbox.take()
    assert (len(outbox), outbox.size_bytes, outbox.take()) == (0, 0, [])
