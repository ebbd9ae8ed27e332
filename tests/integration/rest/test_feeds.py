"""What staff read about the feeds."""

from __future__ import annotations

import io
import json

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from marketdata.feed_status import FRESH_US, FeedStatus, note_status
from marketdata.store import Store, now_us
from monitoring import registry

pytestmark = pytest.mark.django_db


def test_it_says_what_is_wrong_who_writes_and_what_was_dropped(store: Store) -> None:
    good_until_us = now_us() + FRESH_US
    noted = FeedStatus(name="second", kind="demo", polled=False, standby_for="main", fault="mute", good_until_us=good_until_us)
    note_status(store, noted)
    staff = Client()
    staff.force_login(User.objects.create_user("boss", is_staff=True))
    registry.store.cache_clear()
    (feed,) = staff.get("/api/v1/admin/feeds/").json()["feeds"]
    registry.store().close()
    registry.store.cache_clear()
    assert (feed["name"], feed["healthy"], feed["fault"], feed["standby_for"]) == ("second", False, "mute", "main")
    counts = ("active_symbols", "held", "duplicates", "backwards", "conflated", "shed", "buffered", "dropped")
    assert [feed[name] for name in counts] == [0] * len(counts)


def test_its_description_has_every_field() -> None:
    out = io.StringIO()
    call_command("spectacular", "--format", "openapi-json", stdout=out)
    described = json.loads(out.getvalue())["components"]["schemas"]["FeedStatus"]["properties"]
    assert set(described) == set(FeedStatus.__struct_fields__)
