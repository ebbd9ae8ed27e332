"""The witness itself: it finds every way in which a client may be deceived."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.witness import Tape

TOPIC = "trade.A"


def snapshot(epoch: str, seq: int, n: int) -> dict[str, Any]:
    return {"type": "snapshot", "topic": TOPIC, "epoch": epoch, "seq": seq, "data": {"n": n}}


def update(seq: int, n: int) -> dict[str, Any]:
    return {"type": "update", "topic": TOPIC, "seq": seq, "data": {"n": n}}


def gap(epoch: str, first: int, last: int) -> dict[str, Any]:
    return {"type": "gap", "topic": TOPIC, "epoch": epoch, "from": first, "to": last}


def tape(*messages: dict[str, Any], every: bool = True) -> Tape:
    found = Tape(TOPIC, every)
    for message in messages:
        found.take(message)
    return found


def test_a_whole_sequence_with_a_gap_and_a_new_epoch_is_in_order():
    found = tape(snapshot("e", 5, 50), update(6, 60), gap("e", 7, 8), update(9, 90), snapshot("f", 1, 100), update(2, 110))
    assert (found.faults, found.lost, found.epochs) == ([], 2, ["e", "f"])
    assert found.counted == found.published == 2


@pytest.mark.parametrize(
    "then",
    [
        [update(7, 70)], [update(5, 70)], [update(4, 70)], [update(6, 50)],
        [gap("e", 7, 8)], [gap("f", 6, 8)], [snapshot("e", 8, 80)],
        [snapshot("f", 1, 60), snapshot("e", 6, 70)], [snapshot("f", 1, 40)],
    ],
    ids=[
        "hole", "repeated", "backwards", "older value", "gap in the wrong place", "gap of another epoch",
        "hole under a snapshot", "epoch again", "older value of a new epoch",
    ],
)  # fmt: skip
def test_what_breaks_a_promise_is_found(then):
    assert tape(snapshot("e", 5, 50), *then).faults


def test_a_latest_topic_may_leave_out_updates_but_not_go_back():
    assert tape(snapshot("e", 5, 50), update(9, 90), every=False).faults == []
    assert tape(snapshot("e", 5, 50), update(9, 90), update(8, 80), every=False).faults


def test_an_update_without_a_beginning_is_found():
    assert tape(update(1, 10)).faults


def test_what_the_store_had_confirmed_and_nobody_got_is_unexplained_unless_a_new_epoch_covers_it():
    found = tape(snapshot("e", 1, 10), update(2, 11), snapshot("f", 1, 15), update(2, 16), update(3, 18))
    assert found.unexplained({9, 10, 11, 12, 13, 14, 15, 16, 17, 18}) == [17]
