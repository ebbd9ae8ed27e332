"""Log lines of the shipped server: every one is JSON, and none is written for an update or a frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import SERVE, Tickwire, run_server


@pytest.fixture
def talkative(redis_url: str, prefix: str, tmp_path: Path) -> Iterator[Tickwire]:
    yield from run_server(tmp_path, redis_url, prefix, SERVE, TICKWIRE_LOG_LEVEL="DEBUG", TICKWIRE_LOG_REPEATS="0")


def lines(server: Tickwire) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if not line.startswith("serving on ")]


async def test_no_line_is_written_for_an_update_or_a_frame(talkative: Tickwire) -> None:
    async with talkative.dial() as client:
        await client.ask("subscribe", topics=["trade.AAPL"])
        before = len(lines(talkative))
        for number in range(500):
            talkative.publish("trade.AAPL", {"price": number})
        await client.until(lambda message: message.get("seq") == 500)
        ours = ("marketdata", "realtime", "monitoring", "uvicorn", "websockets")
        assert [line for line in lines(talkative)[before:] if line["logger"].startswith(ours)] == []


async def test_a_request_that_is_refused_is_one_line_that_names_it(talkative: Tickwire) -> None:
    assert talkative.get("/teapots/?key=tw_abcd1234_" + "x" * 40, **{"X-Request-ID": "mine"})[0] == 404
    talkative.stop()
    found = [line for line in lines(talkative) if line["logger"] == "django.request"]
    assert [(line["level"], line["message"], line["request_id"], line["role"]) for line in found] == [
        ("warning", "Not Found: /teapots/", "mine", "web")
    ]
    assert "x" * 40 not in talkative.log.read_text()
