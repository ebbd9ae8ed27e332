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
    assert outbox.lost["trade.A", "e"].last == 3


def test_a_gap_names_the_epoch_of_what_was_lost() -> None:
    outbox = Outbox(10_000, 2)
    for seq in (899, 900, 901):
        outbox.put("trade.A", "old", trade(seq))
    for seq in (1, 2, 3):
        outbox.put("trade.A", "new", Item(seq, b"{}", epoch="new" if seq == 1 else "", keep=True))
    first, second, begin, update = opened(outbox.take())
    assert [(gap["epoch"], gap["from"], gap["to"]) for gap in (first, second)] == [("old", 899, 901), ("new", 1, 1)]
    assert (begin["type"], begin["epoch"], begin["seq"]) == ("snapshot", "new", 2)  # although the first of the epoch was lost
    assert (update["type"], update["seq"]) == ("update", 3)


def test_the_newest_trade_stays_however_long_it_is() -> None:
    outbox = Outbox(100, 10)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("trade.A", "e", trade(2, b'"%b"' % (b"x" * 200)))
    gap, update = opened(outbox.take())
    assert (gap["to"], update["seq"], outbox.size_bytes) == (1, 2, 0)


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


def test_a_portion_ends_with_the_message_that_fills_it() -> None:
    outbox = Outbox(10_000, 10)
    for seq in range(1, 6):
        outbox.put("trade.A", "e", trade(seq, b"x" * 100))
    assert len(outbox.take(150)) == 1
    assert len(outbox.take(250)) == 2
    assert len(outbox) == 2


def test_control_overtakes_the_rest_of_a_round() -> None:
    outbox = Outbox(1000, 10)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("trade.A", "e", trade(2))
    outbox.take(1)
    outbox.say(b'{"type":"pong"}')
    assert [message["type"] for message in opened(outbox.take())] == ["pong", "update"]


def test_the_rest_of_a_round_goes_before_what_came_since() -> None:
    outbox = Outbox(1000, 1)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("quote.A", "e", Item(7, b"{}"))
    outbox.take(1)
    for seq in (2, 3):
        outbox.put("trade.A", "e", trade(seq))
    rest = opened(outbox.take())
    assert [(message["type"], message["topic"]) for message in rest] == [
        ("update", "quote.A"), ("gap", "trade.A"), ("update", "trade.A"),
    ]  # fmt: skip


def test_nothing_of_a_forgotten_topic_leaves_though_its_round_has_begun() -> None:
    outbox = Outbox(1000, 10)
    for seq in (1, 2):
        outbox.put("trade.A", "e", trade(seq))
        outbox.put("trade.B", "e", trade(seq))
    outbox.take(1)
    outbox.forget("trade.A")
    assert [message["topic"] for message in opened(outbox.take())] == ["trade.B", "trade.B"]
