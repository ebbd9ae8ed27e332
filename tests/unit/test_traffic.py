"""Bytes handed to clients' sockets, added up from connections that come and go."""

from __future__ import annotations

from typing import NamedTuple

from monitoring.traffic import Traffic


class Socket(NamedTuple):
    sent_bytes: int


def test_what_was_sent_since_the_last_look_is_added() -> None:
    traffic = Traffic()
    assert traffic.read({"a": Socket(100)}) == 100
    assert traffic.read({"a": Socket(150), "b": Socket(7)}) == 157
    assert traffic.read({"a": Socket(150), "b": Socket(7)}) == 157


def test_a_connection_that_leaves_takes_nothing_away() -> None:
    traffic = Traffic()
    traffic.read({"a": Socket(100), "b": Socket(50)})
    assert traffic.read({"b": Socket(60)}) == 160
