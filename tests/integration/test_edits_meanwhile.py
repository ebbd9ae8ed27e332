"""What an operator edits while a client connects or subscribes acts on that client too, though it was checked before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone

from realtime import auth
from realtime.auth import Credentials, resolve
from realtime.keys import create_key
from realtime.models import ApiKey
from realtime.orders import Changed
from realtime.principal import Unauthorized
from realtime.warden import Warden
from tests.integration.conftest import Desk
from tests.integration.test_delayed_commands import run
from tests.integration.test_warden import (  # noqa: F401  # fixtures among them
    QUOTE,
    TRADE,
    _fresh,
    ada,
    by_key,
    change,
    closed,
    following,
    warden,
)  # fmt: skip

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("edit", "refused", "code"),
    [
        ({"topics_per_connection": 1}, TRADE, 123),
        ({"data_types": ["trade"]}, QUOTE, 125),
        ({"symbols": ["MS*"]}, TRADE, 125),
    ],
)
async def test_what_the_plan_loses_while_topics_are_joined_is_refused(
    desk: Desk, warden: Warden, ada: User, monkeypatch: pytest.MonkeyPatch, edit: dict[str, Any], refused: str, code: int  # noqa: F811
) -> None:  # fmt: skip
    connection = await by_key(desk, ada)
    gate, recall = asyncio.Event(), desk.store.recall

    async def recall_slowly(*which: Any) -> Any:
        await gate.wait()
        return await recall(*which)

    monkeypatch.setattr(desk.store, "recall", recall_slowly)
    subscribing = asyncio.create_task(run(desk, connection, "subscribe", topics=[QUOTE, TRADE]))
    await desk.until(lambda: QUOTE in desk.hub.entries)
    await change(**edit)
    await warden.look()
    gate.set()
    reply = await subscribing
    assert (refused, code) in [(each["topic"], each["code"]) for each in reply["rejected"]]
    assert refused not in following(connection)
    assert reply["total"] == len(following(connection))


async def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered(
    desk: Desk, warden: Warden, ada: User, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    _, key = await sync_to_async(create_key)(ada)
    auth.hears_of_changes(True)
    find = auth.find_key

    def find_slowly(text: str) -> ApiKey | None:
        found = find(text)
        ApiKey.objects.update(revoked_at=timezone.now())
        warden.hear(Changed(users=(ada.pk,)))
        return found

    with monkeypatch.context() as slow:
        slow.setattr(auth, "find_key", find_slowly)
        assert await sync_to_async(resolve)(Credentials(token=key))
    with pytest.raises(Unauthorized):
        await sync_to_async(resolve)(Credentials(token=key))


async def test_who_was_identified_before_a_change_and_joins_after_it_is_looked_at(
    desk: Desk, warden: Warden, ada: User, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.setattr("realtime.warden.LOOKED_AT", 0)  # nobody is looked at by turns
    heard = warden.heard
    connection = await by_key(desk, ada)
    warden.mind(connection, heard)
    assert warden._due == {}
    await User.objects.filter(pk=ada.pk).aupdate(is_active=False)
    warden.hear(Changed(users=(ada.pk,)))
    warden._due.clear()  # as if it had not been among the connections yet
    warden.mind(connection, heard)
    await warden.look()
    assert closed(connection) == (4503, "disabled")
