"""The same consumer under daphne, which offers no sink: messages go through plain `send`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import websockets

from tests.system.conftest import Tickwire, run_server

RUNSERVER = ["manage.py", "runserver", "--noreload", "127.0.0.1:{port}"]


@pytest.fixture(scope="module")
def development(redis_url: str, tmp_path_factory: pytest.TempPathFactory, free_port: int) -> Iterator[Tickwire]:
    yield from run_server(tmp_path_factory.mktemp("daphne"), redis_url, "daphne", RUNSERVER, port=free_port)


async def test_a_client_is_welcomed_subscribes_and_receives(development: Tickwire) -> None:
    development.publish("trade.AAPL", {"n": 0})
    async with development.dial() as client:
        assert (await client.receive())["type"] == "welcome"
        assert (await client.ask("subscribe", topics=["trade.AAPL"]))["total"] == 1
        assert (await client.receive())["data"] == {"n": 0}
        seqs = development.publish("trade.AAPL", *({"n": n} for n in range(1, 101)))
        assert [(await client.receive())["seq"] for _ in seqs] == seqs


async def test_messagepack_and_batches_work_there_too(development: Tickwire) -> None:
    async with websockets.connect(
        development.socket_url + "?batch=1",
        subprotocols=["tickwire.v1.msgpack"],  # type: ignore[list-item]
    ) as socket:
        assert isinstance(await socket.recv(), bytes)


async def test_a_bad_frame_and_a_large_one(development: Tickwire) -> None:
    async with development.dial() as client:
        await client.receive()
        await client.socket.send("nonsense")
        assert (await client.receive())["code"] == 107
        await client.socket.send("x" * 20_000)
        assert (await client.closed())[0] == 4500  # daphne cannot say 1009


def test_health_answers(development: Tickwire) -> None:
    status, body = development.get("/health/ready")
    assert (status, json.loads(body)["status"]) == (200, "ok")
