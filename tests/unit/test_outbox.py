"""What a slow socket is owed."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import Any

import pytest

from realtime.outbox import CONTROL_BYTES, UPDATE_BYTES, Gap, Item, Outbox

ROOMY = 100_000


def opened(messages: list[bytes]) -> list[Any]:
    return [json.loads(message) for message in messages]


def trade(seq: int, body: bytes = b"{}") -> Item:
    return Item(seq, body, keep=True)


def room(updates: int, body_bytes: int = 2) -> int:
    """Bytes for so many updates."""
    return updates * (UPDATE_BYTES + body_bytes)


def test_a_newer_value_replaces_an_older_one() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.put("quote.A", "e", Item(1, b"1"))
    outbox.put("quote.A", "e", Item(2, b"2"))
    assert outbox.conflated == 1
    assert [message["seq"] for message in opened(outbox.take())] == [2]


def test_trades_are_queued_in_order() -> None:
    outbox = Outbox(ROOMY, 10)
    for seq in (1, 2, 3):
        outbox.put("trade.A", "e", trade(seq))
    assert [message["seq"] for message in opened(outbox.take())] == [1, 2, 3]


def test_control_leaves_first_then_gaps_then_trades_then_the_rest() -> None:
    outbox = Outbox(ROOMY, 1)
    outbox.put("quote.A", "e", Item(7, b"{}"))
    outbox.put("trade.A", "e", trade(1))
    outbox.put("trade.A", "e", trade(2))
    outbox.say(b'{"type":"pong"}')
    assert [message["type"] for message in opened(outbox.take())] == ["pong", "gap", "update", "update"]


def test_too_many_updates_of_a_topic_merge_into_one_gap() -> None:
    outbox = Outbox(ROOMY, 2)
    for seq in range(5, 10):
        outbox.put("trade.A", "e", trade(seq))
    gap, *updates = opened(outbox.take())
    assert (gap["from"], gap["to"], gap["epoch"], gap["reason"]) == (5, 7, "e", "overflow")
    assert [update["seq"] for update in updates] == [8, 9]
    assert outbox.gaps == 1


def test_too_many_bytes_drop_the_oldest_trades() -> None:
    outbox = Outbox(room(3, 40), 1000)
    for seq in range(1, 6):
        outbox.put("trade.A", "e", trade(seq, b"x" * 40))
    assert outbox.size_bytes <= room(3, 40)
    assert outbox.lost["trade.A", "e"].last == 3  # two are left, and the gap


def test_the_bound_is_one_for_all_topics() -> None:
    outbox = Outbox(room(20, 1000), 1000)
    for number in range(50):
        outbox.put(f"trade.S{number}", "e", trade(1, b"x" * 1000))
    assert outbox.size_bytes <= room(20, 1000)
    assert outbox.trades.keys() == {f"trade.S{number}" for number in range(36, 50)}  # beside the gaps of the others


def test_a_topic_pays_for_its_own_updates_before_others_do() -> None:
    outbox = Outbox(room(5), 1000)
    outbox.put("trade.RARE", "e", trade(1))
    for seq in range(1, 100):
        outbox.put("trade.BUSY", "e", trade(seq))
    assert list(outbox.trades) == ["trade.RARE", "trade.BUSY"]
    assert list(outbox.lost) == [("trade.BUSY", "e")]


def test_what_is_leaving_counts_and_is_not_cut() -> None:
    outbox = Outbox(room(5), 1000)
    for seq in range(1, 6):
        outbox.put("trade.A", "e", trade(seq))
    outbox.take(1)
    for seq in range(6, 12):
        outbox.put("trade.A", "e", trade(seq))
    assert outbox.size_bytes <= room(5) + room(1)
    *rest, gap, newest = opened(outbox.take())
    assert [update["seq"] for update in rest] == [2, 3, 4, 5]
    assert (gap["from"], gap["to"], newest["seq"], outbox.size_bytes) == (6, 10, 11, 0)


@pytest.mark.parametrize("body_bytes", [10, 400])
def test_the_bound_is_true_of_the_memory(body_bytes: int) -> None:
    outbox = Outbox(1 << 18, 256)
    tracemalloc.start()
    for number in range(5000):
        outbox.put(f"trade.S{number % 50}", "e", trade(number, b"%d" % number * (body_bytes // 4)))
        if number == 2500:
            outbox.take(1)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.5 * outbox.size_bytes < used < 1.1 * (1 << 18)


def test_closed_klines_stay_when_trades_go() -> None:
    outbox = Outbox(room(10), 1000)
    for number in range(8):
        outbox.put(f"kline.1m.S{number}", "e", trade(1))
    for seq in range(1, 50):
        outbox.put("trade.A", "e", trade(seq))
    assert len(outbox.bars) == 8
    assert [key[0] for key in outbox.lost] == ["trade.A"]


def test_closed_klines_are_bounded_too() -> None:
    outbox = Outbox(room(10), 1000)
    for seq in range(1, 100):
        outbox.put("kline.1m.A", "e", trade(seq))
        outbox.put("kline.1m.B", "e", trade(seq))
    assert outbox.size_bytes <= room(10)


def test_a_hole_of_the_bus_is_announced_where_it_is() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.put("trade.A", "e", trade(1))
    outbox.skip("trade.A", Gap("e", 2, 4, "broker"))
    outbox.put("trade.A", "e", trade(5))
    first, gap, second = opened(outbox.take())
    assert (first["seq"], gap["from"], gap["to"], gap["reason"], second["seq"]) == (1, 2, 4, "broker", 5)


def test_a_hole_of_the_bus_is_part_of_the_gap_when_what_is_around_it_goes() -> None:
    outbox = Outbox(ROOMY, 1)
    outbox.put("trade.A", "e", trade(1))
    outbox.skip("trade.A", Gap("e", 2, 4, "broker"))
    outbox.put("trade.A", "e", trade(5))
    gap, update = opened(outbox.take())
    assert (gap["from"], gap["to"], gap["reason"], update["seq"]) == (1, 4, "overflow", 5)


def test_a_gap_names_the_epoch_of_what_was_lost() -> None:
    outbox = Outbox(ROOMY, 2)
    for seq in (899, 900, 901):
        outbox.put("trade.A", "old", trade(seq))
    for seq in (1, 2, 3):
        outbox.put("trade.A", "new", Item(seq, b"{}", epoch="new" if seq == 1 else "", keep=True))
    first, second, begin, update = opened(outbox.take())
    assert [(gap["epoch"], gap["from"], gap["to"]) for gap in (first, second)] == [("old", 899, 901), ("new", 1, 1)]
    assert (begin["type"], begin["epoch"], begin["seq"]) == ("snapshot", "new", 2)  # although the first of the epoch was lost
    assert (update["type"], update["seq"]) == ("update", 3)


def test_an_epoch_whose_first_update_was_cut_alone_begins_with_the_next() -> None:
    outbox = Outbox(room(1), 10)
    outbox.put("trade.A", "new", Item(1, b"{}", epoch="new", keep=True))
    outbox.put("trade.B", "e", trade(1))
    outbox.put("trade.A", "new", trade(2))
    messages = [message for message in opened(outbox.take()) if message["topic"] == "trade.A"]
    assert [(message["type"], message["epoch"]) for message in messages] == [("gap", "new"), ("snapshot", "new")]


def test_the_newest_trade_stays_however_long_it_is() -> None:
    outbox = Outbox(100, 10)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("trade.A", "e", trade(2, b'"%b"' % (b"x" * 200)))
    gap, update = opened(outbox.take())
    assert (gap["to"], update["seq"], outbox.size_bytes) == (1, 2, 0)


def test_a_closed_kline_replaces_its_open_self_and_stays_before_the_next_bar() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.put("kline.1m.A", "e", Item(1, b'{"n":1}'))
    outbox.put("kline.1m.A", "e", Item(2, b'{"n":2}', keep=True))
    outbox.put("kline.1m.A", "e", Item(3, b'{"n":3}'))
    assert [message["seq"] for message in opened(outbox.take())] == [2, 3]


def test_a_conflated_snapshot_hands_its_epoch_on() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.put("quote.A", "new", Item(1, b"{}", epoch="new"))
    outbox.put("quote.A", "new", Item(2, b"{}"))
    (message,) = opened(outbox.take())
    assert (message["type"], message["epoch"], message["seq"]) == ("snapshot", "new", 2)


def test_a_forgotten_topic_is_owed_nothing() -> None:
    outbox = Outbox(ROOMY, 1)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("trade.A", "e", trade(2))
    outbox.put("quote.A", "e", Item(1, b"{}"))
    outbox.forget("trade.A")
    outbox.forget("quote.A")
    assert outbox.take() == []
    assert outbox.size_bytes == 0


def test_an_emptied_outbox_is_empty() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.say(b"{}")
    outbox.put("trade.A", "e", trade(1))
    assert len(outbox) == 2
    outbox.take()
    assert (len(outbox), outbox.size_bytes, outbox.take()) == (0, 0, [])


def test_a_portion_ends_with_the_message_that_fills_it() -> None:
    outbox = Outbox(ROOMY, 10)
    for seq in range(1, 6):
        outbox.put("trade.A", "e", trade(seq, b"x" * 100))
    assert len(outbox.take(150)) == 1
    assert len(outbox.take(250)) == 2
    assert len(outbox) == 2


def test_control_overtakes_the_rest_of_a_round() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("trade.A", "e", trade(2))
    outbox.take(1)
    outbox.say(b'{"type":"pong"}')
    assert [message["type"] for message in opened(outbox.take())] == ["pong", "update"]


def test_the_rest_of_a_round_goes_before_what_came_since() -> None:
    outbox = Outbox(ROOMY, 1)
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
    outbox = Outbox(ROOMY, 10)
    for seq in (1, 2):
        outbox.put("trade.A", "e", trade(seq))
        outbox.put("trade.B", "e", trade(seq))
    outbox.take(1)
    outbox.forget("trade.A")
    assert [message["topic"] for message in opened(outbox.take())] == ["trade.B", "trade.B"]


def test_a_value_that_waits_for_its_turn_is_replaced_by_a_newer_one() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("quote.A", "e", Item(1, b"{}"))
    outbox.take(1)
    outbox.put("quote.A", "e", Item(2, b"{}"))
    assert [message["seq"] for message in opened(outbox.take())] == [2]
    assert outbox.conflated == 1


def test_a_bar_that_opens_during_a_round_does_not_overtake_the_one_that_closed() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("kline.1m.A", "e", Item(5, b"{}"))
    outbox.take(1)
    outbox.put("kline.1m.A", "e", Item(6, b"{}", keep=True))
    outbox.put("kline.1m.A", "e", Item(7, b"{}"))
    assert [message["seq"] for message in opened(outbox.take())] == [6, 7]


def test_snapshots_leave_before_trades() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.put("trade.A", "e", trade(1))
    outbox.put("quote.A", "new", Item(1, b"{}", epoch="new"))
    outbox.put("quote.B", "e", Item(1, b"{}"))
    assert [message["topic"] for message in opened(outbox.take())] == ["quote.A", "trade.A", "quote.B"]


def test_everything_is_counted_and_nothing_twice() -> None:
    outbox = Outbox(ROOMY, 2)
    for seq in range(1, 6):
        outbox.put("trade.A", "e", trade(seq))
        outbox.put("quote.A", "e", Item(seq, b"{}"))
        outbox.put("kline.1m.A", "e", Item(seq, b"{}", keep=seq == 3))
        outbox.take(1)
    outbox.say(b"{}")
    outbox.forget("trade.A", "quote.A", "kline.1m.A")
    assert outbox.size_bytes == UPDATE_BYTES + 2
    assert (opened(outbox.take()), outbox.size_bytes) == ([{}], 0)


async def test_who_is_owed_many_answers_waits_until_they_left() -> None:
    outbox = Outbox(ROOMY, 10)
    await outbox.caught_up()
    outbox.say(b"x" * CONTROL_BYTES)
    waiting = asyncio.create_task(outbox.caught_up())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.take()
    await waiting


async def test_nobody_waits_for_a_connection_that_is_being_closed() -> None:
    outbox = Outbox(ROOMY, 10)
    outbox.say(b"x" * CONTROL_BYTES)
    outbox.give_up()
    await outbox.caught_up()
