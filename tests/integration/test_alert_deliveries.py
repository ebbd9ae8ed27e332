"""Messages on their way to notifiers: tried again, given up, bounded in threads and time, and never with an address in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from marketdata.feed_status import FeedStatus, note_status
from marketdata.store import now_us
from monitoring.models import Alert, AlertRule, Delivery, Notifier
from monitoring.notifying import redacted
from monitoring.rulebook import Recipient
from tests.integration.alert_parts import Installation, Mailbox, Webhook, deliveries, mailboxes, only_rule, slow, told, webhook

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mailboxes() as found:
        yield found


def test_a_failed_delivery_is_tried_again(installation: Installation, hook: Webhook) -> None:
    only_rule()
    told(hook.url)
    hook.status = 500
    slow(installation, 12)
    installation.look()
    row = Delivery.objects.get()
    assert (row.state, len(row.attempts)) == ("waiting", 1)
    assert row.attempts[0]["error"]
    hook.status = 200
    Delivery.objects.update(due_at=timezone.now())
    installation.look()
    row.refresh_from_db()
    assert (row.state, len(row.attempts), row.attempts[1]["error"]) == ("sent", 2, "")
    assert hook.titles == ["[warning] slow"]


def test_the_end_of_an_alert_is_not_told_before_its_beginning(installation: Installation, hook: Webhook) -> None:
    only_rule()
    told(hook.url)
    hook.status = 500
    slow(installation, 12)
    installation.look()
    Delivery.objects.update(due_at=timezone.now() + timedelta(hours=1))
    hook.status = 200
    slow(installation, 1)
    installation.look()
    assert hook.titles == []
    Delivery.objects.filter(event="firing").update(due_at=timezone.now())
    installation.look()
    assert hook.titles == ["[warning] slow", "[resolved] slow"]


def test_whoever_takes_messages_gets_all_that_are_due(installation: Installation, hook: Webhook) -> None:
    only_rule(metric="tickwire_feed_up", comparison="<", threshold=1)
    told(hook.url)
    for number in range(12):
        note_status(installation.store, FeedStatus(name=f"f{number}", kind="k", polled=True, good_until_us=now_us() + 60_000_000))
    installation.look()
    assert len(hook.taken) == 12


def test_many_messages_to_one_that_hangs_hold_up_nobody_else(installation: Installation, hook: Webhook) -> None:
    only_rule(metric="tickwire_feed_up", comparison="<", threshold=1)
    with webhook() as dead:
        dead.answers.clear()
        notifier = told(dead.url, "dead")
        alert = Alert.objects.create(name="old", severity="info", state="firing", since=timezone.now(), began_at=timezone.now())
        Delivery.objects.bulk_create(
            Delivery(alert=alert, notifier=notifier, name="dead", event="escalated", number=number, due_at=timezone.now())
            for number in range(100)
        )
        told(hook.url)
        note_status(installation.store, FeedStatus(name="a", kind="k", polled=True, good_until_us=now_us() + 60_000_000))
        installation.now += 5
        installation.evaluator.round()
        _until(lambda: "[warning] slow (feed a)" in hook.titles)
        dead.answers.set()
        notifier.delete()
        installation.outgoing.wait()


def _until(done: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not done() and time.monotonic() - began < 10:
        time.sleep(0.01)
    assert done()


def test_a_message_is_plain_text_whatever_the_notifier_prefers(installation: Installation, mailbox: Mailbox) -> None:
    """Mail would be HTML, without the ends of lines and with whatever a rule's summary has in it."""
    only_rule(summary="Is it <b>slow</b> & late?", comparison="<", threshold=1)
    told(mailbox.url)
    slow(installation, 0)
    installation.look()
    (mail,) = mailbox.taken
    assert mail.get_content_type() == "text/plain"
    assert mail.get_payload(decode=True).decode().splitlines()[:3] == [
        "Is it <b>slow</b> & late?", "", "Value: 0 (tickwire_slow_connections, bad when < 1)",
    ]  # fmt: skip


