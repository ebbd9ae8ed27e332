"""Commands of the monitor's socket."""

from __future__ import annotations

import pytest

from monitoring.monitor_commands import Ping, Watch, decode
from monitoring.panes import Filters, Question
from realtime.protocol import BadCommand


def test_watching_names_views_and_filters() -> None:
    command = decode('{"op":"watch","id":7,"views":["overview","connections"],"filters":{"user":"ada","slow":true}}')
    assert command == Watch(id=7, views=["overview", "connections"], filters=Filters(user="ada", slow=True))


def test_filters_make_another_question_of_connections_only() -> None:
    command = Watch(views=["overview", "topics", "connections"], filters=Filters(user="ada", limit=5))
    assert command.questions() == {
        Question("overview"), Question("topics", Filters(limit=5)), Question("connections", Filters(user="ada", limit=5)),
    }  # fmt: skip


def test_a_ping_needs_nothing() -> None:
    assert decode(b'{"op":"ping"}') == Ping()


@pytest.mark.parametrize(
    ("text", "code", "id"),
    [
        ("{", 107, None),
        ("[]", 107, None),
        ("\xff", 107, None),
        ('{"op":"riot","id":3}', 104, 3),
        ('{"op":"watch","id":"a"}', 107, "a"),
        ('{"op":"watch","id":true,"views":[]}', 107, None),
        ('{"op":"watch","views":["secrets"]}', 107, None),
        ('{"op":"watch","views":[],"filters":{"limit":0}}', 107, None),
        ('{"op":"watch","views":[],"filters":{"password":"x"}}', 107, None),
        (f'{{"op":"ping","id":"{"x" * 40}","more":1}}', 107, None),
    ],
)
def test_what_is_no_command_is_refused_under_its_id(text: str, code: int, id: object) -> None:
    with pytest.raises(BadCommand) as failure:
        decode(text)
    assert (failure.value.code, failure.value.id) == (code, id)
