"""What a tap shows: messages as they are, secrets not."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.frames import encoding, opened
from realtime.redaction import HIDDEN, redacted, redacted_command

MESSAGES = st.lists(
    st.dictionaries(st.text(max_size=5), st.text(max_size=400) | st.integers(-9, 9), max_size=4), min_size=1, max_size=5
)


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("deflated", [True, False])
@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("wire", ["json", "msgpack"])
@settings(max_examples=10)
@given(messages=MESSAGES)
def test_what_any_encoding_wrote_can_be_opened(wire, batch, deflated, framed, messages):
    way = encoding(wire, batch=batch, deflated=deflated, framed=framed)
    payload = way.join([way.message(msgspec.json.encode(message)) for message in messages])
    assert list(opened(payload)) == messages


def test_a_long_frame_can_be_opened():
    way, message = encoding(), {"text": "x" * 70_000}
    assert list(opened(way.join([way.message(msgspec.json.encode(message))] * 2))) == [message, message]


def test_a_welcome_is_shown_without_its_session():
    assert redacted({"type": "welcome", "session": "abc", "node": "n"}) == {"type": "welcome", "session": HIDDEN, "node": "n"}


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ('{"op":"auth","id":1,"token":"tw_secret"}', {"op": "auth", "id": 1, "token": HIDDEN}),
        ('{"op":"resume","session":"s3cret"}', {"op": "resume", "session": HIDDEN}),
        ('{"op":"auth","tokn":"tw_secret"}', {"op": "auth", "others": 1}),
        ('{"op":"auth","token":"tw_sec', {"unreadable": 28}),
        ('"tw_secret"', {"unreadable": 11}),
        (msgspec.msgpack.encode({"op": "auth", "token": "tw_secret"}), {"op": "auth", "token": HIDDEN}),
        (b"\xc1", {"unreadable": 1}),
    ],
)
def test_no_token_is_shown_of_a_command_however_it_is_written(command, shown):
    found = redacted_command(command)
    assert found == shown
    assert "cret" not in str(found)


def test_a_subscription_is_shown_whole():
    assert redacted_command('{"op":"subscribe","topics":["quote.AAPL"]}') == {"op": "subscribe", "topics": ["quote.AAPL"]}
