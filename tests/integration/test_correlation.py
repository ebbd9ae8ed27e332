"""From a command or request to its log line, and to the error that a user can quote."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.test import AsyncClient, Client

from marketdata import correlation
from marketdata.correlation import CorrelationFilter, Correlations
from project.celery import app
from realtime import views
from realtime.commands import Commands
from realtime.consumers import MarketConsumer


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """The log as the console gets it."""
    put_on = CorrelationFilter()
    caplog.handler.addFilter(put_on)
    yield caplog
    caplog.handler.removeFilter(put_on)


def names(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.__dict__["correlation"] for record in log.records]


async def broken(*_: Any) -> None:
    raise RuntimeError("broken")


@pytest.fixture
async def socket(redis_url: str) -> AsyncIterator[WebsocketCommunicator]:
    found = WebsocketCommunicator(MarketConsumer.as_asgi(), "/ws/v1/market")
    assert (await found.connect())[0]
    yield found
    await found.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_a_command_that_fails_names_its_log_line(
    socket: WebsocketCommunicator, log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await socket.receive_json_from(3))["session"]
    monkeypatch.setattr(Commands, "run", broken)
    for id in (1, 2):
        await socket.send_json_to({"op": "ping", "id": id})
        told = await socket.receive_json_from(3)
        assert (told["code"], told["id"]) == (100, id)
        assert told["details"] == {"correlation": f"{Correlations(session).prefix}-{id}"}
        assert names(log)[-1] == told["details"]["correlation"]
    assert session not in log.text + str(told)


@pytest.mark.django_db
def test_a_request_that_fails_names_its_log_line(log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(views.MeView, "get", fail)
    client = Client(raise_request_exception=False)
    answer = client.get("/api/v1/me/", headers={"X-Request-ID": "quoted-1"})
    assert (answer.status_code, answer["X-Request-ID"]) == (500, "quoted-1")
    assert answer.json()["error"]["details"] == {"correlation": "quoted-1"}
    assert set(names(log)) == {"quoted-1"}


@pytest.mark.django_db
def test_a_refused_request_is_logged_under_its_name(log: pytest.LogCaptureFixture) -> None:
    answer = Client().get("/teapots/")
    assert names(log) == [answer["X-Request-ID"]]


@pytest.mark.django_db(transaction=True)
async def test_requests_have_names_under_asgi_too(log: pytest.LogCaptureFixture) -> None:
    answer = await AsyncClient().get("/teapots/", headers={"X-Request-ID": "mine"})
    assert (answer["X-Request-ID"], names(log)) == ("mine", ["mine"])


@pytest.mark.django_db
def test_a_name_that_would_forge_a_log_line_is_replaced() -> None:
    answer = Client().get("/teapots/", headers={"X-Request-ID": "a INFO forged"})
    assert "forged" not in answer["X-Request-ID"]


def test_a_task_of_celery_is_named_by_its_id_while_it_runs() -> None:
    def name() -> str:
        return correlation.current()

    named = app.task(name, name="test.named")
    try:
        assert named.apply(task_id="5f1d").get() == "5f1d"
    finally:
        del app.tasks["test.named"]
    assert correlation.current() == correlation.NONE
