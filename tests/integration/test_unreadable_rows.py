"""A row that code or SQL wrote and no form would take: it harms nobody but whose it is."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User

from realtime.admin import effective
from realtime.limits import Limits, UnreadableLimits, named, refresh
from realtime.models import Account, Plan
from realtime.warden import Warden
from tests.integration.conftest import Desk
from tests.integration.test_warden import (  # noqa: F401  # fixtures among them
    QUOTE,
    TRADE,
    _fresh,
    ada,
    by_key,
    change,
    closed,
    follow,
    following,
    warden,
)  # fmt: skip

pytestmark = pytest.mark.django_db(transaction=True)
UNREADABLE: list[Any] = [{"topics_per_connection": "some"}, {"data_types": None}, {"symbols": "AAPL"}, {"max_rate": "fast"}, [1]]


@pytest.mark.parametrize("overrides", UNREADABLE)
async def test_overrides_that_cannot_be_read_change_nothing_and_keep_no_rule_from_others(
    desk: Desk, warden: Warden, ada: User, caplog: pytest.LogCaptureFixture, overrides: Any  # noqa: F811
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    bob = await sync_to_async(User.objects.create_user)("bob")
    hers, his = await by_key(desk, ada), await by_key(desk, bob)
    await follow(desk, hers, QUOTE, TRADE)
    await Account.objects.filter(user=ada).aupdate(overrides=overrides)
    await User.objects.filter(pk=bob.pk).aupdate(is_active=False)
    for _ in range(3):
        await warden.look()
    assert (closed(hers), closed(his)) == (None, (4503, "disabled"))
    assert following(hers) == {QUOTE, TRADE}
    assert [record.message for record in caplog.records if "may do" in record.message and f"user {ada.pk}" in record.message]
    await Account.objects.filter(user=ada).aupdate(overrides={"topics_per_connection": 1})
    await warden.look()
    assert following(hers) == {QUOTE}


async def test_it_is_logged_once(desk: Desk, warden: Warden, ada: User, caplog: pytest.LogCaptureFixture) -> None:  # noqa: F811
    await by_key(desk, ada)
    await Account.objects.filter(user=ada).aupdate(overrides=[1])
    for _ in range(3):
        await warden.look()
    assert len([record for record in caplog.records if "stays as it was" in record.message]) == 1
    await Account.objects.filter(user=ada).aupdate(overrides={})
    await warden.look()


@pytest.mark.parametrize("edit", [{"data_types": 5}, {"dry_run": 5}, {"symbols": "AAPL"}])
async def test_a_plan_that_cannot_be_read_stays_as_it_was_and_the_others_are_read(
    desk: Desk, warden: Warden, ada: User, edit: dict[str, Any]  # noqa: F811
) -> None:  # fmt: skip
    connection = await by_key(desk, ada)
    await change(**edit)
    await Plan.objects.filter(name="pro").aupdate(topics_per_connection=7)
    await warden.look()
    assert closed(connection) is None
    assert [limits.topics for name in ("free", "pro") if (limits := named(name))] == [50, 7]


@pytest.mark.parametrize("rate", [0, -1.5])
def test_a_rate_of_nothing_is_the_slowest_that_a_form_takes(rate: float) -> None:
    Plan.objects.filter(name="free").update(max_rate=rate, commands_per_second=rate, requests_per_second=rate)
    free = refresh()["free"]
    assert (free.max_rate, free.commands_per_second, free.requests_per_second) == (0.01, 0.01, 0.01)


def test_whole_numbers_may_be_written_as_decimals() -> None:
    with pytest.raises(UnreadableLimits):
        Limits.of(Plan()).overridden({"topics_per_connection": 5.5})
    assert Limits.of(Plan()).overridden({"max_rate": 5}).max_rate == 5


@pytest.mark.parametrize("overrides", UNREADABLE)
def test_the_admin_shows_that_it_cannot_be_read(overrides: Any) -> None:
    assert "cannot be read" in effective.table(Plan(name="any"), overrides)


async def test_a_connection_that_cannot_be_held_to_its_limits_is_closed_and_the_others_are_held(
    desk: Desk, warden: Warden, ada: User  # noqa: F811
) -> None:  # fmt: skip
    broken, other = await by_key(desk, ada), await by_key(desk, ada)
    await follow(desk, other, QUOTE, TRADE)
    broken.asked[QUOTE] = None  # which it does not follow: no code does that
    await change(topics_per_connection=1)
    await warden.look()
    assert closed(broken) == (1011, "internal")
    assert following(other) == {QUOTE}
