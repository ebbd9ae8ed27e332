"""The window of ids, in memory."""

from __future__ import annotations

from marketdata.batch import Update
from marketdata.window import DIGEST_BYTES, Window, digest, digests, holds


def test_an_id_becomes_eight_bytes_whatever_it_is() -> None:
    assert {len(digest(name)) for name in ("1", "x" * 64, "é")} == {DIGEST_BYTES}
    assert len({digest(str(number)) for number in range(100_000)}) == 100_000


def test_the_places_of_ids_are_found_by_topic() -> None:
    updates = [Update("quote.A", b""), Update("trade.A", b"", "1"), Update("trade.B", b"", "1"), Update("trade.A", b"", "2")]
    assert digests(updates) == {"trade.A": {digest("1"): 1, digest("2"): 3}, "trade.B": {digest("1"): 2}}


def test_an_id_is_found_only_where_one_begins() -> None:
    first, last = digest("1"), digest("2")
    assert holds(first + last, "1")
    assert holds(first + last, "2")
    assert not holds(b"x" + first + last + b"x" * 7, "1")
    assert holds(b"x" + first + b"x" * 7 + first, "1")
    assert not holds(b"", "1")


def test_it_holds_the_newest_and_a_quarter_more_at_most() -> None:
    window, names = Window(100), [digest(str(number)) for number in range(1000)]
    for at, name in enumerate(names):
        window.add([name])
        held = sum(known in window for known in names)
        assert min(at + 1, 100) <= held < 125
        assert all(known in window for known in names[max(0, at - 99) : at + 1])