def test_in_the_end_a_delivery_is_given_up(installation: Installation, hook: Webhook) -> None:
    only_rule()
    told(hook.url)
    hook.status = 500
    slow(installation, 12)
    for _ in range(9):
        Delivery.objects.filter(state="waiting").update(due_at=timezone.now())
        installation.look()
    row = Delivery.objects.get()
    assert (row.state, len(row.attempts), row.due_at) == ("failed", 8, None)


def test_a_failed_delivery_is_an_alert_which_another_notifier_gets(installation: Installation, hook: Webhook) -> None:
    only_rule()
    AlertRule.objects.create(name="undelivered", metric="tickwire_undelivered_notifications", threshold=0, clear_seconds=0)
    told("json://127.0.0.1:9/", "broken")
    told(hook.url)
    slow(installation, 12)
    for _ in range(3):
        installation.look()
    assert hook.titles == ["[warning] slow", "[warning] undelivered"]


def test_no_part_of_an_address_gets_into_the_log_of_deliveries(
    installation: Installation, hook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    only_rule()
    told(hook.url)
    hook.status = 500
    slow(installation, 12)
    with caplog.at_level("DEBUG"):
        installation.look()
    said = str(Delivery.objects.get().attempts) + caplog.text + repr(Notifier.objects.get()) + repr(Recipient(1, "ops", hook.url))
    assert "notifier ops" in caplog.text
    assert "s3cr3tt0ken" not in said
    assert "127.0.0.1" not in said


def test_a_webhook_that_hangs_delays_nobody(installation: Installation, hook: Webhook) -> None:
    only_rule()
    with webhook() as dead:
        dead.answers.clear()
        told(dead.url, "dead")
        told(hook.url)
        slow(installation, 12)
        installation.now += 5
        began = time.monotonic()
        assert installation.evaluator.round()
        while not hook.taken and time.monotonic() - began < 4:
            time.sleep(0.01)
        assert hook.titles == ["[warning] slow"]
        dead.answers.set()
        installation.outgoing.wait()


def test_an_attempt_that_takes_too_long_has_failed(installation: Installation, hook: Webhook) -> None:
    only_rule()
    told(hook.url)
    installation.outgoing._timeout_s = 0.2
    hook.answers.clear()
    slow(installation, 12)
    installation.look()
    row = Delivery.objects.get()
    assert (row.state, row.attempts[0]["error"]) == ("waiting", "no answer within 0.2 s")


def test_a_notifier_that_hangs_gets_two_threads_only(installation: Installation, hook: Webhook) -> None:
    only_rule(metric="tickwire_feed_up", comparison="<", threshold=1)
    told(hook.url)
    hook.answers.clear()
    for name in "abcd":
        note_status(installation.store, FeedStatus(name=name, kind="k", polled=True, good_until_us=now_us() + 60_000_000))
    installation.now += 5
    installation.evaluator.round()
    assert installation.outgoing.begin() == 0
    assert len(installation.outgoing._underway) == 2
    hook.answers.set()
    installation.outgoing.wait()


def test_messages_to_a_notifier_that_is_gone_are_given_up(installation: Installation, hook: Webhook) -> None:
    only_rule()
    notifier = told(hook.url)
    hook.status = 500
    slow(installation, 12)
    installation.look()
    notifier.delete()
    Delivery.objects.update(due_at=timezone.now())
    installation.look()
    assert deliveries() == [("firing", "failed")]


@pytest.mark.parametrize(
    ("text", "url", "left"),
    [
        ("no route to hooks.example.com/T0ken9", "json://hooks.example.com/T0ken9", "no route to …"),
        ("401 for me@example.com", "mailto://me:pass@example.com", "401 for me@…"),
        ("HTTPS://HOOKS.EXAMPLE.COM failed", "jsons://hooks.example.com", "HTTPS://… failed"),
        ("no entry for p@ss/w0rd", "mailto://ops:p%40ss%2Fw0rd@example.com", "no entry for …"),
        ("timed out", "slack://TokenA/TokenB/TokenC", "timed out"),
    ],
)
def test_a_complaint_is_without_any_part_of_the_address(text: str, url: str, left: str) -> None:
    assert redacted(text, url) == left
