"""REST of taps when something else fails: the audit log, and room for another one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client

from marketdata.errors import DatabaseUnavailable
from marketdata.models import JournalEntry
from realtime import tapping, taps
from realtime.connection import Connection
from realtime.frames import encoding
from realtime.keys import create_key
from realtime.orders import Orders
from tests.integration.conftest import ListSink
from tests.integration.test_orders import listening, orders

__all__ = ["orders"]  # the fixture
pytestmark = pytest.mark.django_db(transaction=True)


async def attached() -> tuple[Any, Connection]:
    """A node that listens and has a connection."""
    node = await listening()
    connection = Connection("session", None, ListSink(), encoding(framed=False), opened_us=0)
    node.hub.attach(connection)
    return node, connection


def tap() -> tuple[int, Any]:
    _, key = create_key(User.objects.create_superuser("root"), is_staff=True)
    client = Client(headers={"Authorization": f"Bearer {key}"})
    answer = client.post("/api/v1/admin/taps/", {"session": "session"}, content_type="application/json")
    return answer.status_code, json.loads(answer.content)


async def test_a_tap_that_cannot_be_noted_in_the_audit_log_ends_at_once(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    node, connection = await attached()
    sink = connection.sink

    def failing(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(tapping, "note", failing)
    status, answer = await sync_to_async(tap)()
    assert (status, answer["error"]["code"]) == (503, 128)
    while len(node.steward.taps):
        await sync_to_async(lambda: None)()
    assert connection.sink is sink


async def test_where_there_are_too_many_taps_one_is_told_to_wait(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    await attached()
    monkeypatch.setattr(taps, "MOST_OPEN", 0)
    status, answer = await sync_to_async(tap)()
    assert (status, answer["error"]["name"]) == (429, "too_many_requests")
    assert not await JournalEntry.objects.filter(action="tap").aexists()
