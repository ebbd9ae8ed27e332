"""A hundred thousand frames that nobody would send: each is a command or is refused with a code, and nothing is left behind."""

from __future__ import annotations

import gc
import sys
from collections import Counter

import pytest

from realtime import protocol
from realtime.codes import CodedError
from tests.fuzz import Fuzz

FRAMES = 50_000  # of each encoding
FEW_BLOCKS = 500  # of memory: what the interpreter itself keeps or gives back between two counts


def outcome(frame: bytes | str, wire: str) -> str:
    """What `decode`, and what reads topics out of a command, make of a frame; anything but a coded error fails the test."""
    try:
        command = protocol.decode(frame, wire)
        if isinstance(command, protocol.Subscribe):
            protocol.wanted_topics(command)
    except CodedError as failure:
        return failure.code.label
    return type(command).__name__


def outcomes(seed: int, count: int, wire: str) -> Counter[str]:
    """What becomes of so many frames; JSON is shown as bytes and as text in turn."""
    found: Counter[str] = Counter()
    for number, frame in enumerate(Fuzz(seed).frames(count, wire)):
        text = frame.decode("utf-8", "surrogateescape") if wire == "json" and number % 2 else frame
        found[outcome(text, wire)] += 1
    return found


@pytest.mark.parametrize("wire", ["json", "msgpack"])
def test_any_frame_is_a_command_or_a_coded_refusal(wire: str) -> None:
    found = outcomes(1, FRAMES, wire)
    assert found.total() == FRAMES
    assert {kind.__name__ for kind in protocol._KINDS.values()} | {"bad_request", "unknown_op"} <= set(found), found


@pytest.mark.parametrize("wire", ["json", "msgpack"])
def test_frames_leave_nothing_behind(wire: str) -> None:
    counts = []
    for seed in (2, 3, 4):
        outcomes(seed, 5_000, wire)
        gc.collect()
        counts.append(sys.getallocatedblocks())
    assert counts[2] - counts[1] < FEW_BLOCKS, counts


@pytest.mark.parametrize("frame", [b"\xff", b'{"op":"ping","nonce":"\xed\xa0\x80"}', b'{"op":"ping"}\x00', b"\xef\xbb\xbf{}"])
def test_bytes_that_are_no_text_are_refused(frame: bytes) -> None:
    assert outcome(frame, "json") == "bad_request"


def test_the_last_of_two_equal_fields_counts() -> None:
    command = protocol.decode('{"op":"history","op":"ping","id":1,"id":2}')
    assert command == protocol.Ping(id=2)
