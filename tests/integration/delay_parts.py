"""What tests of delayed topics share: a delay, who sees things so much later, and looks at what waits."""

from __future__ import annotations

import json
from typing import Any

from realtime.connection import Connection
from tests.integration.conftest import Desk, messages

TRADE, QUOTE, KLINE = "trade.AAPL", "quote.AAPL", "kline.1m.AAPL"
DELAY_S = 900
DELAY_US = DELAY_S * 1_000_000


def late(desk: Desk) -> Connection:
    return desk.connect(delay_s=DELAY_S)


def entry(desk: Desk, name: str) -> Any:
    return desk.hub.delays.entries(DELAY_US)[name]


def held(desk: Desk) -> int:
    return sum(line.waiting for line in desk.hub.delays.lines())


async def held_are(desk: Desk, count: int) -> None:
    await desk.until(lambda: held(desk) == count)


def show(desk: Desk) -> None:
    """Have the lines look now, and everybody be written to."""
    for line in desk.hub.delays.lines():
        line.look()
    desk.hub.flush()


def got(connection: Connection, name: str = TRADE) -> list[tuple[str, int]]:
    return [
        (message["type"], message.get("seq") or (message["from"], message["to"]))
        for message in messages(connection)
        if message.get("topic") == name
    ]


def body(n: int, *, closed: bool = False) -> str:
    return json.dumps({"n": n, "closed": closed}, separators=(",", ":"))
