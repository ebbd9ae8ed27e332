"""What users use gets into the database: whole, in bulk, and later where the database is away."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from realtime import protocol
from realtime.connection import Connection
from realtime.limits import Limits
from realtime.meter import Meter
from realtime.models import Usage
from realtime.principal import Principal
from realtime.usage import AMOUNTS, MOST_ROWS, Holder, Line, Sums, prune, save, today
from tests.integration.conftest import Desk, messages

TRADE = "trade.AAPL"


def principal(user_id: int | None, key: str | None = None) -> Principal:
    return Principal(user_id, None, "free", Limits(50, 2, None, 10, 40, frozenset()), key_prefix=key)


def amounts(user_id: int, key: str = "") -> tuple[int, ...]:
    return tuple(Usage.objects.values_list(*AMOUNTS).get(user_id=user_id, key=key, day=today()))


# rows


@pytest.mark.django_db
def test_a_row_grows_by_what_is_saved() -> None:
    ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))
    save([Line(Holder(ada.pk, "k3f9xa7q"), today(), (1, 2, 3, 4, 5)), Line(Holder(ada.pk, ""), today(), (0, 0, 0, 0, 7))])
    save([Line(Holder(bob.pk, ""), today(), (1, 0, 0, 0, 0)), Line(Holder(ada.pk, "k3f9xa7q"), today(), (0, 20, 0, 1 << 40, 0))])
    assert amounts(ada.pk, "k3f9xa7q") == (1, 22, 3, (1 << 40) + 4, 5)
    assert (amounts(ada.pk), amounts(bob.pk)) == ((0, 0, 0, 0, 7), (1, 0, 0, 0, 0))


@pytest.mark.django_db
def test_a_full_batch_is_two_queries(django_assert_max_num_queries: Any) -> None:
    ada = User.objects.create_user("ada")
    batch = [Line(Holder(ada.pk, f"{number:08}"), today(), (1, 1, 1, 1, 1)) for number in range(MOST_ROWS)]
    with django_assert_max_num_queries(4):  # and the savepoint around them
        save(batch)
    assert Usage.objects.count() == MOST_ROWS


@pytest.mark.django_db
def test_a_user_who_is_gone_keeps_nobody_elses_from_being_saved() -> None:
    ada, gone = (User.objects.create_user(name) for name in ("ada", "gone"))
    pk = gone.pk
    gone.delete()
    save([Line(Holder(pk, ""), today(), (1, 0, 0, 0, 0)), Line(Holder(ada.pk, ""), today(), (1, 0, 0, 0, 0))])
    assert [row.user for row in Usage.objects.all()] == [ada]


@pytest.mark.django_db
def test_old_rows_go_the_oldest_first_and_some_at_a_time() -> None:
    ada = User.objects.create_user("ada")
    for age in (0, 399, 400, 401, 402, 403):
        Usage.objects.create(user=ada, day=today() - timedelta(days=age))
    assert prune(400, most=2) == 2
    assert min(Usage.objects.values_list("day", flat=True)) == today() - timedelta(days=401)
    assert prune(400, most=2) == 1
    assert Usage.objects.count() == 3


# the meter


class Away:
    """A database that can be away."""

    def __init__(self) -> None:
        self.away = False
        self.lines: list[Line] = []

    def __call__(self, lines: Sequence[Line]) -> None:
        if self.away:
            raise OperationalError("gone")
        self.lines += lines

    def total(self, holder: Holder) -> tuple[int, ...]:
        found = [line.amounts for line in self.lines if line.holder == holder]
        return tuple(map(sum, zip(*found, strict=True)))


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Away:
    monkeypatch.setattr("realtime.meter.prune", lambda days: 0)
    return Away()


@pytest.fixture
def meter(database: Away) -> Iterator[Meter]:
    made = Meter(10.0, 400, into=Sums(), save=database)
    yield made
    made._thread.shutdown()


def connect(desk: Desk, meter: Meter, who: Principal | None) -> Connection:
    connection = desk.connect()
    connection.principal = who
    meter.begin(connection)
    return connection


async def test_a_connection_is_read_again_and_again_and_when_it_ends(desk: Desk, meter: Meter, database: Away) -> None:
    client = connect(desk, meter, principal(1, "k3f9xa7q"))
    await desk.subscribe(client, TRADE)
    for count in (1, 2):
        await desk.publish(TRADE, "{}")
        await desk.until(lambda count=count: client.sent == count)
        client.commands += 1
        await meter.read()
    client.say(protocol.message("pong", 1))
    desk.hub.detach(client)
    meter.end(client)
    await meter.read()
    meter.flush()
    assert database.total(Holder(1, "k3f9xa7q")) == (1, 3, 2, client.sent_bytes, 0)
    assert len(messages(client)) == 3


async def test_a_visitor_who_logs_in_is_metered_from_then_on(desk: Desk, meter: Meter, database: Away) -> None:
    client = connect(desk, meter, principal(None))
    client.say(protocol.message("pong", 1))
    await meter.read()
    desk.hub.identify(client, principal(7))
    meter.begin(client)
    client.say(protocol.message("pong", 2))
    meter.end(client)
    meter.flush()
    assert database.total(Holder(7, "")) == (1, 1, 0, len(protocol.message("pong", 2)), 0)
    assert {line.holder for line in database.lines} == {Holder(7, "")}


async def test_who_renews_with_another_key_is_metered_by_that_key(desk: Desk, meter: Meter, database: Away) -> None:
    client = connect(desk, meter, principal(1, "first"))
    client.say(protocol.message("pong", 1))
    for _ in range(2):  # the second time it is the same one
        desk.hub.identify(client, principal(1, "second"))
        meter.begin(client)
        client.say(protocol.message("pong", 2), protocol.message("pong", 3))
    meter.end(client)
    meter.flush()
    assert [database.total(Holder(1, key))[:2] for key in ("first", "second")] == [(1, 1), (1, 4)]


async def test_one_that_is_gone_is_not_metered_whoever_speaks_of_it_then(desk: Desk, meter: Meter, database: Away) -> None:
    client = connect(desk, meter, principal(1))
    desk.hub.detach(client)
    meter.end(client)
    meter.begin(client)
    await meter.read()
    meter.flush()
    assert database.total(Holder(1, ""))[0] == 1
    assert meter._marks == {}


async def test_while_the_database_is_away_nothing_is_lost_and_one_line_is_logged(
    desk: Desk, meter: Meter, database: Away, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(desk, meter, principal(1))
    database.away = True
    for number in range(5):
        client.say(protocol.message("pong", number))
        await meter.read()
        meter.flush(force=True)
    assert len(caplog.records) == 1
    database.away = False
    meter.flush(force=True)
    assert database.total(Holder(1, ""))[:2] == (1, 5)
    assert meter.outage.failures == 5


async def test_after_a_failure_it_waits_before_it_tries_again(meter: Meter, database: Away) -> None:
    meter._sums.add(Holder(1, ""), requests=1)
    database.away = True
    meter.flush()
    meter._retry_at += 60
    database.away = False
    meter.flush()
    assert database.lines == []


async def test_many_lines_are_saved_a_batch_at_a_time_and_each_once(meter: Meter, database: Away) -> None:
    for number in range(2 * MOST_ROWS + 1):
        meter._sums.add(Holder(number, ""), requests=1)
    sizes: list[int] = []

    def save(lines: Sequence[Line]) -> None:
        sizes.append(len(lines))
        if len(sizes) == 2:
            raise OperationalError("gone")
        database(lines)

    meter._save = save
    meter.flush()
    meter.flush(force=True)
    assert sizes == [MOST_ROWS, MOST_ROWS, MOST_ROWS, 1]
    assert sorted(line.holder.user_id for line in database.lines) == list(range(2 * MOST_ROWS + 1))


async def test_what_finds_no_room_is_told(meter: Meter, database: Away, caplog: pytest.LogCaptureFixture) -> None:
    meter._sums.most = 1
    database.away = True
    for number in range(4):
        meter._sums.add(Holder(number, ""), requests=1)
    meter.flush()
    meter.flush()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING][1:] == [
        "what users use: 3 additions were lost, because 1 users, keys and days wait to be saved"
    ]


async def test_when_the_process_stops_all_is_read_and_saved(desk: Desk, meter: Meter, database: Away) -> None:
    client = connect(desk, meter, principal(1))
    meter.task.start()
    client.say(protocol.message("pong", 1))
    await meter.stop()
    assert database.total(Holder(1, ""))[:2] == (1, 1)
    assert not meter.task.alive


async def test_a_failure_that_nobody_foresaw_ends_nothing(meter: Meter, database: Away, caplog: pytest.LogCaptureFixture) -> None:
    meter._sums.add(Holder(1, ""), requests=1)
    meter._save = lambda lines: 1 / 0
    meter.flush()
    assert "ZeroDivisionError" in caplog.text
    meter._save = database
    meter.flush(force=True)
    assert database.total(Holder(1, "")) == (0, 0, 0, 0, 1)
